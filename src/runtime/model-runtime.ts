import type { Cancellation } from "../cancellation.js";
import type { ModelDescription } from "../onnx/index.js";
import type { Session } from "./session.js";

/** How one model is to be run. */
export interface SessionOptions {
  /** Worker threads with a session each. Default: derived from the CPUs this container really has. */
  readonly poolSize?: number;
  /** Threads that one run may use. Default: the CPUs divided among the pool. */
  readonly intraOpThreads?: number;
  /** Calls that may wait, at most. Default 1024. */
  readonly maxQueue?: number;
}

export interface LoadedModel {
  readonly description: ModelDescription;
  readonly session: Session;
}

/** Makes sessions out of model files. */
export interface ModelRuntime {
  /**
   * Reads the file, makes a session, warms it up and decides where it lives. All but that decision happens off the
   * serving thread. Throws a StatusError with the reason when the file is not a model that can be served:
   * INVALID_ARGUMENT for what the file is, INTERNAL for what the runtime says of it.
   * @param name what logs and errors call the model
   */
  load(name: string, modelPath: string, options: SessionOptions, cancellation: Cancellation): Promise<LoadedModel>;
  /** Ends all threads. Every session must have been released. */
  close(): Promise<void>;
}
