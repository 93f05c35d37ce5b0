// What passes between the repository that decides on the versions and its replicas in other processes. Everything is
// plain data that can be structured-cloned.
import type { Cancellation } from "../../cancellation.js";
import type { Code } from "../../status.js";
import type { LoadedServable } from "../lifecycle/loader.js";
import type { ConfiguredModel } from "../model-config.js";
import type { VersionStatus } from "../model-status.js";
import type { Servable, ServableId } from "../servable.js";

export interface ReplicaLoad {
  /** Of this attempt to load: a version that is loaded anew has two for a while. */
  readonly key: number;
  readonly id: ServableId;
  /** The version's directory. */
  readonly path: string;
  /** A configuration in the place of the model's config.pbtxt. */
  readonly tritonConfig: string | undefined;
}

/** What there is to say of what a replica has loaded. */
export type ReplicaLoaded = Omit<Servable, "id" | "session"> & {
  readonly placement: Servable["session"]["placement"];
  readonly batching: LoadedServable["batching"];
};

/** An error without its stack. */
export interface ToldError {
  readonly code: Code;
  readonly message: string;
}

export type ToldStatus = Omit<VersionStatus, "error" | "lastFailure"> & {
  readonly error: ToldError | undefined;
  readonly lastFailure: ToldError | undefined;
};

/** What has come to be in the repository in charge. */
export type ReplicaNews =
  | { readonly what: "version"; readonly model: string; readonly status: ToldStatus }
  | {
      readonly what: "models";
      readonly configured: ReadonlyMap<string, ConfiguredModel> | undefined;
      readonly verdicts: ReadonlyMap<string, string>;
      readonly settled: boolean;
    };

/** One replica as the repository in charge sees it. Everything arrives in the order it is sent. */
export interface ReplicaLink {
  readonly name: string;
  /** Makes a version ready to answer, which it does not do yet. @throws the reason; see isEnd for a replica's end */
  load(load: ReplicaLoad, cancellation: Cancellation): Promise<ReplicaLoaded>;
  /** From now on this is what answers for its version. */
  activate(key: number): Promise<void>;
  /** Resolves when the last call to it has ended and its memory is given back; also for one that is still loading. */
  unload(key: number): Promise<void>;
  tell(news: ReplicaNews): void;
  /** Resolves when everything sent before has been taken in. */
  caughtUp(): Promise<void>;
  /** Whether an error of the above only means that the replica has ended. */
  isEnd(error: unknown): boolean;
}
