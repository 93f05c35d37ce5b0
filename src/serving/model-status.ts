import type { ModelDescription, Signature } from "../onnx/index.js";
import type { PlacementInfo } from "../runtime/index.js";
import type { StatusError } from "../status.js";

/** As GetModelStatus prints them. */
export type ServableState = "START" | "LOADING" | "AVAILABLE" | "UNLOADING" | "END";

/** One version in the state machine that feeds GetModelStatus, ListModels, metrics and health alike. */
export interface VersionStatus {
  readonly version: bigint;
  readonly state: ServableState;
  /** Why it ended, when it did not end well. */
  readonly error: StatusError | undefined;
  /** Why the last attempt to load failed, while the next one is awaited; the state is LOADING then. */
  readonly lastFailure?: StatusError;
  /** Known from the moment the version was loaded; kept after it was unloaded. */
  readonly loaded:
    | {
        readonly signatures: ReadonlyMap<string, Signature>;
        readonly description: ModelDescription;
        readonly placement: PlacementInfo;
        readonly batching: { readonly enabled: boolean; readonly reason: string };
        /** From the start of loading to AVAILABLE, retries and warm-up included. */
        readonly loadSeconds: number;
        /** Milliseconds since 1970. */
        readonly availableSince: number;
      }
    | undefined;
  /** The version's directory. */
  readonly path: string;
}

export interface ModelStatus {
  readonly name: string;
  readonly basePath: string;
  /** False once the configuration no longer names it. */
  readonly configured: boolean;
  /** From the largest version to the smallest. */
  readonly versions: readonly VersionStatus[];
  readonly labels: ReadonlyMap<string, bigint>;
  /** What a request without a version gets. */
  readonly defaultVersion: bigint | undefined;
  /** Why the directory could not be read at the last poll, or why nothing is served from it; "" when all is well. */
  readonly sourceError: string;
}
