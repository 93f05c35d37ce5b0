import type { Signature, TensorSpec } from "../../src/onnx/index.js";
import type { RunOptions, RunResult, Session } from "../../src/runtime/index.js";
import type {
  ModelRepository,
  ModelSpec,
  ModelStatus,
  Servable,
  ServableHandle,
  VersionStatus,
} from "../../src/serving/index.js";
import { invalidArgument, notFound } from "../../src/status.js";
import type { Tensor } from "../../src/tensor/index.js";

export type Compute = (
  feeds: ReadonlyMap<string, Tensor>,
  options: RunOptions,
) => ReadonlyMap<string, Tensor> | Promise<ReadonlyMap<string, Tensor>>;

export interface ComputedModel {
  readonly name: string;
  readonly version?: bigint;
  readonly inputs: Readonly<Record<string, Pick<TensorSpec, "dtype" | "shape">>>;
  readonly outputs: Readonly<Record<string, Pick<TensorSpec, "dtype" | "shape">>>;
  readonly compute: Compute;
  readonly methodName?: string;
  readonly labels?: Readonly<Record<string, bigint>>;
}

/** A repository whose models are functions: they really compute, without a runtime, a file or a thread. */
export class ComputingRepository implements ModelRepository {
  readonly #servables: Servable[];
  readonly #labels: ReadonlyMap<string, ReadonlyMap<string, bigint>>;
  /** Statuses that are listed beside the available versions. */
  readonly others = new Map<string, VersionStatus[]>();
  /** Handles that are held. */
  held = 0;
  isSettled = true;

  constructor(models: readonly ComputedModel[]) {
    this.#servables = models.map(makeServable);
    this.#labels = new Map(models.map(({ name, labels = {} }) => [name, new Map(Object.entries(labels))]));
  }

  getServableHandle({ name, version, versionLabel }: ModelSpec): ServableHandle {
    if (name === "") throw invalidArgument("ModelSpec has no name specified.");
    let wanted = version;
    if (versionLabel !== undefined) {
      wanted = this.#labels.get(name)?.get(versionLabel);
      if (wanted === undefined) throw invalidArgument(`Unrecognized servable version label: ${versionLabel}`);
    }
    const servable = this.#servables
      .filter((other) => other.id.name === name && (wanted === undefined || other.id.version === wanted))
      .sort((a, b) => Number(b.id.version - a.id.version))[0];
    if (servable === undefined) {
      throw notFound(
        `Servable not found for request: ${wanted === undefined ? `Latest(${name})` : `Specific(${name}, ${wanted})`}`,
      );
    }
    this.held += 1;
    return {
      servable,
      [Symbol.dispose]: () => {
        this.held -= 1;
      },
    };
  }

  getModelStatus(name: string, version?: bigint): readonly VersionStatus[] {
    const available = this.#servables
      .filter(({ id }) => id.name === name)
      .map(({ id }): VersionStatus => statusOf(id.version, "AVAILABLE"));
    const all = [...available, ...(this.others.get(name) ?? [])].sort((a, b) => Number(b.version - a.version));
    if (all.length === 0) throw notFound(`Could not find any versions of model ${name}`);
    if (version === undefined) return all;
    const found = all.filter((status) => status.version === version);
    if (found.length === 0) throw notFound(`Could not find version ${version} of model ${name}`);
    return found;
  }

  listModels(): readonly ModelStatus[] {
    return [];
  }

  getModel(): undefined {
    return undefined;
  }

  onStateChange(): () => void {
    return () => {};
  }

  settled(): boolean {
    return this.isSettled;
  }
}

export function statusOf(
  version: bigint,
  state: VersionStatus["state"],
  error: VersionStatus["error"] = undefined,
): VersionStatus {
  return { version, state, error, loaded: undefined, path: `/models/${version}` };
}

/** The result of one output from float32 values. */
export function float32(shape: readonly number[], values: Iterable<number>): Tensor {
  return { dtype: "float32", shape, data: Float32Array.from(values) };
}

/** y = f(x), element by element. */
export function elementwise(f: (x: number) => number): Compute {
  return (feeds) => {
    const { shape, data } = feeds.get("x")!;
    return new Map([["y", float32(shape, Array.from(data as Float32Array, f))]]);
  };
}

function makeServable({ name, version = 1n, inputs, outputs, compute, methodName }: ComputedModel): Servable {
  const session: Session = {
    async run(feeds, _fetches, options): Promise<RunResult> {
      return { outputs: await compute(feeds, options), queueMs: 0.25, computeMs: 0.5, batchSize: 0 };
    },
    release: () => Promise.resolve(),
    placement: {
      kind: "inline",
      sessions: 1,
      intraOpThreads: 1,
      warmupRunMicros: 1,
      reason: "a function",
    },
    load: () => ({ queued: 0, running: 0 }),
  };
  const signature: Signature = {
    key: "serving_default",
    methodName: methodName ?? "tensorflow/serving/predict",
    inputs: specs(inputs),
    outputs: specs(outputs),
  };
  return {
    id: { name, version },
    signatures: new Map([[signature.key, signature]]),
    session,
    description: {
      inputs: [...signature.inputs.values()],
      outputs: [...signature.outputs.values()],
      metadata: new Map(),
      producer: "",
      operatorSets: [],
      rewrites: [],
      classLabels: new Map(),
      batching: { provenSafe: false, reason: "a function" },
      sizeBytes: 0,
    },
  };
}

function specs(given: ComputedModel["inputs"]): Map<string, TensorSpec> {
  return new Map(Object.entries(given).map(([name, spec]) => [name, { name, ...spec }]));
}
