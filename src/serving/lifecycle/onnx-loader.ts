import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Cancellation } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import type { ModelDescription } from "../../onnx/index.js";
import {
  type BatchingOptions,
  BatchingSession,
  type ModelRuntime,
  ScheduledBatchingSession,
  type Session,
  type SessionOptions,
  SharedBatchScheduler,
  type ValidBatchingParameters,
  validateBatchingParameters,
} from "../../runtime/index.js";
import { Code, invalidArgument, notFound, StatusError } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import { batchingParametersFileName, readModelBatchingParameters } from "../batching-parameters-file.js";
import { bindSignature } from "../bound-signature.js";
import { fileError } from "../file-error.js";
import type { ScheduledBatching } from "../model-repository-options.js";
import type { Servable, ServableId } from "../servable.js";
import { readSessionOptions, sessionOptionsFileName } from "../session-options.js";
import { defaultSignatures, readSignatureDefs, signatureDefsFileName, signaturesFromDefs } from "../signature-defs.js";
import { tritonConfigFileName } from "../triton/config-file.js";
import { type DynamicBatching, dynamicBatching } from "../triton/dynamic-batching.js";
import { bindPlan, type TritonLoading, viewedSignature } from "../triton/loading.js";
import { runModelWarmup } from "../triton/model-warmup.js";
import type { TritonPlan } from "../triton/triton-model.js";
import { type WarmupOptions, warmUp } from "../warmup.js";
import type { FilesLook, LoadedServable, Loader } from "./loader.js";
import { filesAtRest, isAtRest, lookAtFiles } from "./version-files.js";

export interface OnnxLoaderOptions {
  readonly runtime: ModelRuntime;
  readonly clock: Clock;
  /** How long a version's files must not have changed before they are read. 0: not at all. */
  readonly fileQuietPeriodMs: number;
  /** Where the model's files do not say otherwise. */
  readonly sessionOptions: SessionOptions;
  /** Run together what waits together, for models where that is proven safe; undefined: never. */
  readonly batching: Partial<BatchingOptions> | undefined;
  /** Takes the place of `batching`. */
  readonly scheduledBatching?: ScheduledBatching | undefined;
  readonly logger: Logger;
  /** Set in a Triton repository: a model's config.pbtxt is read, or what stands in its place. */
  readonly triton?: TritonLoading | undefined;
  /** How to run a version's warm-up file; default: not at all. */
  readonly warmup?: WarmupOptions | undefined;
  /** Told of every warm-up file that was read. */
  readonly onWarmup?: ((warmup: WarmupOutcome) => void) | undefined;
}

export interface WarmupOutcome {
  readonly path: string;
  readonly records: number;
  readonly durationMs: number;
  /** OK, or what the load failed with. */
  readonly code: Code;
}

/** Loads one version from its directory: model.onnx, or the only .onnx or .ort file there, and what lies beside it. */
export class OnnxLoader implements Loader {
  readonly #id: ServableId;
  readonly #path: string;
  readonly #options: OnnxLoaderOptions;

  constructor(id: ServableId, path: string, options: OnnxLoaderOptions) {
    this.#id = id;
    this.#path = path;
    this.#options = options;
  }

  /** What a client has sent in the place of the model's config.pbtxt. */
  get tritonConfig(): string | undefined {
    return this.#options.triton?.revision(this.#id.name);
  }

  async look(): Promise<FilesLook> {
    const snapshot = await this.#lookAtFiles();
    const { fileQuietPeriodMs, clock } = this.#options;
    return { fingerprint: snapshot.fingerprint, atRest: isAtRest(snapshot, fileQuietPeriodMs, clock) };
  }

