// What a worker thread does before it runs anything: read the model file, make the session, try it. On that thread.
import { stat } from "node:fs/promises";
import type { ModelDescription, SessionValueMetadata } from "../../onnx/index.js";
import { errorMessage, internal, notFound, unavailable } from "../../status.js";
import { discardBytes } from "../../tensor/index.js";
import { planThreads } from "../thread-plan.js";
import { measureWarmup, type WarmupMeasure, warmupFeeds } from "../warm-up.js";
import type { FileStamp, JoinedMessage, JoinMessage, LoadedMessage, LoadMessage, OpenedModel } from "./messages.js";
import { createNativeSession, loadBinding, type NativeSession, type SessionSource } from "./native-session.js";

export interface Opening<Reply> {
  readonly session: NativeSession;
  readonly reply: Reply;
}

/** Throws a StatusError with the reason when the file cannot be served. */
export async function loadModel(message: LoadMessage): Promise<Opening<LoadedMessage>> {
  // Only here: whoever makes a further session of a model need not be able to read one.
  const { describeOrtModel, readModel } = await import("../../onnx/index.js");
  const { path } = message;
  const stamp = await stampOf(path);
  const file = await readModel(path, { maxFileBytes: message.maxFileBytes });
  const sizeBytes = file.format === "onnx" ? file.description.sizeBytes : file.sizeBytes;
  const plan = planThreads(message.asked, message.cpus, sizeBytes);
  const source: SessionSource =
    file.format === "onnx" && file.bytes !== undefined
      ? { path, bytes: share(file.bytes), externalDataFolder: file.externalDataFolder }
      : { path, bytes: undefined, externalDataFolder: undefined };
  loadBinding(); // not part of what making this session takes
  const { session, createMs } = createMeasured({ source, plan }, message.inlineMaxCreateMs);
  try {
    const description =
      file.format === "onnx" ? file.description : describeOrtModel(sizeBytes, session.inputs, session.outputs);
    requireSameInterface("input", description.inputs, session.inputs);
    requireSameInterface("output", description.outputs, session.outputs);
    const model = { description, source, stamp, plan };
    await requireSameFile(model);
    const warmup = warmUp(session, description, message.warmupMaxBytes);
    const operators = file.format === "onnx" ? [...file.operators] : undefined;
    return { session, reply: { kind: "loaded", model, warmup, createMs, operators } };
  } catch (error) {
    session.release();
    throw error;
  }
}

/** One more session of a model that has been loaded. Throws a StatusError when the file is not what it was then. */
export async function joinModel({ model, warmupMaxBytes }: JoinMessage): Promise<Opening<JoinedMessage>> {
  await requireSameFile(model);
  const session = createSession(model);
  try {
    await requireSameFile(model);
    warmUp(session, model.description, warmupMaxBytes);
    return { session, reply: { kind: "joined" } };
  } catch (error) {
    session.release();
    throw error;
  }
}

const createAttempts = 3;

/**
 * A single measure says little on a busy machine, and a small model is worth a second look: one that seems too slow by
 * little is made again, and the least time counts.
 */
function createMeasured(
  model: Pick<OpenedModel, "source" | "plan">,
  tooLongMs: number,
): { readonly session: NativeSession; readonly createMs: number } {
  let session: NativeSession | undefined;
  let createMs = Infinity;
  for (let attempt = 0; attempt < createAttempts; attempt += 1) {
    session?.release();
    const start = performance.now();
    session = createSession(model);
    createMs = Math.min(createMs, performance.now() - start);
    if (createMs <= tooLongMs || createMs > 10 * tooLongMs) break;
  }
  return { session: session!, createMs };
}

function createSession({ source, plan }: Pick<OpenedModel, "source" | "plan">): NativeSession {
  try {
    return createNativeSession(source, plan.intraOpThreads);
  } catch (error) {
    throw internal(errorMessage(error), { cause: error });
  }
}

function warmUp(of: NativeSession, description: ModelDescription, maxBytes: number): WarmupMeasure {
  const warmup = warmupFeeds(description.inputs, maxBytes);
  if ("skipped" in warmup) return { medianMicros: undefined, skipped: warmup.skipped };
  const fetches = description.outputs.map(({ name }) => name);
  return measureWarmup(
    () => of.run(warmup.feeds, fetches),
    () => performance.now(),
  );
}

async function stampOf(path: string): Promise<FileStamp> {
  try {
    const { size, mtimeNs, ino } = await stat(path, { bigint: true });
    return { sizeBytes: size, modifiedNs: mtimeNs, inode: ino };
  } catch (error) {
    throw notFound(`the model file cannot be opened: ${errorMessage(error)}`, { cause: error });
  }
}

/** The file is read more than once, and must not be exchanged in between. */
async function requireSameFile({ source, stamp }: Pick<OpenedModel, "source" | "stamp">): Promise<void> {
  const now = await stampOf(source.path);
  if (now.sizeBytes !== stamp.sizeBytes || now.modifiedNs !== stamp.modifiedNs || now.inode !== stamp.inode) {
    throw unavailable(`${source.path} has changed since it was first read`);
  }
}

function requireSameInterface(
  role: "input" | "output",
  described: ModelDescription["inputs"],
  found: readonly SessionValueMetadata[],
): void {
  const format = (name: string, type: string | undefined) => `"${name}" (${type ?? "not a tensor"})`;
  const ours = described.map(({ name, dtype }) => format(name, dtype)).sort();
  const theirs = found.map(({ name, type }) => format(name, type)).sort();
  if (ours.join() !== theirs.join()) {
    throw internal(`the file declares the ${role}s ${ours.join(", ")}; the runtime finds ${theirs.join(", ")}`);
  }
}

function share(bytes: Uint8Array): Uint8Array {
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.byteLength));
  shared.set(bytes);
  discardBytes(bytes);
  return shared;
}
