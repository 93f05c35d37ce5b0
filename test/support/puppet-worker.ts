// A real worker thread that also does what a test tells it: see PuppetThreads.
import { parentPort, workerData } from "node:worker_threads";
import type { FromWorker, ToWorker } from "../../src/runtime/placement/messages.js";
import { Control, type Death, type PuppetControl } from "./puppet-threads.js";

const port = parentPort!;
const control = workerData as PuppetControl;

// Between the port and worker-main, which is imported below, once this stands.
const on = port.on.bind(port);
port.on = ((event: string, listener: (message: ToWorker) => void) =>
  on(event, (message: ToWorker) => {
    if (message.kind === "run") {
      Atomics.add(control, Control.RUNS_RECEIVED, 1);
      dieIfTold(Atomics.exchange(control, Control.DEATH_ON_RUN, 0) as Death);
    } else {
      dieIfTold(Atomics.exchange(control, Control.DEATH_ON_OPEN, 0) as Death);
    }
    listener(message);
  })) as typeof port.on;

const postMessage = port.postMessage.bind(port);
port.postMessage = (message: FromWorker, transfer: ArrayBuffer[]) => {
  if (message.kind === "ran" || message.kind === "run-failed") waitForPermit();
  postMessage(message, transfer);
};

await import("../../src/runtime/placement/worker-main.js");

function waitForPermit(): void {
  for (;;) {
    const permits = Atomics.load(control, Control.PERMITS);
    if (permits < 0) return; // nothing is held
    if (permits === 0) Atomics.wait(control, Control.PERMITS, 0);
    else if (Atomics.compareExchange(control, Control.PERMITS, permits, permits - 1) === permits) return;
  }
}

function dieIfTold(death: Death): void {
  switch (death) {
    case 1:
      process.exit(3);
      break;
    case 2:
      throw new Error("struck by lightning");
    case 3:
      // In small pieces: where one allocation steps over the limit, V8 may end the process instead of the thread.
      for (let hoard = {}; ; ) hoard = { hoard, pieces: [1.5, 2.5] };
  }
}
