import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Clock, Timer } from "../../clock.js";
import { internal, resourceExhausted, type StatusError } from "../../status.js";
import { type FromProcess, isLast, type LastMessage, type Task, type ToProcess } from "./process-messages.js";

export interface TrainingProcessOptions {
  readonly clock: Clock;
  /** Hears of everything but the last message. */
  readonly onMessage?: (message: Exclude<FromProcess, LastMessage>) => void;
  /** How long a step may go on after it was told to stop, before the process is killed. Default 10 000. */
  readonly stopPatienceMs?: number;
}

/**
 * One task in a process of its own, at the lowest priority. A process and not a thread: a kernel that crashes, or takes
 * all memory, ends it and not the server; it can be killed in the middle of a step, since its checkpoints are on disk;
 * and the system lets Predict go first.
 */
export class TrainingProcess {
  /** The last message; rejected when the process ends without one. */
  readonly ended: Promise<LastMessage>;
  readonly #child: ChildProcess;
  readonly #options: TrainingProcessOptions;
  #killTimer: Timer | undefined;
  #stopping = false;

  constructor(task: Task, options: TrainingProcessOptions) {
    this.#options = options;
    // The heap bounds what rows and tables may take outside of typed arrays; too little memory ends the process alone.
    const heapMegabytes = Math.max(256, Math.ceil(task.memoryBytes / 2 ** 20));
    this.#child = fork(fileURLToPath(new URL("./training-process-main.js", import.meta.url)), {
      serialization: "advanced",
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      execArgv: ["--enable-source-maps", `--max-old-space-size=${heapMegabytes}`],
      env: { ...process.env, ORT_DISABLE_TELEMETRY: "1" },
    });
    this.ended = new Promise((resolve, reject) => {
      let last: LastMessage | undefined;
      this.#child.on("message", (message: FromProcess) => {
        if (isLast(message)) last = message;
        else options.onMessage?.(message);
      });
      this.#child.on("error", (error) => reject(internal(`the training process could not start: ${error.message}`)));
      this.#child.once("exit", (code, signal) => {
        this.#killTimer?.cancel();
        if (last !== undefined) resolve(last);
        else if (this.#stopping) resolve({ kind: "stopped" });
        else reject(diedWith(code, signal));
      });
    });
    this.ended.catch(() => {});
    this.#send({ kind: "task", task });
  }

  /** Ends between two steps, or at once after some patience. Resolves when the process is gone. */
  async stop(): Promise<void> {
    if (!this.#stopping) {
      this.#stopping = true;
      this.#send({ kind: "stop" });
      this.#killTimer = this.#options.clock.setTimer(this.#options.stopPatienceMs ?? 10_000, () => this.kill());
    }
    await this.ended.catch(() => {});
  }

  kill(): void {
    this.#stopping = true;
    this.#child.kill("SIGKILL");
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  #send(message: ToProcess): void {
    // A process that is gone says so by its exit.
    if (this.#child.connected) this.#child.send(message, () => {});
  }
}

function diedWith(code: number | null, signal: NodeJS.Signals | null): StatusError {
  if (signal === "SIGKILL" || signal === "SIGABRT" || code === 134) {
    return resourceExhausted(
      `the training process was ended by ${signal ?? `exit code ${code}`}: most often it has taken more memory than there is`,
    );
  }
  return internal(`the training process ended with ${signal ?? `exit code ${code}`}`);
}
