import type { ModelDescription, Signature } from "../onnx/index.js";
import type { Session } from "../runtime/index.js";
import type { SessionLoad } from "../telemetry/index.js";
import type { TritonModel } from "./triton/triton-model.js";

/** One version of one model. */
export interface ServableId {
  readonly name: string;
  readonly version: bigint;
}

/** As logs and errors write it, in TensorFlow Serving's form: "{name: half_plus_two version: 1}". */
export function formatServableId({ name, version }: ServableId): string {
  return `{name: ${name} version: ${version}}`;
}

/** A version that can answer. */
export interface Servable {
  readonly id: ServableId;
  /** By signature key, in a stable order. */
  readonly signatures: ReadonlyMap<string, Signature>;
  readonly session: Session;
  readonly description: ModelDescription;
  /** The file it was loaded from; undefined when there is none. */
  readonly modelPath?: string;
  /** How a Triton repository has it shown and called; undefined elsewhere. */
  readonly triton?: TritonModel;
}

/** How busy it is at this moment, and what it takes. */
export function loadOf({ id, session, description }: Servable): SessionLoad {
  const { sessions } = session.placement;
  const memoryBytes = description.sizeBytes * sessions;
  return { model: id.name, version: id.version, ...session.load(), sessions, memoryBytes };
}

/** Held while a request runs: an open handle is what keeps a version from being unloaded. Give it back with `using`. */
export interface ServableHandle extends Disposable {
  readonly servable: Servable;
}

/** What lends servables: the repository, or, before a version is available, whoever tries it out. */
export interface ServableLender {
  /** Errors: those of ModelRepository.getServableHandle. */
  getServableHandle(spec: ModelSpec): ServableHandle;
}

/** Which model and version a request means. At most one of version and versionLabel is set. */
export interface ModelSpec {
  readonly name: string;
  readonly version?: bigint;
  /** May be "" when a client set it so. */
  readonly versionLabel?: string;
  /** "" stands for serving_default. */
  readonly signatureName: string;
}
