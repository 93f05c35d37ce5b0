// The session a training step runs in. It lives in the trainer's own thread and blocks it: there is nothing else for
// that thread to do, and a step over a small net is shorter than a turn of the event loop.
import { errorMessage, internal, invalidArgument } from "../../status.js";
import type { NumericTensor, Tensor } from "../../tensor/index.js";
import { loadBinding } from "./native-session.js";

export interface StepSessionOptions {
  /** Whether the runtime may fuse and reorder nodes. Default true; a probe that names every value wants false. */
  readonly optimize?: boolean;
  /** Default 1: the same graph and feeds then give the same bits. */
  readonly intraOpThreads?: number;
}

/** A model to be run again and again on the calling thread, over buffers that stay where they are. */
export class StepSession {
  readonly #session: BoundSession;

  /** Blocks. Throws INVALID_ARGUMENT with the runtime's reason when it refuses the model. */
  constructor(model: Uint8Array, { optimize = true, intraOpThreads = 1 }: StepSessionOptions = {}) {
    const session = new (loadBinding().InferenceSession)();
    const { buffer, byteOffset, byteLength } = model;
    try {
      session.loadModel(buffer as ArrayBuffer, byteOffset, byteLength, {
        intraOpNumThreads: intraOpThreads,
        interOpNumThreads: 1,
        executionMode: "sequential",
        graphOptimizationLevel: optimize ? "all" : "disabled",
        logSeverityLevel: 4,
      });
    } catch (error) {
      throw invalidArgument(`onnxruntime refuses the graph: ${errorMessage(error)}`, { cause: error });
    }
    this.#session = session as BoundSession;
  }

  /**
   * Prepares a run and returns what does it. Feeds are read where they lie, at each run: change a buffer and the next
   * run sees it. Each fetch is written into its buffer, whose shape must be the output's. No fetch may share memory
   * with a feed: the runtime would read half-written weights without a word. Buffers of a WebAssembly memory are
   * welcome as long as it does not grow.
   */
  bind(feeds: ReadonlyMap<string, Tensor>, fetches: ReadonlyMap<string, NumericTensor>): () => void {
    const bound = toValues(feeds);
    const targets = toValues(fetches);
    return () => {
      // The runtime also returns a copy of every output, which nobody wants.
      this.#run(bound, targets);
    };
  }

  /** Runs once; the outputs are new tensors. */
  run(feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[]): Map<string, Tensor> {
    const wanted: Values<null> = Object.create(null);
    for (const name of fetches) wanted[name] = null;
    const results = this.#run(toValues(feeds), wanted);
    return new Map(
      fetches.map((name) => {
        const { type, dims, data } = results[name]!;
        return [name, { dtype: type, shape: [...dims], data }];
      }),
    );
  }

  release(): void {
    this.#session.dispose();
  }

  #run(feeds: Values<Value>, fetches: Values<Value | null>): Values<Value> {
    try {
      return this.#session.run(feeds, fetches);
    } catch (error) {
      throw internal(`onnxruntime could not run the graph: ${errorMessage(error)}`, { cause: error });
    }
  }
}

/** What the binding reads as a tensor. */
interface Value {
  readonly type: Tensor["dtype"];
  readonly data: Tensor["data"];
  readonly dims: Tensor["shape"];
  readonly location: "cpu";
}

/** Without a prototype, since a value may be called anything. */
type Values<T> = Record<string, T>;

interface BoundSession {
  run(feeds: Values<Value>, fetches: Values<Value | null>): Values<Value>;
  dispose(): void;
}

function toValues(tensors: ReadonlyMap<string, Tensor>): Values<Value> {
  const values: Values<Value> = Object.create(null);
  for (const [name, { dtype, data, shape }] of tensors)
    values[name] = { type: dtype, data, dims: shape, location: "cpu" };
  return values;
}
