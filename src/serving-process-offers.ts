// What the process in charge and the serving processes ask of each other.
import type { Options } from "./config.js";
import type { Door } from "./server.js";
import type { ModelServerConfig, ReplicaLoad, ReplicaLoaded, ReplicaNews } from "./serving/index.js";
import type { MetricsSnapshot, VersionStatistics } from "./telemetry/index.js";
import type { TrainingOffer } from "./training-between-processes.js";

export interface ServingProcessStart {
  readonly options: Options;
  readonly version: string;
  /** How many serving processes there are. */
  readonly processes: number;
  /** CPUs that are this process's share. */
  readonly cpus: number;
}

/** What a serving process does for the one in charge. */
export interface ServingProcessOffer {
  /** The first call. Resolves when its doors are ready for connections. */
  open(start: ServingProcessStart): void;
  load(load: ReplicaLoad): ReplicaLoaded;
  activate(key: number): void;
  unload(key: number): void;
  hear(news: ReplicaNews): void;
  /** Answered when all that was sent before has been taken in. */
  caughtUp(nothing: undefined): void;
  /** Brings a connection along. */
  connect(door: Door): void;
  figures(asked: { readonly withLag: boolean }): MetricsSnapshot;
  /** Says NOT_SERVING from now on, and goes on serving. */
  drain(nothing: undefined): void;
  /** Ends when its calls have. */
  close(nothing: undefined): void;
}

/** What the process in charge does for a serving process. */
export interface ChargeOffer extends TrainingOffer {
  /** So many connections have arrived, and so many are over, since it was last told. */
  connections(counts: { readonly taken: number; readonly ended: number }): void;
  reloadConfig(config: ModelServerConfig): void;
  availableModels(nothing: undefined): readonly string[];
  loadModel(load: { readonly name: string; readonly config: string | undefined }): void;
  unloadModel(name: string): void;
  /** Of the whole server. */
  metricsPage(nothing: undefined): string;
  statistics(nothing: undefined): readonly VersionStatistics[];
  counter(internalName: string): number;
}
