import type { ModelStatus, VersionStatus } from "./model-status.js";
import type { ModelSpec, ServableHandle } from "./servable.js";

/** All models of this server: the facade that every door speaks to (TensorFlow Serving's ServerCore). */
export interface ModelRepository {
  /**
   * The version a request means, held until the handle is disposed. Errors, in this order: INVALID_ARGUMENT
   * `ModelSpec has no name specified.`; `Unrecognized servable version label: {label}`; NOT_FOUND
   * `Servable not found for request: Latest({name})` or `… Specific({name}, {version})`.
   */
  getServableHandle(spec: ModelSpec): ServableHandle;
  /**
   * From the largest version to the smallest. NOT_FOUND `Could not find any versions of model {name}` or
   * `Could not find version {v} of model {name}`.
   */
  getModelStatus(name: string, version?: bigint): readonly VersionStatus[];
  /** In the order of names; models that are configured but have no version yet included. */
  listModels(): readonly ModelStatus[];
  getModel(name: string): ModelStatus | undefined;
  /** Calls back after each change of any version's state, after it has become visible above. Returns the undo. */
  onStateChange(listener: (name: string, status: VersionStatus) => void): () => void;
  /** True once every configured model has a version that is AVAILABLE or has failed: what readiness waits for. */
  settled(): boolean;
}
