import type { ManagementPolicy } from "../../src/api/auth/management.js";
import { type InferenceServiceOptions, inferenceService } from "../../src/api/grpc/inference-service.js";
import type { ModelControl } from "../../src/api/open-inference/model-control.js";
import { RepositoryCalls } from "../../src/api/open-inference/repository-calls.js";
import { systemClock } from "../../src/clock.js";
import type { Dimension } from "../../src/onnx/index.js";
import type { Code } from "../../src/status.js";
import { type CallRecord, InferenceStatistics } from "../../src/telemetry/index.js";
import type { Tensor } from "../../src/tensor/index.js";
import { signatureOf } from "./fake-repository.js";
import { GrpcServices } from "./grpc-services.js";

export interface StartedInferenceServices {
  readonly services: GrpcServices;
  readonly statistics: InferenceStatistics;
  /** Of the inferences of streams. */
  readonly streamed: { readonly record: CallRecord; readonly code: Code }[];
}

export interface InferenceServicesOptions extends Partial<InferenceServiceOptions> {
  readonly control?: ModelControl;
  readonly management?: ManagementPolicy;
}

/** All gRPC services over a repository in memory, GRPCInferenceService among them. */
export async function startInferenceServices(
  options: InferenceServicesOptions = {},
): Promise<StartedInferenceServices & AsyncDisposable> {
  const statistics = new InferenceStatistics();
  const streamed: StartedInferenceServices["streamed"] = [];
  const services = await GrpcServices.start({}, ({ repository, servingSwitch, log }) =>
    inferenceService(
      {
        repository,
        repositoryCalls: new RepositoryCalls({
          repository,
          control: options.control,
          management: options.management ?? "local",
        }),
        readStatistics: () => statistics,
        servingSwitch,
        clock: systemClock,
        logger: log,
        version: "1.2.3",
        onStreamedInference: (record, code) => streamed.push({ record, code }),
      },
      options,
    ),
  );
  return { services, statistics, streamed, [Symbol.asyncDispose]: () => services[Symbol.asyncDispose]() };
}

/** x to y = x/2 + 2 and z = -x, rows proven independent, which have no dimensions of their own unless `row` says so. */
export function addHalfPlusTwo(
  services: GrpcServices,
  name: string,
  version: bigint,
  row: readonly Dimension[] = [],
): void {
  const shape = ["batch", ...row];
  const signature = signatureOf({ x: ["float32", shape] }, { y: ["float32", shape], z: ["float32", shape] });
  const run = (feeds: ReadonlyMap<string, Tensor>) => {
    const x = feeds.get("x:0")!;
    const data = x.data as Float32Array;
    return new Map<string, Tensor>([
      ["y:0", { ...x, data: data.map((value) => value / 2 + 2) }],
      ["z:0", { ...x, data: data.map((value) => -value) }],
    ]);
  };
  const description = {
    batching: { provenSafe: true, reason: "a fake" },
    classLabels: new Map([["y:0", ["only"]]]),
  };
  services.repository.add(name, version, [signature], run, description);
}
