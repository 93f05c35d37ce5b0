// The other side of training-process.ts: one task, then the end.
import { setPriority } from "node:os";
import { CancellationSource } from "../../cancellation.js";
import { Code, cancelled, errorMessage, StatusError } from "../../status.js";
import type { FromProcess, ToProcess } from "./process-messages.js";
import { runTask } from "./run-task.js";

const stopped = new CancellationSource();
// Where the server lives no more there is nobody to train for, and soon another process that has the job: no file of it
// is to be touched any more.
process.on("disconnect", () => process.exit(0));
// A terminal sends its signals to all processes of a group; what they mean is the server's to decide.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});

/** What cannot be sent any more has nobody to hear of it, as the disconnection tells. */
const goneSaysSo = () => {};

process.on("message", (message: ToProcess) => {
  if (message.kind === "stop") stopped.cancel(cancelled("stopped"));
  else void run(message);
});

async function run({ task }: Extract<ToProcess, { kind: "task" }>): Promise<void> {
  lowerPriority();
  const last = await runTask(task, {
    post: (message) => process.send?.(message, undefined, undefined, goneSaysSo),
    cancellation: stopped,
  }).catch((error: unknown): FromProcess => {
    if (error === stopped.reason) return { kind: "stopped" };
    if (error instanceof StatusError && error.code !== Code.INTERNAL) {
      return { kind: "failed", code: error.code, message: error.message };
    }
    const stack = error instanceof Error ? error.stack : undefined;
    return { kind: "failed", code: Code.INTERNAL, message: errorMessage(error), stack };
  });
  if (!process.connected) process.exit(0);
  process.send!(last, undefined, undefined, () => process.exit(0));
}

/** Where that is not allowed, training competes like everybody else. */
function lowerPriority(): void {
  try {
    setPriority(0, 19);
  } catch {}
}
