// A worker thread as the serving thread sees it: its state, the runs it holds, and what they come to.
import { Worker } from "node:worker_threads";
import { errorMessage, StatusError, unavailable } from "../../status.js";
import type { Tensor } from "../../tensor/index.js";
import {
  Claim,
  claim,
  createClaims,
  type FromWorker,
  type JoinedMessage,
  type JoinMessage,
  type LoadedMessage,
  type LoadMessage,
  type ToWorker,
} from "./messages.js";
import { runFailure } from "./run-failure.js";
import { shipTensors } from "./tensor-transfer.js";

/** What is used of a node:worker_threads Worker. Tests put threads here that die when told to. */
export interface WorkerThread {
  readonly threadId: number;
  postMessage(message: ToWorker, transfer: ArrayBuffer[]): void;
  on(event: "message", listener: (message: FromWorker) => void): unknown;
  on(event: "error" | "messageerror", listener: (error: Error) => void): unknown;
  on(event: "exit", listener: (exitCode: number) => void): unknown;
}

/** Starts a thread that runs worker-main.ts. */
export type StartThread = () => WorkerThread;

// Without the process's own Node options: some of them, such as --input-type, keep a worker from starting.
export const startWorkerThread: StartThread = () =>
  new Worker(new URL("./worker-main.js", import.meta.url), { execArgv: [] });

/** A run as a worker holds it. */
export interface WorkerRun {
  readonly feeds: ReadonlyMap<string, Tensor>;
  readonly fetches: readonly string[];
  readonly feedsMayBeTaken: boolean;
  /** It is, or will be in a moment, what the worker does. Called before one of those below. */
  started(): void;
  succeeded(outputs: ReadonlyMap<string, Tensor>, computeMs: number): void;
  /** The runtime would not run it. */
  refused(error: StatusError): void;
  /** The worker died with it. */
  lost(error: StatusError): void;
}

export type WorkerState =
  | { readonly name: "starting"; readonly opened: Opened }
  | { readonly name: "ready"; readonly inFlight: InFlight[] }
  /** Told to release; what it holds is still run. */
  | { readonly name: "draining"; readonly inFlight: InFlight[] }
  | { readonly name: "exited"; readonly reason: StatusError };

interface Opened {
  resolve(message: LoadedMessage | JoinedMessage): void;
  reject(error: StatusError): void;
}

interface InFlight {
  readonly id: number;
  readonly run: WorkerRun;
  withdrawn: boolean;
}

export interface WorkerEvents {
  /** It holds one run less than before. */
  finished(worker: ModelWorker): void;
  /** It died, though nobody had told it to end. Its runs have failed. */
  died(worker: ModelWorker, reason: StatusError): void;
}

const ignored: WorkerEvents = { finished: () => {}, died: () => {} };

export class ModelWorker {
  readonly model: string;
  readonly threadId: number;
  /** Resolves when the thread has ended, however it did. */
  readonly exited: Promise<void>;
  /** Set by the pool that takes the worker in. */
  events: WorkerEvents = ignored;
  /** Runs that it has finished. */
  runs = 0;
  readonly #thread: WorkerThread;
  readonly #claims = createClaims();
  #state: WorkerState;
  #nextId = 0;
  #opening = true;
  #fault: Error | undefined;

  /** Throws UNAVAILABLE when the system gives no thread. */
  static load(model: string, startThread: StartThread, message: Omit<LoadMessage, "kind" | "claims">) {
    return ModelWorker.#open<LoadedMessage>(model, startThread, (claims) => ({ kind: "load", ...message, claims }));
  }

  static join(model: string, startThread: StartThread, message: Omit<JoinMessage, "kind" | "claims">) {
    return ModelWorker.#open<JoinedMessage>(model, startThread, (claims) => ({ kind: "join", ...message, claims }));
  }

