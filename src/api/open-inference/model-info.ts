// What the protocol says of the server and of its models, for either door.
import type { ModelRepository, ModelStatus, VersionStatus } from "../../serving/index.js";
import { invalidArgument } from "../../status.js";
import { emptyStatistics, type InferenceStatistics, type VersionStatistics } from "../../telemetry/index.js";
import { elementTypeInfo } from "../../tensor/index.js";
import { findServable, parseVersion } from "./model-lookup.js";
import { type ModelView, modelView, shownShape, type TensorView } from "./model-view.js";

export const serverName = "onnxd";
/** Only what works: perf_analyzer, for one, asks for statistics when they are listed. */
export const extensions = [
  "classification",
  "model_repository",
  "model_repository(unload_dependents)",
  "model_configuration",
  "binary_tensor_data",
  "parameters",
  "statistics",
] as const;
export const platform = "onnxruntime_onnx";

export interface TensorMetadata {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}

export interface ModelMetadata {
  readonly name: string;
  readonly versions: readonly string[];
  readonly platform: string;
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
}

/** @throws as findServable */
export function modelMetadata(repository: ModelRepository, name: string, version: string): ModelMetadata {
  using handle = findServable(repository, name, version);
  const view = modelView(handle.servable);
  const versions = version === "" ? readyVersions(repository.getModel(name)) : [handle.servable.id.version];
  return {
    name,
    versions: versions.map(String),
    platform,
    inputs: describe(view, view.inputs),
    outputs: describe(view, view.outputs),
  };
}

function describe(view: ModelView, tensors: ReadonlyMap<string, TensorView>): readonly TensorMetadata[] {
  return [...tensors].map(([name, tensor]) => ({
    name,
    datatype: elementTypeInfo(tensor.dtype).openInference ?? "",
    shape: shownShape(view, tensor),
  }));
}

/** From the smallest to the largest, as Triton lists them. */
function readyVersions(model: ModelStatus | undefined): readonly bigint[] {
  const ready = (model?.versions ?? []).filter(({ state }) => state === "AVAILABLE");
  return ready.map(({ version }) => version).sort((a, b) => (a < b ? -1 : 1));
}

/** @throws as findServable: a model that is not ready is told by the error */
export function requireReady(repository: ModelRepository, name: string, version: string): void {
  findServable(repository, name, version)[Symbol.dispose]();
}

export interface IndexEntry {
  readonly name: string;
  /** undefined: no version of the model is known. */
  readonly version?: string;
  readonly state?: "READY" | "UNAVAILABLE" | "LOADING" | "UNLOADING";
  readonly reason?: string;
}

/** Every version that is known, in the order of names and versions. @param others models that could be loaded */
export function repositoryIndex(
  repository: ModelRepository,
  onlyReady: boolean,
  others: readonly string[] = [],
): readonly IndexEntry[] {
  const models = repository.listModels();
  const entries = models.flatMap(({ name, versions, sourceError }): IndexEntry[] => {
    if (versions.length === 0) return [{ name, ...(sourceError !== "" && { reason: sourceError }) }];
    return [...versions].sort((a, b) => (a.version < b.version ? -1 : 1)).map((status) => indexEntry(name, status));
  });
  const known = new Set(models.map(({ name }) => name));
  for (const name of others) if (!known.has(name)) entries.push({ name });
  entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return onlyReady ? entries.filter(({ state }) => state === "READY") : entries;
}

function indexEntry(name: string, { version, state, error }: VersionStatus): IndexEntry {
  const shown = { name, version: version.toString() };
  switch (state) {
    case "AVAILABLE":
      return { ...shown, state: "READY" };
    case "START":
    case "LOADING":
      return { ...shown, state: "LOADING", ...(error !== undefined && { reason: error.message }) };
    case "UNLOADING":
      return { ...shown, state: "UNLOADING" };
    case "END":
      return { ...shown, state: "UNAVAILABLE", reason: error?.message ?? "unloaded" };
  }
}

/**
 * Of one version, of all ready versions of a model, or of all ready models.
 * @param name "" stands for all models
 * @throws INVALID_ARGUMENT in Triton's words when there is none
 */
export function modelStatistics(
  repository: ModelRepository,
  statistics: InferenceStatistics,
  name: string,
  version: string,
): readonly VersionStatistics[] {
  const number = parseVersion(version);
  const models = name === "" ? repository.listModels() : [repository.getModel(name)];
  const found = models.flatMap((model) =>
    readyVersions(model)
      .filter((ready) => number === undefined || name === "" || ready === number)
      .map((ready) => statistics.read(model!.name, ready) ?? emptyStatistics(model!.name, ready)),
  );
  if (name !== "" && found.length === 0) {
    const which = number === undefined ? `model '${name}'` : `model version '${name}' version ${number}`;
    throw invalidArgument(`requested ${which} is not available`);
  }
  return found;
}
