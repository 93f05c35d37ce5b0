import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Clock, Timer } from "../clock.js";
import { errorMessage, StatusError, unavailable } from "../status.js";
import type { Logger } from "../telemetry/index.js";
import { forwardWholeLines } from "./whole-lines.js";

const firstDelayMs = 100;
const longestDelayMs = 30_000;
/** A process that served so long before it ended has nothing to do with the ends before. */
const stableAfterMs = 60_000;

export interface SupervisedProcessOptions {
  /** For the log: "serving process 1". */
  readonly name: string;
  /** file: URL of what it runs. */
  readonly module: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * Brings a new process to where it can serve. Rejects when it cannot; the process is ended then.
   * @param child with an IPC channel of structured clones
   */
  readonly prepare: (child: ChildProcess) => Promise<void>;
}

export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process that is started again when it ends: at once the first time, then after ever longer pauses, up to 30 s. */
export class SupervisedProcess {
  readonly #options: SupervisedProcessOptions;
  #child: ChildProcess | undefined;
  #exited: Promise<ProcessEnd> = Promise.resolve({ code: 0, signal: null });
  #ends = 0;
  #timer: Timer | undefined;
  #stopping = false;

  constructor(options: SupervisedProcessOptions) {
    this.#options = options;
  }

  /** undefined: none runs at this moment. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves once it serves; rejects when the first attempt fails. Only later ends are followed by another start. */
  async start(): Promise<void> {
    await this.#start();
    this.#watch();
  }

  /** It is not started again. */
  stopRestarting(): void {
    this.#stopping = true;
    this.#timer?.cancel();
  }

  /** How the process that runs now, or ran last, ends. */
  get exited(): Promise<ProcessEnd> {
    return this.#exited;
  }

  kill(): void {
    this.#child?.kill("SIGKILL");
  }

  async #start(): Promise<void> {
    const { module, prepare, name } = this.#options;
    const child = fork(fileURLToPath(module), {
      serialization: "advanced",
      stdio: ["ignore", "pipe", "inherit", "ipc"],
    });
    this.#child = child;
    forwardWholeLines(child.stdout!, process.stdout);
    this.#exited = new Promise((resolve) => {
      // Comes after the last of what it has printed.
      child.once("close", (code, signal) => {
        if (this.#child === child) this.#child = undefined;
        resolve({ code, signal });
      });
      child.once("error", () => resolve({ code: null, signal: null }));
    });
    try {
      await prepare(child);
    } catch (error) {
      child.kill("SIGKILL");
      const end = await this.#exited;
      if (error instanceof StatusError) throw error;
      throw unavailable(`${name} could not be started (${describeEnd(end)}): ${errorMessage(error)}`);
    }
  }

  #watch(): void {
    const { logger, clock, name } = this.#options;
    const startedMs = clock.now();
    void this.#exited.then((end) => {
      if (this.#stopping) return;
      if (clock.now() - startedMs >= stableAfterMs) this.#ends = 0;
      const delayMs = this.#ends === 0 ? 0 : Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(this.#ends - 1, 20));
      this.#ends += 1;
      logger.error(`${name} has ended; it is started again`, { reason: describeEnd(end), restartInMs: delayMs });
      this.#restartAfter(delayMs);
    });
  }

  #restartAfter(delayMs: number): void {
    const { clock, logger, name } = this.#options;
    this.#timer = clock.setTimer(delayMs, () => {
      this.#start().then(
        () => this.#watch(),
        (error) => {
          if (this.#stopping) return;
          const nextMs = Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(this.#ends, 20));
          this.#ends += 1;
          logger.error(`${name} could not be started`, { reason: errorMessage(error), restartInMs: nextMs });
          this.#restartAfter(nextMs);
        },
      );
    });
  }
}

function describeEnd({ code, signal }: ProcessEnd): string {
  return signal === null ? `exit code ${code}` : signal;
}
