// A worker thread: one session, and the only code that runs models that take long. It ends by itself when told to
// release, between two runs: a thread that is stopped from outside during a run takes the whole process with it.
import { parentPort } from "node:worker_threads";
import { Code, errorMessage, StatusError } from "../../status.js";
import { discardTensors } from "../../tensor/index.js";
import { Claim, type Claims, claim, type FromWorker, type RunMessage, type ToWorker } from "./messages.js";
import type { NativeSession } from "./native-session.js";
import { joinModel, loadModel, type Opening } from "./open-model.js";
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
    case "join":
      claims = message.claims;
      opening = open(message.kind === "load" ? loadModel(message) : joinModel(message));
      return;
    case "release":
      // Never fails: what goes wrong when opening has been sent.
      void opening.then(release);
  }
});

async function open(opened: Promise<Opening<FromWorker>>): Promise<void> {
  try {
    const { session: made, reply } = await opened;
    session = made;
    send(reply);
  } catch (error) {
    const code = error instanceof StatusError ? error.code : Code.INTERNAL;
    send({ kind: "open-failed", code, message: errorMessage(error) });
    port.close();
  }
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
  } finally {
    discardTensors(feeds); // they came here for good
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
