import { descriptorSetBase64 } from "../../gen/descriptor-set.js";
import type { ModelRepository } from "../../serving/index.js";
import { catalogService } from "./catalog-service.js";
import { healthService } from "./health.js";
import { modelService } from "./model-service.js";
import { type PredictionServiceOptions, predictionService } from "./prediction-service.js";
import { reflectionService, reflectionServices } from "./reflection.js";
import type { Method, ServiceTable } from "./service-table.js";
import type { ServingSwitch } from "./serving-switch.js";

export interface ServicesDeps {
  readonly repository: ModelRepository;
  readonly servingSwitch: ServingSwitch;
}

export interface ServicesOptions {
  readonly prediction: Partial<PredictionServiceOptions>;
  /** Serve grpc.health.v1. */
  readonly health: boolean;
  /** Serve reflection, v1 and v1alpha. */
  readonly reflection: boolean;
}

/**
 * Every method that is served, by path.
 * @param others services made elsewhere, named by health and reflection like those made here
 */
export function createServiceTable(
  { repository, servingSwitch }: ServicesDeps,
  options: ServicesOptions,
  others: readonly Method[] = [],
): ServiceTable {
  const methods = [
    ...predictionService(repository, options.prediction),
    ...modelService(repository),
    ...catalogService(repository),
    ...others,
  ];
  if (options.health) {
    const names = [...serviceNames(methods), ...(options.reflection ? reflectionServices : [])];
    methods.push(...healthService(repository, servingSwitch, names));
  }
  if (options.reflection) {
    methods.push(...reflectionService(Buffer.from(descriptorSetBase64, "base64"), serviceNames(methods)));
  }
  const table = new Map<string, Method>();
  for (const method of methods) {
    if (table.has(method.path)) throw new Error(`${method.path} is served twice`);
    table.set(method.path, method);
  }
  return table;
}

/** "package.Service" of each method, once. */
function serviceNames(methods: readonly Method[]): ReadonlySet<string> {
  return new Set(methods.map(({ path }) => path.slice(1, path.lastIndexOf("/"))));
}
