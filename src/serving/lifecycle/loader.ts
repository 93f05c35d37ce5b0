import type { Cancellation } from "../../cancellation.js";
import type { VersionStatus } from "../model-status.js";
import type { Servable } from "../servable.js";

/** What a loader made, and what there is to say of it. */
export interface LoadedServable {
  readonly servable: Servable;
  readonly batching: NonNullable<VersionStatus["loaded"]>["batching"];
  /** To be awaited before the version is called available. Default: it can answer as it is. */
  readonly activate?: () => Promise<void>;
}

export interface FilesLook {
  /** Equal for two looks between which nothing was changed. */
  readonly fingerprint: string;
  /** Nothing has changed for a while. */
  readonly atRest: boolean;
}

/** Makes one version into a servable. A loader is asked again when an attempt fails. */
export interface Loader {
  /** Looks at the version's files. */
  look(): Promise<FilesLook>;
  /**
   * Resolves once nobody writes to them any more.
   * @returns their fingerprint
   * @throws UNAVAILABLE when they keep changing; the cancellation's reason
   */
  filesAtRest(cancellation: Cancellation): Promise<string>;
  /**
   * One attempt, trial run included: what it returns can answer. Throws a StatusError with the reason. On cancellation it
   * may stop early or succeed all the same; a servable that is not wanted any more is released by the caller.
   */
  load(cancellation: Cancellation): Promise<LoadedServable>;
}
