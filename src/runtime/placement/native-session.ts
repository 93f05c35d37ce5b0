// The one place that touches onnxruntime-node, and it enters by the side door: the package's native binding instead of
// its InferenceSession. Its run() puts a setImmediate and a row of checks before each call, as long again as a small
// model's run, and its Tensor cannot carry float16 where the platform has a Float16Array (Node 24). The binding, told
// which class to make tensors with, does neither. The package's version is pinned.
import "./telemetry-off.js";
import { createRequire } from "node:module";
import { isMainThread } from "node:worker_threads";
import type { SessionValueMetadata } from "../../onnx/index.js";
import {
  discardBytes,
  discardedFromBytes,
  discardTensor,
  elementCount,
  elementTypeOfOnnx,
  NamedValues,
  RawTensor,
  type Tensor,
} from "../../tensor/index.js";

/** What a session is made from. */
export interface SessionSource {
  readonly path: string;
  /** The model as rewritten; undefined: as it is in the file, which maps external data into memory. */
  readonly bytes: Uint8Array | undefined;
  /** Where a model given as bytes finds external data, having no place of its own to look beside. */
  readonly externalDataFolder: string | undefined;
}

/** One onnxruntime session on the thread that made it. Everything here blocks that thread. */
export interface NativeSession {
  readonly inputs: readonly SessionValueMetadata[];
  readonly outputs: readonly SessionValueMetadata[];
  /** Throws the runtime's own Error; runFailure() makes a status of it. */
  run(feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[]): NamedValues<Tensor>;
  /** Gives the memory back, which garbage collection alone does not. Idempotent. */
  release(): void;
}

/**
 * Throws the runtime's own Error when it refuses the model.
 * @param intraOpThreads threads that a run may use, this one included; they live as long as the session
 */
export function createNativeSession(source: SessionSource, intraOpThreads: number): NativeSession {
  const session = new (loadBinding().InferenceSession)();
  const options = sessionOptions(source, intraOpThreads);
  if (source.bytes === undefined) {
    session.loadModel(source.path, options);
  } else {
    // The binding wants memory that no other thread can see; it keeps nothing of it.
    const bytes = new Uint8Array(source.bytes);
    session.loadModel(bytes.buffer, 0, bytes.byteLength, options);
    discardBytes(bytes);
  }
  liveSessions += 1;
  return new BoundSession(session);
}

/** Sessions of this thread that have not been released. */
export function countNativeSessions(): number {
  return liveSessions;
}

let liveSessions = 0;
let loadedBinding: Binding | undefined;

/** Loads the library into this thread, which the first session does otherwise. Takes some 15 ms. */
export function loadBinding(): Binding {
  if (loadedBinding === undefined) {
    const require = createRequire(import.meta.url);
    const { binding } = require("onnxruntime-node/dist/binding.js") as { binding: Binding };
    binding.initOrtOnce(fatal, NativeTensor, isMainThread);
    loadedBinding = binding;
  }
  return loadedBinding;
}

/** Log severity. What goes wrong is thrown and reported by us; a client's bad request must not fill standard error. */
const fatal = 4;

function sessionOptions({ externalDataFolder }: SessionSource, intraOpThreads: number): object {
  return {
    intraOpNumThreads: intraOpThreads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    executionProviders: ["cpu"],
    logSeverityLevel: fatal,
    extra: {
      session: {
        // Or a session's threads would wait busily after each run, for 20 ms and more: CPU that other sessions and the
        // serving thread need, and that counts against a container's quota.
        intra_op: { allow_spinning: "0" },
        ...(externalDataFolder !== undefined && { model_external_initializers_file_folder_path: externalDataFolder }),
      },
    },
  };
}

class BoundSession implements NativeSession {
  readonly inputs: readonly SessionValueMetadata[];
  readonly outputs: readonly SessionValueMetadata[];
  #session: BindingSession | undefined;
  /** Signatures fetch the same outputs time after time, so the last request is kept. */
  #fetches: readonly string[] = [];
  #fetchesObject: Bag<null> = new Bag();

  constructor(session: BindingSession) {
    this.#session = session;
    this.inputs = session.inputMetadata.map(describe);
    this.outputs = session.outputMetadata.map(describe);
  }

