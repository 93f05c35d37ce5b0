// Calls and notices between two processes. What one side sends arrives in the order it was sent, connections included:
// whoever has an answer to a later call knows that everything before it has been taken in.
import type { ChildProcess } from "node:child_process";
import type { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { type Cancellation, CancellationSource, neverCancelled } from "../cancellation.js";
import { Code, cancelled, errorMessage, internal, StatusError } from "../status.js";
import type { Logger } from "../telemetry/index.js";

/** The end of node:child_process's channel that a child has as itself, and its parent as the child. */
export type ProcessPort = ChildProcess | NodeJS.Process;

export interface Arrival {
  /** Fires when the caller does not want the answer any more, or is gone. */
  readonly cancellation: Cancellation;
  /** The connection that came along; undefined also when it was closed on the way. */
  readonly socket: Socket | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: stands for a function of any one argument.
type AnyCall = (body: any) => any;

/** What one side offers the other: a function of one argument for each kind of call. Values are structured-cloned. */
export type Offer<T> = { readonly [K in keyof T]: AnyCall };

/** Answers to what is offered. */
export type Answers<T extends Offer<T>> = {
  readonly [K in keyof T]: (
    body: Parameters<T[K]>[0],
    arrival: Arrival,
  ) => ReturnType<T[K]> | Promise<Awaited<ReturnType<T[K]>>>;
};

type Message =
  | { readonly is: "call"; readonly id: number; readonly kind: string; readonly body: unknown }
  | { readonly is: "notice"; readonly kind: string; readonly body: unknown }
  | { readonly is: "cancel"; readonly id: number }
  | { readonly is: "answer"; readonly id: number; readonly body: unknown }
  | { readonly is: "error"; readonly id: number; readonly code: Code; readonly text: string };

interface Pending {
  readonly resolve: (body: never) => void;
  readonly reject: (error: StatusError) => void;
  readonly undo: () => void;
}

export interface ProcessChannelOptions {
  /** For errors: "the serving process 1". */
  readonly peerName: string;
  readonly logger: Logger;
  /** Called once, after everything pending has failed. */
  readonly onClosed: () => void;
}

/** `Theirs` is what the other side offers, `Ours` what it may ask of this one. */
export class ProcessChannel<Theirs extends Offer<Theirs>, Ours extends Offer<Ours>> {
  readonly #port: ProcessPort;
  readonly #answers: Answers<Ours>;
  readonly #options: ProcessChannelOptions;
  readonly #pending = new Map<number, Pending>();
  readonly #running = new Map<number, CancellationSource>();
  #lastId = 0;
  #closed = false;
  /** Of the connection that was sent last; the other side has its own when it has arrived. */
  #sentHandle: { close(): void } | undefined;

  constructor(port: ProcessPort, answers: Answers<Ours>, options: ProcessChannelOptions) {
    this.#port = port;
    this.#answers = answers;
    this.#options = options;
    const events: EventEmitter = port;
    events.on("message", (message: Message, handle: Socket | undefined) => this.#receive(message, handle));
    events.once("disconnect", () => this.#close());
    // Node says nothing of a disconnection when a child ends with a connection on its way; this comes after its exit.
    if (port !== process) events.once("close", () => this.#close());
  }

  /** @throws what the other side throws; UNAVAILABLE when it ends first; the cancellation's reason */
  call<K extends keyof Theirs & string>(
    kind: K,
    body: Parameters<Theirs[K]>[0],
    cancellation: Cancellation = neverCancelled,
  ): Promise<Awaited<ReturnType<Theirs[K]>>> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw this.#ended();
      const id = ++this.#lastId;
      const undo = cancellation.onCancel((reason) => {
        if (!this.#pending.delete(id)) return;
        this.#send({ is: "cancel", id });
        reject(reason);
      });
      this.#pending.set(id, { resolve, reject, undo });
      if (cancellation.reason === undefined) this.#send({ is: "call", id, kind, body });
      else {
        this.#pending.delete(id);
        reject(cancellation.reason);
      }
    });
  }

  /**
   * A call whose answer is of no interest; a connection may go along, and is no longer this process's then. The next may
   * go when the other side has told that this one has arrived.
   */
  notify<K extends keyof Theirs & string>(kind: K, body: Parameters<Theirs[K]>[0], socket?: Socket): void {
    this.#send({ is: "notice", kind, body }, socket);
  }

  #send(message: Message, socket?: Socket): void {
    // Whatever cannot be sent any more is answered by the channel's end.
    if (!this.#port.connected) {
      socket?.destroy();
      return;
    }
    // Node keeps it, out of the socket's reach, until the other side says that it has it, and for good when it ends first.
    if (socket !== undefined) this.#sentHandle = (socket as unknown as { _handle?: { close(): void } })._handle;
    this.#port.send!(message, socket, {}, () => {});
  }

  #receive(message: Message, socket: Socket | undefined): void {
    switch (message.is) {
      case "call":
        void this.#answer(message);
        return;
      case "notice":
        void this.#run(message.kind, message.body, { cancellation: neverCancelled, socket }).catch(() => {});
        return;
      case "cancel":
        this.#running.get(message.id)?.cancel(cancelled("the caller does not want it any more"));
        return;
      case "answer":
        this.#settle(message.id, (pending) => pending.resolve(message.body as never));
        return;
      case "error":
        this.#settle(message.id, (pending) => pending.reject(new StatusError(message.code, message.text)));
    }
  }

  async #answer({ id, kind, body }: Extract<Message, { readonly is: "call" }>): Promise<void> {
    const cancellation = new CancellationSource();
    this.#running.set(id, cancellation);
    try {
      this.#send({ is: "answer", id, body: await this.#run(kind, body, { cancellation, socket: undefined }) });
    } catch (thrown) {
      const { code, message: text } = thrown as StatusError;
      this.#send({ is: "error", id, code, text });
    } finally {
      this.#running.delete(id);
    }
  }

  /** Throws StatusErrors only: anything else is a defect, whose text is for the log. */
  async #run(kind: string, body: unknown, arrival: Arrival): Promise<unknown> {
    try {
      return await this.#answers[kind as keyof Ours](body as never, arrival);
    } catch (thrown) {
      if (thrown instanceof StatusError) throw thrown;
      const stack = thrown instanceof Error ? thrown.stack : errorMessage(thrown);
      this.#options.logger.error("internal error in a call between processes", { call: kind, stack });
      throw internal("internal error between the server's processes; see its log");
    }
  }

  #settle(id: number, settle: (pending: Pending) => void): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    pending.undo();
    settle(pending);
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#sentHandle?.close(); // does nothing to one that is closed
    for (const id of [...this.#pending.keys()]) this.#settle(id, ({ reject }) => reject(this.#ended()));
    for (const cancellation of this.#running.values()) cancellation.cancel(this.#ended());
    this.#options.onClosed();
  }

  #ended(): ProcessEnded {
    return new ProcessEnded(this.#options.peerName);
  }
}

/** UNAVAILABLE: the other side has ended before it answered. */
export class ProcessEnded extends StatusError {
  constructor(name: string) {
    super(Code.UNAVAILABLE, `${name} has ended`);
  }
}
