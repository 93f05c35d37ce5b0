// grpc.health.v1: whether the server, a service or a model answers calls. It has no state of its own: the repository and
// the serving switch are asked each time, so that it cannot disagree with GetModelStatus.
import {
  HealthCheckRequest,
  HealthCheckResponse,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../gen/grpc/health/v1/health.js";
import type { ModelRepository } from "../../serving/index.js";
import { notFound, unavailable } from "../../status.js";
import type { Call, Method, ServerStreamMethod, UnaryMethod } from "./service-table.js";
import type { ServingSwitch } from "./serving-switch.js";

/** Names that TensorFlow Serving registers, which are not the services' full ones. */
const tensorflowServingNames = ["ModelService", "PredictionService"];
const modelPrefix = "model/";
const healthServiceName = "grpc.health.v1.Health";

/**
 * Names: "" for the server, the full name of each service served, TensorFlow Serving's short ones, and "model/NAME".
 * The server and its services are SERVING once all models have settled and until draining begins; a model is while, in
 * addition, it has a version that is AVAILABLE.
 * @param services full names of the services served, besides health itself
 */
export function healthService(
  repository: ModelRepository,
  servingSwitch: ServingSwitch,
  services: Iterable<string>,
): Method[] {
  const names = new Set(["", healthServiceName, ...tensorflowServingNames, ...services]);
  const monitor = new HealthMonitor(repository, servingSwitch, names);
  return [checkMethod(monitor), watchMethod(monitor)];
}

const codec = {
  decode: (bytes: Uint8Array) => HealthCheckRequest.decode(bytes),
  encode: (response: HealthCheckResponse) => HealthCheckResponse.encode(response).finish(),
};

function checkMethod(monitor: HealthMonitor): UnaryMethod<HealthCheckRequest, HealthCheckResponse> {
  return {
    ...codec,
    kind: "unary",
    path: `/${healthServiceName}/Check`,
    handle({ service }) {
      const status = monitor.status(service);
      if (status === ServingStatus.SERVICE_UNKNOWN) throw notFound(`Unknown service ${service}`);
      return { status };
    },
  };
}

function watchMethod(monitor: HealthMonitor): ServerStreamMethod<HealthCheckRequest, HealthCheckResponse> {
  return {
    ...codec,
    kind: "server-stream",
    path: `/${healthServiceName}/Watch`,
    handle: ({ service }, call) => watch(monitor, service, call),
  };
}

/** Sends the status at once and then whenever it is another; what changes while a client is slow is not told twice. */
async function* watch(monitor: HealthMonitor, service: string, call: Call): AsyncGenerator<HealthCheckResponse> {
  let wake = () => {};
  const unsubscribe = monitor.onChange(() => wake());
  const undoCancel = call.cancellation.onCancel(() => wake());
  try {
    let told: ServingStatus | undefined;
    while (call.cancellation.reason === undefined) {
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const status = monitor.status(service);
      if (status !== told) {
        told = status;
        yield { status };
      } else if (monitor.closed) {
        throw unavailable("The server is shutting down");
      } else {
        await changed;
      }
    }
  } finally {
    undoCancel();
    unsubscribe();
  }
}

class HealthMonitor {
  readonly #repository: ModelRepository;
  readonly #switch: ServingSwitch;
  readonly #services: ReadonlySet<string>;

  constructor(repository: ModelRepository, servingSwitch: ServingSwitch, services: ReadonlySet<string>) {
    this.#repository = repository;
    this.#switch = servingSwitch;
    this.#services = services;
  }

  get closed(): boolean {
    return this.#switch.state === "closed";
  }

  status(service: string): ServingStatus {
    const serving = this.#switch.state === "serving";
    if (this.#services.has(service)) return toStatus(serving && this.#repository.settled());
    if (service.startsWith(modelPrefix)) {
      const model = this.#repository.getModel(service.slice(modelPrefix.length));
      if (model !== undefined) return toStatus(serving && model.versions.some(({ state }) => state === "AVAILABLE"));
    }
    return ServingStatus.SERVICE_UNKNOWN;
  }

  onChange(listener: () => void): () => void {
    const undoRepository = this.#repository.onChange(listener);
    const undoSwitch = this.#switch.onChange(listener);
    return () => {
      undoRepository();
      undoSwitch();
    };
  }
}

function toStatus(serving: boolean): ServingStatus {
  return serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
}