  run(feeds: ReadonlyMap<string, Tensor>, fetches: readonly string[]): NamedValues<Tensor> {
    if (this.#session === undefined) throw new Error("the session has been released");
    const feedsObject: Bag<NativeTensor> = new Bag();
    const { names, items } = NamedValues.from(feeds);
    /** Of large raw tensors, made for this run. */
    let copies: Tensor[] | undefined;
    for (let index = 0; index < names.length; index++) {
      const tensor = items[index]!;
      const { dtype, shape } = tensor;
      const copied = tensor instanceof RawTensor && tensor.byteLength >= discardedFromBytes && !tensor.isAligned;
      const data = copied ? tensor.copy() : tensor.data;
      feedsObject[names[index]!] = new NativeTensor(dtype, data, shape);
      if (copied) {
        copies ??= [];
        copies.push({ dtype, shape, data });
      }
    }
    if (fetches !== this.#fetches) {
      this.#fetches = fetches;
      this.#fetchesObject = new Bag();
      for (const name of fetches) this.#fetchesObject[name] = null;
    }
    let results: Record<string, unknown>;
    try {
      results = this.#session.run(feedsObject, this.#fetchesObject);
    } finally {
      if (copies !== undefined) for (const copy of copies) discardTensor(copy);
    }
    const outputs: Tensor[] = [];
    for (const name of fetches) outputs.push(checkedOutput(name, results[name]));
    return new NamedValues(fetches, outputs);
  }

  release(): void {
    if (this.#session === undefined) return;
    this.#session.dispose();
    this.#session = undefined;
    liveSessions -= 1;
  }
}

function checkedOutput(name: string, value: unknown): Tensor {
  if (typeof value !== "object" || value === null) throw new Error(`output "${name}" came back without a tensor`);
  const { type: dtype, data, dims: shape } = value as NativeTensor;
  if (elementCount(shape) !== data.length) {
    throw new Error(`output "${name}" came back with ${data.length} elements for the shape [${shape}]`);
  }
  return { dtype, shape, data };
}

function describe({ name, isTensor, type, shape, symbolicDimensions }: BindingMetadata): SessionValueMetadata {
  if (!isTensor) return { name, isTensor };
  return {
    name,
    isTensor,
    type: elementTypeOfOnnx(type)?.name ?? `of ONNX element type ${type}`,
    shape: shape.map((size, axis) => (size < 0 ? (symbolicDimensions[axis] ?? "") : size)),
  };
}

/** What the binding reads feeds as, and makes outputs with. */
class NativeTensor {
  readonly type: Tensor["dtype"];
  readonly data: Tensor["data"];
  readonly dims: Tensor["shape"];
  readonly location = "cpu";

  constructor(type: Tensor["dtype"], data: Tensor["data"], dims: Tensor["shape"]) {
    this.type = type;
    this.data = data;
    this.dims = dims;
  }
}

/**
 * An object that inherits nothing: the binding asks with `in`, and a model may call an output "constructor".
 * A class, because its instances are quicker than what Object.create(null) makes.
 */
class Bag<T> {
  [name: string]: T;
}
Object.setPrototypeOf(Bag.prototype, null);
delete (Bag.prototype as { constructor?: unknown }).constructor;

interface Binding {
  readonly InferenceSession: new () => BindingSession;
  initOrtOnce(logSeverity: number, tensor: typeof NativeTensor, isMainThread: boolean): void;
}

interface BindingSession {
  loadModel(path: string, options: object): void;
  loadModel(buffer: ArrayBuffer, byteOffset: number, byteLength: number, options: object): void;
  readonly inputMetadata: readonly BindingMetadata[];
  readonly outputMetadata: readonly BindingMetadata[];
  run(feeds: Bag<NativeTensor>, fetches: Bag<null>): Record<string, unknown>;
  dispose(): void;
}

interface BindingMetadata {
  readonly name: string;
  readonly isTensor: boolean;
  /** onnx.TensorProto.DataType. */
  readonly type: number;
  /** -1 for open dimensions, whose names stand in symbolicDimensions, "" for none. */
  readonly shape: readonly number[];
  readonly symbolicDimensions: readonly string[];
}
