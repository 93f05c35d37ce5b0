// A worker thread: one session, and the only code that runs models that take long. It ends by itself when told to
// release, between two runs: a thread that is stopped from outside during a run takes the whole process with it.
import { stat } from "node:fs/promises";
import { parentPort } from "node:worker_threads";
import { describeOrtModel, type ModelDescription, readModel, type SessionValueMetadata } from "../../onnx/index.js";
import { Code, errorMessage, internal, notFound, StatusError, unavailable } from "../../status.js";
import { planThreads } from "../thread-plan.js";
import { measureWarmup, type WarmupMeasure, warmupFeeds } from "../warm-up.js";
import {
  Claim,
  type Claims,
  claim,
  type FileStamp,
  type FromWorker,
  type JoinMessage,
  type LoadMessage,
  type OpenedModel,
  type RunMessage,
  type ToWorker,
} from "./messages.js";
import { createNativeSession, loadBinding, type NativeSession, type SessionSource } from "./native-session.js";
import { sessionThreads } from "./session-threads.js";
import { shipTensors } from "./tensor-transfer.js";

const port = parentPort!;
let opening: Promise<void> = Promise.resolve();
let session: NativeSession | undefined;
let claims: Claims;

port.on("message", (message: ToWorker) => {
  switch (message.kind) {
    case "run":
      run(session!, message);
      return;
    case "load":
      opening = open(message.claims, () => load(message));
      return;
    case "join":
      opening = open(message.claims, () => join(message));
      return;
    case "release":
      // Never fails: what goes wrong when opening has been sent.
      void opening.then(release);
  }
});

async function open(given: Claims, make: () => Promise<FromWorker>): Promise<void> {
  claims = given;
  try {
    send(await make());
  } catch (error) {
    session?.release();
    session = undefined;
    const code = error instanceof StatusError ? error.code : Code.INTERNAL;
    send({ kind: "open-failed", code, message: errorMessage(error) });
    port.close();
  }
}

async function load(message: LoadMessage): Promise<FromWorker> {
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
  const start = performance.now();
  session = createSession({ source, plan });
  const createMs = performance.now() - start;
  const description =
    file.format === "onnx" ? file.description : describeOrtModel(sizeBytes, session.inputs, session.outputs);
  requireSameInterface("input", description.inputs, session.inputs);
  requireSameInterface("output", description.outputs, session.outputs);
  const model = { description, source, stamp, plan };
  await requireSameFile(model);
  const warmup = warmUp(session, description, message.warmupMaxBytes);
  const operators = file.format === "onnx" ? [...file.operators] : undefined;
  return { kind: "loaded", model, warmup, createMs, operators };
}

async function join({ model, warmupMaxBytes }: JoinMessage): Promise<FromWorker> {
  await requireSameFile(model);
  session = createSession(model);
  await requireSameFile(model);
  warmUp(session, model.description, warmupMaxBytes);
  return { kind: "joined" };
}

function createSession({ source, plan }: Pick<OpenedModel, "source" | "plan">): NativeSession {
  try {
    return createNativeSession(source, sessionThreads(plan));
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

function run(on: NativeSession, { id, feeds, fetches }: RunMessage): void {
  if (!claim(claims, id, Claim.STARTED)) {
    send({ kind: "skipped", id });
    return;
  }
  const start = performance.now();
  try {
    const outputs = on.run(feeds, fetches);
    const computeMs = performance.now() - start;
    const { tensors, transfer } = shipTensors(outputs, true);
    send({ kind: "ran", id, outputs: tensors, computeMs }, transfer);
  } catch (error) {
    send({ kind: "run-failed", id, text: errorMessage(error) });
  }
}

function release(): void {
  session?.release();
  session = undefined;
  port.close(); // nothing else keeps this thread alive
}

function send(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
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
  return shared;
}
