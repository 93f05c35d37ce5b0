import type { Cancellation } from "../cancellation.js";
import type { ModelDescription } from "../onnx/index.js";
import type { Session } from "./session.js";
import type { SessionOptions } from "./session-options.js";

export interface LoadedModel {
  readonly description: ModelDescription;
  readonly session: Session;
}

/** Makes sessions out of model files. */
export interface ModelRuntime {
  /**
   * Reads the file, makes a session, warms it up and decides where it lives. All but that decision happens off the
   * serving thread. Throws a StatusError with the reason when the file is not a model that can be served: NOT_FOUND;
   * INVALID_ARGUMENT for what the file is; INTERNAL for what the runtime says of it; UNAVAILABLE when the thread that
   * loaded it died, or the file was exchanged meanwhile; and the cancellation's reason at once, the load ending unheard.
   * @param name what logs and errors call the model
   */
  load(name: string, modelPath: string, options: SessionOptions, cancellation: Cancellation): Promise<LoadedModel>;
  /** Releases what has not been released, and ends all threads. Runs that have been called are answered first. */
  close(): Promise<void>;
}
