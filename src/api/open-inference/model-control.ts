import type { Cancellation } from "../../cancellation.js";

/** Loading and unloading of models by name, where the server was started so that clients may ask for it. */
export interface ModelControl {
  /** Every model that could be loaded. */
  available(): Promise<readonly string[]>;
  /**
   * Loads the model, or loads it anew from what lies in the repository now. Resolves when it is ready, and rejects when
   * it has failed; what was serving before then goes on.
   * @param config a model configuration in JSON, in the place of config.pbtxt
   */
  load(name: string, config: string | undefined, cancellation: Cancellation): Promise<void>;
  /** Resolves as soon as no new request is taken. A model that is not loaded is unloaded already. */
  unload(name: string): Promise<void>;
}
