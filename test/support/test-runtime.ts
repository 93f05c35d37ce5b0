import { join } from "node:path";
import { neverCancelled } from "../../src/cancellation.js";
import { systemClock } from "../../src/clock.js";
import {
  type CountedModelRuntime,
  createModelRuntime,
  type LoadedModel,
  type RuntimeEnvironment,
  type RuntimeOptions,
  type SessionOptions,
} from "../../src/runtime/index.js";
import { silentLogger } from "../../src/telemetry/index.js";
import { ModelFolder } from "./model-folder.js";

/** Options under which every model lives in a thread pool. */
export const alwaysPool: Partial<RuntimeOptions> = { inlineThresholdMicros: 0 };
/** Options under which every model that may live on the serving thread does, however slow this machine. */
export const alwaysInline: Partial<RuntimeOptions> = {
  inlineThresholdMicros: 1_000_000_000,
  inlineMaxCreateMs: 1_000_000_000,
  inlineSlowRunMicros: 1_000_000_000,
};

/** A runtime, and a folder for the models it loads. */
export class TestRuntime implements AsyncDisposable {
  readonly runtime: CountedModelRuntime;
  readonly #folder = new ModelFolder();
  #files = 0;

  constructor(options: Partial<RuntimeOptions> = {}, environment: Partial<RuntimeEnvironment> = {}) {
    this.runtime = createModelRuntime(options, { logger: silentLogger, clock: systemClock, ...environment });
  }

  /** Writes a model file and returns its path. */
  write(bytes: Uint8Array): string {
    const name = `file-${this.#files++}`;
    this.#folder.publish(name, 1, bytes);
    return join(this.#folder.path, name, "1", "model.onnx");
  }

  load(bytes: Uint8Array, options: SessionOptions = {}, name = "m"): Promise<LoadedModel> {
    return this.runtime.load(name, this.write(bytes), options, neverCancelled);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.runtime.close();
    this.#folder[Symbol.dispose]();
  }
}