  static #open<Reply extends LoadedMessage | JoinedMessage>(
    model: string,
    startThread: StartThread,
    message: (claims: LoadMessage["claims"]) => LoadMessage | JoinMessage,
  ): { readonly worker: ModelWorker; readonly opened: Promise<Reply> } {
    let opened: Opened;
    const promise = new Promise<LoadedMessage | JoinedMessage>((resolve, reject) => {
      opened = { resolve, reject };
    });
    let thread: WorkerThread;
    try {
      thread = startThread();
    } catch (error) {
      throw unavailable(`model "${model}": no worker thread could be started: ${errorMessage(error)}`);
    }
    const worker = new ModelWorker(model, thread, opened!);
    thread.postMessage(message(worker.#claims), []);
    return { worker, opened: promise as Promise<Reply> };
  }

  private constructor(model: string, thread: WorkerThread, opened: Opened) {
    this.model = model;
    this.threadId = thread.threadId;
    this.#thread = thread;
    this.#state = { name: "starting", opened };
    thread.on("message", (message) => this.#receive(message));
    thread.on("error", (error) => {
      this.#fault = error;
    });
    thread.on("messageerror", (error) => {
      // An answer that cannot be read: which one is not known, so none of this worker's can be trusted.
      this.#fault = error;
      this.#end(`sent an answer that cannot be read: ${errorMessage(error)}`);
      this.#thread.postMessage({ kind: "release" }, []);
    });
    this.exited = new Promise((resolve) => {
      thread.on("exit", (exitCode) => {
        this.#end(this.#fault === undefined ? `ended with exit code ${exitCode}` : describeFault(this.#fault));
        resolve();
      });
    });
  }

  get state(): WorkerState {
    return this.#state;
  }

  /** Whether it makes a session or runs one at this moment. */
  get busy(): boolean {
    return this.#state.name !== "exited" && (this.#opening || this.inFlight > 0);
  }

  /** Runs it holds, the one that runs included. */
  get inFlight(): number {
    return this.#state.name === "ready" || this.#state.name === "draining" ? this.#state.inFlight.length : 0;
  }

  /** Runs it holds that have not started and are still wanted. */
  get waiting(): number {
    if (this.#state.name !== "ready" && this.#state.name !== "draining") return 0;
    let waiting = 0;
    for (let i = 1; i < this.#state.inFlight.length; i++) if (!this.#state.inFlight[i]!.withdrawn) waiting += 1;
    return waiting;
  }

  /**
   * Hands it a run, to be started when those before are done. Only while it is ready, and holds fewer than maxInFlight.
   * Returns what withdraws the run: true when it had not started and never will.
   */
  send(run: WorkerRun): () => boolean {
    if (this.#state.name !== "ready") throw new Error(`a run was sent to a worker that is ${this.#state.name}`);
    const { inFlight } = this.#state;
    const id = this.#nextId++;
    const { tensors, transfer } = shipTensors(run.feeds, run.feedsMayBeTaken);
    Atomics.store(this.#claims, id % this.#claims.length, Claim.WAITING);
    this.#thread.postMessage({ kind: "run", id, feeds: tensors, fetches: run.fetches }, transfer);
    const entry: InFlight = { id, run, withdrawn: false };
    inFlight.push(entry);
    if (inFlight.length === 1) run.started();
    return () => {
      if (entry.withdrawn || !inFlight.includes(entry) || !claim(this.#claims, id, Claim.WITHDRAWN)) return false;
      entry.withdrawn = true;
      return true;
    };
  }

  /** Lets it finish what it holds, give its memory back and end. Idempotent. */
  retire(): Promise<void> {
    switch (this.#state.name) {
      case "starting":
        // Whoever waits for it has stopped; the message is read once the session is made, which cannot be interrupted.
        this.#state.opened.reject(unavailable(`model "${this.model}" was released while it was being loaded`));
        this.#become({ name: "draining", inFlight: [] });
        this.#thread.postMessage({ kind: "release" }, []);
        break;
      case "ready":
        this.#become({ name: "draining", inFlight: this.#state.inFlight });
        this.#thread.postMessage({ kind: "release" }, []);
    }
    return this.exited;
  }

  #receive(message: FromWorker): void {
    switch (message.kind) {
      case "loaded":
      case "joined":
        this.#opening = false;
        if (this.#state.name !== "starting") return; // retired in the meantime
        this.#state.opened.resolve(message);
        this.#become({ name: "ready", inFlight: [] });
        return;
      case "open-failed":
        this.#opening = false;
        if (this.#state.name !== "starting") return;
        this.#state.opened.reject(new StatusError(message.code, `model "${this.model}": ${message.message}`));
        this.#become({ name: "draining", inFlight: [] });
        return;
      case "ran":
        this.runs += 1;
        this.#finish(message.id, (run) => run.succeeded(message.outputs, message.computeMs));
        return;
      case "run-failed":
        this.runs += 1;
        this.#finish(message.id, (run) => run.refused(runFailure(this.model, message.text)));
        return;
      case "skipped":
        this.#finish(message.id, () => {});
    }
  }

  #finish(id: number, settle: (run: WorkerRun) => void): void {
    if (this.#state.name !== "ready" && this.#state.name !== "draining") return;
    const { inFlight } = this.#state;
    if (inFlight[0]?.id !== id) return; // a worker answers in order; anything else has been given up already
    const { run } = inFlight.shift()!;
    const next = inFlight[0];
    if (next !== undefined && !next.withdrawn) next.run.started();
    settle(run);
    this.events.finished(this);
  }

  #end(how: string): void {
    const state = this.#state;
    if (state.name === "exited") return;
    const reason = unavailable(`model "${this.model}": its worker thread ${how}`);
    this.#become({ name: "exited", reason });
    if (state.name === "starting") {
      state.opened.reject(reason);
      return;
    }
    for (const { run, withdrawn } of state.inFlight) if (!withdrawn) run.lost(reason);
    if (state.name === "ready") this.events.died(this, reason);
    else if (state.inFlight.length > 0) this.events.finished(this);
  }

  #become(next: WorkerState): void {
    this.#state = next;
  }
}

function describeFault(fault: Error): string {
  const code = (fault as NodeJS.ErrnoException).code;
  return `died: ${code === undefined ? "" : `${code}: `}${errorMessage(fault)}`;
}
