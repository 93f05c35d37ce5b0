import { type Cancellation, CancellationSource } from "../../cancellation.js";
import { cancelled } from "../../status.js";
import type { LoadedServable } from "../lifecycle/loader.js";
import { CountedServableHandle, type Lender } from "../lifecycle/servable-handle.js";
import type { Servable, ServableHandle, ServableId } from "../servable.js";

/** A version in a replica, from the order to load it until its memory is given back. */
export class ReplicaVersion implements Lender {
  readonly id: ServableId;
  readonly #unwanted = new CancellationSource();
  readonly #loading: Promise<LoadedServable>;
  #servable: Servable | undefined;
  #handles = 0;
  #whenReturned: (() => void) | undefined;
  #released: Promise<void> | undefined;

  constructor(id: ServableId, load: (unwanted: Cancellation) => Promise<LoadedServable>) {
    this.id = id;
    this.#loading = load(this.#unwanted);
  }

  /** undefined: still loading. */
  get servable(): Servable | undefined {
    return this.#servable;
  }
  get openHandles(): number {
    return this.#handles;
  }

  /** Resolves when it can answer. */
  async loaded(cancellation: Cancellation): Promise<LoadedServable> {
    const undo = cancellation.onCancel((reason) => this.#unwanted.cancel(reason));
    try {
      const loaded = await this.#loading;
      this.#servable = loaded.servable;
      return loaded;
    } finally {
      undo();
    }
  }

  /** Only when it has been loaded. */
  acquire(): ServableHandle {
    this.#handles++;
    return new CountedServableHandle(this.#servable!, this);
  }

  handleReturned(): void {
    this.#handles--;
    if (this.#handles === 0) this.#whenReturned?.();
  }

  /** Resolves when the last handle is back and the session's memory is given back. Idempotent. */
  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  async #release(): Promise<void> {
    this.#unwanted.cancel(cancelled("Loading of servable cancelled"));
    let loaded: LoadedServable;
    try {
      loaded = await this.#loading;
    } catch {
      return; // whoever asked for the load has been told why
    }
    if (this.#handles > 0) {
      await new Promise<void>((resolve) => {
        this.#whenReturned = resolve;
      });
    }
    await loaded.servable.session.release();
  }
}
