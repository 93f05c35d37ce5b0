import { readFile } from "node:fs/promises";
import type { Cancellation } from "../../src/cancellation.js";
import type { BatchingVerdict } from "../../src/onnx/index.js";
import type { LoadedModel, ModelRuntime, SessionOptions } from "../../src/runtime/index.js";
import { internal } from "../../src/status.js";
import type { Tensor } from "../../src/tensor/index.js";
import { describeGraph, sessionOf, specX, specY } from "./servables.js";

/** What a whole model file holds: y = factor * x. */
export const textModel = (factor: number) => `y = ${factor} * x;`;

/**
 * A runtime whose models are text files, so that loading takes no time: a file is whole when it ends in a semicolon, and
 * cannot be loaded otherwise. Counts what it has made.
 */
export class TextModelRuntime implements ModelRuntime {
  /** "m/1", for every attempt, in order. */
  readonly attempts: string[] = [];
  /** The options of the last load, by name. */
  readonly options = new Map<string, SessionOptions>();
  /** What is said of every model's rows. */
  batching: BatchingVerdict = { provenSafe: false, reason: "a test" };
  /** Sessions made and not released. */
  live = 0;
  /** Names whose loads wait until freed. */
  readonly #held = new Map<string, (() => void)[]>();

  hold(name: string): void {
    this.#held.set(name, []);
  }
  free(name: string): void {
    for (const resolve of this.#held.get(name) ?? []) resolve();
    this.#held.delete(name);
  }

  async load(name: string, path: string, options: SessionOptions, cancellation: Cancellation): Promise<LoadedModel> {
    this.attempts.push(name);
    this.options.set(name, options);
    const held = this.#held.get(name);
    if (held !== undefined) {
      await new Promise<void>((resolve, reject) => {
        held.push(resolve);
        cancellation.onCancel(reject);
      });
    }
    const text = await readFile(path, "utf8");
    const factor = /^y = (\d+) \* x;$/.exec(text)?.[1];
    if (factor === undefined) throw internal(`${path} is truncated after ${text.length} bytes`);
    if (cancellation.reason !== undefined) throw cancellation.reason;
    this.live++;
    let released = false;
    const session = sessionOf({
      run: (feeds, fetches) => {
        if (released) throw new Error("run after release");
        const x = feeds.get("x")!;
        const data = (x.data as Float32Array).map((value) => value * Number(factor));
        const y: Tensor = { ...x, data };
        return new Map(fetches.map((fetch) => [fetch, y]));
      },
      release: async () => {
        if (released) throw new Error("released twice");
        released = true;
        this.live--;
      },
    });
    return { description: { ...describeGraph([specX], [specY]), batching: this.batching }, session };
  }

  async close(): Promise<void> {}
}
