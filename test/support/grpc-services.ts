import {
  type CallOptions,
  type Client,
  type ClientOptions,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { catalogService } from "../../src/api/grpc/catalog-service.js";
import { createDispatcher } from "../../src/api/grpc/dispatch.js";
import { healthService } from "../../src/api/grpc/health.js";
import { standardInterceptors } from "../../src/api/grpc/interceptors.js";
import { modelService } from "../../src/api/grpc/model-service.js";
import { type PredictionServiceOptions, predictionService } from "../../src/api/grpc/prediction-service.js";
import { reflectionService } from "../../src/api/grpc/reflection.js";
import type { Method } from "../../src/api/grpc/service-table.js";
import { ServingSwitch } from "../../src/api/grpc/serving-switch.js";
import { createGrpcJsTransport } from "../../src/api/grpc/transport/grpc-js.js";
import { validateGrpcTransportOptions } from "../../src/api/grpc/transport/transport-options.js";
import { systemClock } from "../../src/clock.js";
import { descriptorSetBase64 } from "../../src/gen/descriptor-set.js";
import type { Code } from "../../src/status.js";
import type { CallRecord } from "../../src/telemetry/index.js";
import { FakeRepository } from "./fake-repository.js";
import { LogRecorder } from "./log-recorder.js";

type ClientClass<T> = new (
  target: string,
  channelCredentials: ReturnType<typeof credentials.createInsecure>,
  options?: Partial<ClientOptions>,
) => T;

/** All gRPC services on a port, over a repository in memory. */
export class GrpcServices implements AsyncDisposable {
  readonly repository = new FakeRepository();
  readonly servingSwitch = new ServingSwitch();
  readonly log = new LogRecorder();
  readonly ended: { readonly record: CallRecord; readonly code: Code; readonly message: string }[] = [];
  target = "";
  readonly #clients: Client[] = [];
  #close: (() => Promise<void>) | undefined;

  /** @param others makes services beside TensorFlow Serving's and the catalog */
  static async start(
    prediction: Partial<PredictionServiceOptions> = {},
    others: (services: GrpcServices) => readonly Method[] = () => [],
  ): Promise<GrpcServices> {
    const services = new GrpcServices();
    const { repository, servingSwitch, log, ended } = services;
    const methods = [
      ...predictionService(repository, prediction),
      ...modelService(repository, { management: "local", readCounter: () => 0 }),
      ...catalogService(repository),
      ...others(services),
    ];
    const names = () => new Set(methods.map(({ path }) => path.split("/")[1]!));
    methods.push(...healthService(repository, servingSwitch, names()));
    methods.push(...reflectionService(Buffer.from(descriptorSetBase64, "base64"), names()));
    const table = new Map(methods.map((method) => [method.path, method]));
    const clock = systemClock;
    const interceptors = standardInterceptors(clock, (record, code, _ms, message) =>
      ended.push({ record, code, message }),
    );
    const dispatcher = createDispatcher(table, { interceptors, logger: log, clock });
    const transport = createGrpcJsTransport(table, validateGrpcTransportOptions({}), {
      dispatcher,
      logger: log,
      clock,
    });
    services.target = `127.0.0.1:${await transport.listenTcp("127.0.0.1", 0)}`;
    services.#close = () => transport.close(0);
    return services;
  }

  client<T extends Client>(type: ClientClass<T>): T {
    const client = new type(this.target, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.#close?.();
  }
}

type Unary<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => unknown;

/** Calls a unary method of a generated client; the error, when it comes to that, is a ServiceError. */
export function callUnary<Request, Response>(
  client: Client,
  method: Unary<Request, Response>,
  request: Request,
  metadata = new Metadata(),
): Promise<Response> {
  return new Promise((resolve, reject) => {
    method.call(client, request, metadata, {}, (error, response) => {
      if (error) reject(error);
      else resolve(response);
    });
  });
}

/** Code and text of the error that a call ends with. */
export async function failureOf(
  call: Promise<unknown>,
): Promise<{ code: number; details: string; metadata: Metadata }> {
  try {
    await call;
  } catch (error) {
    const { code, details, metadata } = error as ServiceError;
    return { code, details, metadata };
  }
  throw new Error("the call succeeded");
}
