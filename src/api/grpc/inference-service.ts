// inference.GRPCInferenceService: the Open Inference Protocol with Triton's extensions.
import type { Cancellation } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import {
  CudaSharedMemoryRegisterRequest,
  CudaSharedMemoryRegisterResponse,
  CudaSharedMemoryStatusRequest,
  CudaSharedMemoryStatusResponse,
  CudaSharedMemoryUnregisterRequest,
  CudaSharedMemoryUnregisterResponse,
  ModelConfigRequest,
  ModelConfigResponse,
  ModelMetadataRequest,
  ModelMetadataResponse,
  ModelReadyRequest,
  ModelReadyResponse,
  type ModelRepositoryParameter,
  ModelStatisticsRequest,
  ModelStatisticsResponse,
  RepositoryIndexRequest,
  RepositoryIndexResponse,
  RepositoryModelLoadRequest,
  RepositoryModelLoadResponse,
  RepositoryModelUnloadRequest,
  RepositoryModelUnloadResponse,
  ServerLiveRequest,
  ServerLiveResponse,
  ServerMetadataRequest,
  ServerMetadataResponse,
  ServerReadyRequest,
  ServerReadyResponse,
  SystemSharedMemoryRegisterRequest,
  SystemSharedMemoryRegisterResponse,
  SystemSharedMemoryStatusRequest,
  SystemSharedMemoryStatusResponse,
  SystemSharedMemoryUnregisterRequest,
  SystemSharedMemoryUnregisterResponse,
} from "../../gen/inference/grpc_service.js";
import type { ModelRepository } from "../../serving/index.js";
import type { Code } from "../../status.js";
import type { CallRecord, InferenceStatistics, Logger } from "../../telemetry/index.js";
import { type DecodedInferRequest, decodeInferRequest } from "../codecs/oip-infer-request.js";
import { encodeInferResponse, type InferAnswer } from "../codecs/oip-infer-response.js";
import { toModelConfig } from "../codecs/oip-model-config.js";
import { toModelStatistics } from "../codecs/oip-statistics.js";
import { infer } from "../open-inference/infer.js";
import { rawOutputParameter, sharedMemoryIsOff } from "../open-inference/infer-parameters.js";
import { extensions, modelMetadata, modelStatistics, requireReady, serverName } from "../open-inference/model-info.js";
import { findServable } from "../open-inference/model-lookup.js";
import type { RepositoryCalls, RepositoryParameter } from "../open-inference/repository-calls.js";
import { logSettingsMethod, traceSettingMethod } from "./inference-settings.js";
import { inferenceStream } from "./inference-stream.js";
import type { Call, Method, UnaryMethod } from "./service-table.js";
import type { ServingSwitch } from "./serving-switch.js";

export interface InferenceServiceDeps {
  readonly repository: ModelRepository;
  readonly repositoryCalls: RepositoryCalls;
  /** What every version has answered so far, of the whole server. */
  readonly readStatistics: () => InferenceStatistics | Promise<InferenceStatistics>;
  readonly servingSwitch: ServingSwitch;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of this package. */
  readonly version: string;
  /** Told of each inference of a stream when it has been answered; other calls are observed as a whole. */
  readonly onStreamedInference: (record: CallRecord, code: Code, durationMs: number) => void;
}

export interface InferenceServiceOptions {
  /** Answer with raw_output_contents whatever the request came in, as Triton does. Default false: as the request. */
  readonly alwaysRaw: boolean;
  /** Requests of one stream that are under way at a time, at most. Default 64. */
  readonly maxStreamInFlight: number;
}

const service = "inference.GRPCInferenceService";

export function inferenceService(
  deps: InferenceServiceDeps,
  given: Partial<InferenceServiceOptions> = {},
): readonly Method[] {
  const options = { alwaysRaw: false, maxStreamInFlight: 64, ...given };
  return [
    ...serverMethods(deps),
    ...modelMethods(deps),
    ...inferMethods(deps, options),
    ...repositoryMethods(deps.repositoryCalls),
    ...sharedMemoryMethods(),
    traceSettingMethod(),
    logSettingsMethod(),
  ];
}

interface Codec<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

function unary<Request, Response>(
  name: string,
  request: Codec<Request>,
  response: Codec<Response>,
  handle: (request: Request, call: Call) => Response | Promise<Response>,
): UnaryMethod<Request, Response> {
  return {
    kind: "unary",
    path: `/${service}/${name}`,
    decode: (bytes) => request.decode(bytes),
    encode: (message) => response.encode(message).finish(),
    handle,
  };
}

function serverMethods({ repository, servingSwitch, version }: InferenceServiceDeps): Method[] {
  return [
    unary("ServerLive", ServerLiveRequest, ServerLiveResponse, () => ({ live: true })),
    unary("ServerReady", ServerReadyRequest, ServerReadyResponse, () => ({
      ready: servingSwitch.state === "serving" && repository.settled(),
    })),
    unary("ServerMetadata", ServerMetadataRequest, ServerMetadataResponse, () => ({
      name: serverName,
      version,
      extensions: [...extensions],
    })),
  ];
}

