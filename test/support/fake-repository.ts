import type { ModelDescription, Signature, TensorSpec } from "../../src/onnx/index.js";
import type { RunOptions, Session } from "../../src/runtime/index.js";
import type {
  ConfigurableModelRepository,
  ModelServerConfig,
  ModelSpec,
  ModelStatus,
  Servable,
  ServableHandle,
  ServableState,
  VersionStatus,
} from "../../src/serving/index.js";
import { invalidArgument, notFound, type StatusError } from "../../src/status.js";
import type { ElementType, Tensor } from "../../src/tensor/index.js";

export type Run = (
  feeds: ReadonlyMap<string, Tensor>,
  options: RunOptions,
) => ReadonlyMap<string, Tensor> | Promise<ReadonlyMap<string, Tensor>>;

export type Specs = Readonly<Record<string, readonly [dtype: ElementType, shape: TensorSpec["shape"]]>>;

/** A signature whose tensors are named after their aliases, with ":0" behind. */
export function signatureOf(inputs: Specs, outputs: Specs, key = "serving_default"): Signature {
  const specs = (of: Specs) =>
    new Map(Object.entries(of).map(([alias, [dtype, shape]]) => [alias, { name: `${alias}:0`, dtype, shape }]));
  return { key, methodName: "tensorflow/serving/predict", inputs: specs(inputs), outputs: specs(outputs) };
}

interface FakeModel {
  readonly versions: Map<bigint, VersionStatus & { readonly servable: Servable }>;
  readonly labels: Map<string, bigint>;
}

/** Models in memory, whose states a test sets and whose runs are functions. */
export class FakeRepository implements ConfigurableModelRepository {
  /** What reloadConfig was called with. */
  readonly reloads: ModelServerConfig[] = [];
  /** What a reload does before it ends. */
  onReload: () => void | Promise<void> = () => {};
  /** Handles lent and not yet given back. */
  openHandles = 0;
  isSettled = true;
  readonly #models = new Map<string, FakeModel>();
  readonly #listeners = new Set<(name: string, status: VersionStatus) => void>();
  readonly #changeListeners = new Set<() => void>();

  add(
    name: string,
    version: bigint,
    signatures: readonly Signature[],
    run: Run,
    more: Partial<ModelDescription> = {},
  ): void {
    const description = { ...plainDescription, ...more };
    const byKey = new Map(signatures.map((signature) => [signature.key, signature]));
    const servable: Servable = { id: { name, version }, signatures: byKey, description, session: sessionOf(run) };
    const status: VersionStatus = {
      version,
      state: "AVAILABLE",
      error: undefined,
      path: `/models/${name}/${version}`,
      loaded: {
        signatures: byKey,
        description,
        placement: servable.session.placement,
        batching: { enabled: false, reason: "a fake" },
        loadSeconds: 0.25,
        availableSince: 1_700_000_000_123,
      },
    };
    const model: FakeModel = this.#models.get(name) ?? { versions: new Map(), labels: new Map() };
    this.#models.set(name, model);
    model.versions.set(version, { ...status, servable });
    this.#tell(name, version);
  }

  label(name: string, label: string, version: bigint): void {
    this.#models.get(name)!.labels.set(label, version);
  }

  setState(name: string, version: bigint, state: ServableState, error?: StatusError): void {
    const { versions } = this.#models.get(name)!;
    versions.set(version, { ...versions.get(version)!, state, error });
    this.#tell(name, version);
  }

  async reloadConfig(config: ModelServerConfig): Promise<void> {
    this.reloads.push(config);
    await this.onReload();
  }

  settle(settled: boolean): void {
    this.isSettled = settled;
    for (const listener of this.#changeListeners) listener();
  }

  get listeners(): number {
    return this.#listeners.size + this.#changeListeners.size;
  }

  getServableHandle(spec: ModelSpec): ServableHandle {
    if (spec.name === "") throw invalidArgument("ModelSpec has no name specified.");
    const model = this.#models.get(spec.name);
    let version = spec.version ?? this.#defaultVersion(model);
    if (spec.versionLabel !== undefined) {
      version = model?.labels.get(spec.versionLabel);
      if (version === undefined) throw invalidArgument(`Unrecognized servable version label: ${spec.versionLabel}`);
    }
    if (version === undefined) throw notFound(`Servable not found for request: Latest(${spec.name})`);
    const found = model?.versions.get(version);
    if (found?.state !== "AVAILABLE") {
      throw notFound(`Servable not found for request: Specific(${spec.name}, ${version})`);
    }
    this.openHandles += 1;
    return {
      servable: found.servable,
      [Symbol.dispose]: () => {
        this.openHandles -= 1;
      },
    };
  }

  getModelStatus(name: string, version?: bigint): readonly VersionStatus[] {
    const versions = this.getModel(name)?.versions ?? [];
    const wanted = versions.filter((status) => version === undefined || status.version === version);
    if (wanted.length > 0) return wanted;
    throw notFound(
      version === undefined
        ? `Could not find any versions of model ${name}`
        : `Could not find version ${version} of model ${name}`,
    );
  }

  listModels(): readonly ModelStatus[] {
    return [...this.#models.keys()].sort().map((name) => this.getModel(name)!);
  }

  getModel(name: string): ModelStatus | undefined {
    const model = this.#models.get(name);
    if (model === undefined) return undefined;
    return {
      name,
      basePath: `/models/${name}`,
      configured: true,
      versions: [...model.versions.values()].sort((a, b) => Number(b.version - a.version)),
      labels: model.labels,
      defaultVersion: this.#defaultVersion(model),
      sourceError: "",
    };
  }

  onStateChange(listener: (name: string, status: VersionStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  onChange(listener: () => void): () => void {
    this.#changeListeners.add(listener);
    return () => this.#changeListeners.delete(listener);
  }

  settled(): boolean {
    return this.isSettled;
  }

  #defaultVersion(model: FakeModel | undefined): bigint | undefined {
    const available = [...(model?.versions.values() ?? [])].filter(({ state }) => state === "AVAILABLE");
    return available.map(({ version }) => version).sort((a, b) => Number(b - a))[0];
  }

  #tell(name: string, version: bigint): void {
    const status = this.#models.get(name)!.versions.get(version)!;
    for (const listener of this.#listeners) listener(name, status);
    for (const listener of this.#changeListeners) listener();
  }
}

const plainDescription: ModelDescription = {
  inputs: [],
  outputs: [],
  metadata: new Map([["author", "a test"]]),
  producer: "test 1.0",
  operatorSets: [{ domain: "", version: 17 }],
  rewrites: [],
  classLabels: new Map(),
  batching: { provenSafe: false, reason: "a fake" },
  sizeBytes: 1234,
};

function sessionOf(run: Run): Session {
  return {
    placement: { kind: "inline", sessions: 1, intraOpThreads: 1, warmupRunMicros: 12, reason: "a fake" },
    async run(feeds, _fetches, options) {
      return { outputs: await run(feeds, options), queueMs: 1.5, computeMs: 2.5, batchSize: 4 };
    },
    release: async () => {},
    load: () => ({ queued: 0, running: 0 }),
  };
}