  filesAtRest(cancellation: Cancellation): Promise<string> {
    return filesAtRest(() => this.#lookAtFiles(), this.#options.fileQuietPeriodMs, this.#options.clock, cancellation);
  }

  async load(cancellation: Cancellation): Promise<LoadedServable> {
    const { runtime, triton } = this.#options;
    const base = dirname(this.#path);
    const plan = await triton?.plan(this.#id.name, base);
    if (plan !== undefined) this.#logWithoutEffect(plan);
    const modelPath = await this.#modelPath(plan);
    const sessionOptions = { ...this.#options.sessionOptions, ...plan?.sessionOptions };
    const options = await readSessionOptions(base, this.#path, sessionOptions);
    const defsPath = join(this.#path, signatureDefsFileName);
    const defs = await readSignatureDefs(defsPath);
    const parameters = await this.#batchingParameters();
    const { description, session } = await runtime.load(
      `${this.#id.name}/${this.#id.version}`,
      modelPath,
      options,
      cancellation,
    );
    try {
      const signatures =
        defs === undefined ? defaultSignatures(description) : signaturesFromDefs(defs, description, defsPath);
      for (const signature of signatures.values()) bindSignature(signature);
      await this.#warmUp({ id: this.#id, signatures, session, description }, cancellation);
      const model = plan && (await bindPlan(plan, signatures, description, base));
      if (model !== undefined) {
        await runModelWarmup(model, viewedSignature(signatures)!, session, base, cancellation);
      }
      const dynamic = parameters === undefined && model !== undefined ? dynamicBatching(model, options) : undefined;
      const batched =
        dynamic === undefined
          ? this.#batch(session, description, options, parameters, model?.maxBatchSize ?? 0)
          : this.#batchDynamically(session, dynamic);
      const servable = {
        id: this.#id,
        signatures,
        session: batched,
        description,
        modelPath,
        ...(model && { triton: model }),
      };
      const batching =
        dynamic === undefined
          ? this.#batchingVerdict(description, parameters)
          : { enabled: true, reason: "config.pbtxt asks for dynamic_batching" };
      return { servable, batching };
    } catch (error) {
      await session.release();
      throw error;
    }
  }

  async #modelPath(plan: TritonPlan | undefined): Promise<string> {
    const name = plan?.config.default_model_filename || (await findModelFile(this.#path));
    const path = join(this.#path, name);
    return plan === undefined ? path : await inModelDirectory(path);
  }

  #logWithoutEffect({ withoutEffect }: TritonPlan): void {
    const fields = { model: this.#id.name, version: String(this.#id.version) };
    for (const field of withoutEffect) {
      this.#options.logger.warn(`config.pbtxt: a field has no effect: ${field}`, fields);
    }
  }

  /** On the session itself: calls that were batched would all go to one of its threads. */
  async #warmUp(servable: Servable, cancellation: Cancellation): Promise<void> {
    const { warmup, onWarmup, clock, logger } = this.#options;
    if (warmup === undefined) return;
    const start = clock.now();
    const tell = (records: number, code: Code) =>
      onWarmup?.({ path: this.#path, records, durationMs: clock.now() - start, code });
    try {
      const records = await warmUp(servable, this.#path, warmup, cancellation);
      if (records === undefined) return;
      tell(records, Code.OK);
      logger.info("a version was warmed up", { model: servable.id.name, version: servable.id.version, records });
    } catch (error) {
      tell(0, error instanceof StatusError ? error.code : Code.UNKNOWN);
      throw error;
    }
  }

  /** undefined: not batched by an operator's word. */
  async #batchingParameters(): Promise<ValidBatchingParameters | undefined> {
    const { scheduledBatching } = this.#options;
    if (scheduledBatching === undefined) return undefined;
    const path = join(this.#path, batchingParametersFileName);
    const given = scheduledBatching.parameters ?? (await readModelBatchingParameters(path));
    return given && validateBatchingParameters(given);
  }

  #batch(
    session: Session,
    { batching: verdict }: ModelDescription,
    { maxQueue }: SessionOptions,
    parameters: ValidBatchingParameters | undefined,
    maxBatchRows: number,
  ): Session {
    const { batching, scheduledBatching, clock, logger } = this.#options;
    if (scheduledBatching !== undefined) {
      const { scheduler, onBatch } = scheduledBatching;
      const deps = { scheduler, clock, ...(onBatch && { onBatch }) };
      return parameters === undefined ? session : new ScheduledBatchingSession(session, parameters, deps);
    }
    if (batching === undefined || !verdict.provenSafe) return session;
    const options = {
      ...batching,
      ...(maxQueue !== undefined && { maxQueue }),
      ...(maxBatchRows > 0 && { maxBatchRows }),
    };
    return new BatchingSession(this.#id.name, session, options, { clock, logger });
  }

  /** As a Triton configuration has it, proven independent or not. */
  #batchDynamically(session: Session, { delayed, options }: DynamicBatching): Session {
    const { batching, clock, logger } = this.#options;
    // Without a delay a batch is what waits when a session is free, which needs no timer.
    if (delayed === undefined) {
      return new BatchingSession(this.#id.name, session, { ...batching, ...options }, { clock, logger });
    }
    const scheduler = new SharedBatchScheduler({ numBatchThreads: session.placement.sessions, clock });
    return new ScheduledBatchingSession(session, validateBatchingParameters(delayed), { scheduler, clock });
  }

  #batchingVerdict(
    { batching: { provenSafe, reason } }: ModelDescription,
    parameters: ValidBatchingParameters | undefined,
  ): LoadedServable["batching"] {
    if (this.#options.scheduledBatching !== undefined) {
      return parameters === undefined
        ? { enabled: false, reason: `there is no ${batchingParametersFileName} in the version's directory` }
        : { enabled: true, reason: "enable_batching says so" };
    }
    if (this.#options.batching === undefined) return { enabled: false, reason: "batching is turned off" };
    return { enabled: provenSafe, reason };
  }

  async #lookAtFiles() {
    const base = dirname(this.#path);
    const { triton } = this.#options;
    const files = [sessionOptionsFileName, ...(triton === undefined ? [] : [tritonConfigFileName])];
    const snapshot = await lookAtFiles(
      this.#path,
      files.map((file) => join(base, file)),
    );
    const sent = this.tritonConfig;
    return sent === undefined ? snapshot : { ...snapshot, fingerprint: `${snapshot.fingerprint} ${sent}` };
  }
}

/** Triton takes a directory in the model file's place, with the file and its external data in it. */
async function inModelDirectory(path: string): Promise<string> {
  try {
    return (await stat(path)).isDirectory() ? join(path, "model.onnx") : path;
  } catch (error) {
    throw fileError(error);
  }
}

/**
 * The name of the model file in a version's directory.
 * @throws NOT_FOUND when there is none, INVALID_ARGUMENT when it is not clear which
 */
export async function findModelFile(directory: string): Promise<string> {
  let names: string[];
  try {
    if (!(await stat(directory)).isDirectory()) {
      throw invalidArgument(`${directory} is not a directory; a version is a directory with a model.onnx in it`);
    }
    names = (await readdir(directory)).sort();
  } catch (error) {
    throw fileError(error);
  }
  if (names.includes("model.onnx")) return "model.onnx";
  const models = names.filter((name) => /\.(onnx|ort)$/.test(name) && !name.startsWith("."));
  if (models.length === 1) return models[0]!;
  if (models.length > 1) {
    throw invalidArgument(`${directory} holds ${models.join(", ")}; one must be named model.onnx, or be the only one`);
  }
  if (names.includes("saved_model.pb") || names.includes("saved_model.pbtxt")) {
    throw invalidArgument(
      `${directory} holds a TensorFlow SavedModel; onnxd serves ONNX models: convert it with tf2onnx, for example`,
    );
  }
  const others =
    names.length === 0 ? "it is empty" : `it holds ${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""}`;
  throw notFound(`${directory} has no model.onnx, nor any .onnx or .ort file; ${others}`);
}