function modelMethods({ repository, readStatistics }: InferenceServiceDeps): Method[] {
  return [
    unary("ModelReady", ModelReadyRequest, ModelReadyResponse, ({ name, version }, { record }) => {
      record.model = name;
      requireReady(repository, name, version);
      return { ready: true };
    }),
    unary("ModelMetadata", ModelMetadataRequest, ModelMetadataResponse, ({ name, version }, { record }) => {
      record.model = name;
      return ModelMetadataResponse.create(toMessage(modelMetadata(repository, name, version)));
    }),
    unary("ModelConfig", ModelConfigRequest, ModelConfigResponse, ({ name, version }, { record }) => {
      record.model = name;
      using handle = findServable(repository, name, version);
      return { config: toModelConfig(handle.servable) };
    }),
    unary("ModelStatistics", ModelStatisticsRequest, ModelStatisticsResponse, async ({ name, version }, { record }) => {
      if (name !== "") record.model = name;
      const statistics = await readStatistics();
      return { modelStats: modelStatistics(repository, statistics, name, version).map(toModelStatistics) };
    }),
  ];
}

function toMessage({ inputs, outputs, ...model }: ReturnType<typeof modelMetadata>) {
  const tensors = (described: typeof inputs) =>
    described.map(({ name, datatype, shape }) => ({ name, datatype, shape: shape.map(BigInt) }));
  return { ...model, versions: [...model.versions], inputs: tensors(inputs), outputs: tensors(outputs) };
}

function inferMethods(deps: InferenceServiceDeps, options: InferenceServiceOptions): Method[] {
  const { repository, clock, logger, onStreamedInference } = deps;
  const answer = async (request: DecodedInferRequest, cancellation: Cancellation, record: CallRecord) => {
    const response = await infer(repository, request, cancellation, record, clock);
    return { response, typed: wantsTyped(request, options) };
  };
  const modelInfer: UnaryMethod<DecodedInferRequest, InferAnswer> = {
    kind: "unary",
    path: `/${service}/ModelInfer`,
    decode: decodeInferRequest,
    encode: encodeInferResponse,
    handle(request, { record, cancellation }) {
      record.api = "ModelInfer";
      return answer(request, cancellation, record);
    },
  };
  const { maxStreamInFlight: maxInFlight } = options;
  const stream = inferenceStream({ clock, logger, maxInFlight, infer: answer, onInference: onStreamedInference });
  return [modelInfer, { ...stream, path: `/${service}/ModelStreamInfer` }];
}

/** Typed in, typed out; raw in, raw out; unless the request or the server says otherwise. */
function wantsTyped({ typed, parameters }: DecodedInferRequest, { alwaysRaw }: InferenceServiceOptions): boolean {
  const asked = parameters.get(rawOutputParameter);
  if (asked !== undefined) return asked === false;
  return typed && !alwaysRaw;
}

function repositoryMethods(calls: RepositoryCalls): Method[] {
  return [
    unary("RepositoryIndex", RepositoryIndexRequest, RepositoryIndexResponse, async ({ repositoryName, ready }) => {
      const index = await calls.index(repositoryName, ready);
      return {
        models: index.map(({ name, version = "", state = "", reason = "" }) => ({ name, version, state, reason })),
      };
    }),
    unary(
      "RepositoryModelLoad",
      RepositoryModelLoadRequest,
      RepositoryModelLoadResponse,
      async ({ repositoryName, modelName, parameters }, { peer, record, cancellation }) => {
        record.model = modelName;
        await calls.load(peer, repositoryName, modelName, plainParameters(parameters), cancellation);
        return {};
      },
    ),
    unary(
      "RepositoryModelUnload",
      RepositoryModelUnloadRequest,
      RepositoryModelUnloadResponse,
      async ({ repositoryName, modelName, parameters }, { peer, record }) => {
        record.model = modelName;
        await calls.unload(peer, repositoryName, modelName, plainParameters(parameters));
        return {};
      },
    ),
  ];
}

function plainParameters(
  parameters: ReadonlyMap<string, ModelRepositoryParameter>,
): ReadonlyMap<string, RepositoryParameter> {
  const plain = new Map<string, RepositoryParameter>();
  for (const [key, { parameterChoice }] of parameters) {
    if (parameterChoice !== undefined) plain.set(key, parameterChoice.value);
  }
  return plain;
}

function sharedMemoryMethods(): Method[] {
  const off = () => {
    throw sharedMemoryIsOff();
  };
  return [
    unary("SystemSharedMemoryStatus", SystemSharedMemoryStatusRequest, SystemSharedMemoryStatusResponse, () => ({
      regions: new Map(),
    })),
    unary("SystemSharedMemoryRegister", SystemSharedMemoryRegisterRequest, SystemSharedMemoryRegisterResponse, off),
    unary(
      "SystemSharedMemoryUnregister",
      SystemSharedMemoryUnregisterRequest,
      SystemSharedMemoryUnregisterResponse,
      off,
    ),
    unary("CudaSharedMemoryStatus", CudaSharedMemoryStatusRequest, CudaSharedMemoryStatusResponse, () => ({
      regions: new Map(),
    })),
    unary("CudaSharedMemoryRegister", CudaSharedMemoryRegisterRequest, CudaSharedMemoryRegisterResponse, off),
    unary("CudaSharedMemoryUnregister", CudaSharedMemoryUnregisterRequest, CudaSharedMemoryUnregisterResponse, off),
  ];
}
