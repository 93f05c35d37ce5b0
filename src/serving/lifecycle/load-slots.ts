import type { Cancellation } from "../../cancellation.js";

interface Waiting {
  readonly model: string;
  /** Hands the slot over. */
  grant(): void;
}

/**
 * How many loads may run at a time. Slots are given in the order they were asked for, but one model holds one slot at
 * most: however many versions of it wait, other models' turns come.
 */
export class LoadSlots {
  #free: number;
  readonly #loading = new Set<string>();
  #waiting: Waiting[] = [];

  constructor(slots: number) {
    this.#free = slots;
  }

  /**
   * @returns the way to give the slot back; to be called once
   * @throws the cancellation's reason, when it fires while waiting
   */
  acquire(model: string, cancellation: Cancellation): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        model,
        grant: () => {
          undo();
          resolve(() => this.#release(model));
        },
      };
      this.#waiting.push(waiting);
      const undo = cancellation.onCancel((reason) => {
        this.#waiting = this.#waiting.filter((each) => each !== waiting);
        reject(reason);
      });
      this.#grantNext();
    });
  }

  #release(model: string): void {
    this.#loading.delete(model);
    this.#free++;
    this.#grantNext();
  }

  #grantNext(): void {
    while (this.#free > 0) {
      const index = this.#waiting.findIndex(({ model }) => !this.#loading.has(model));
      if (index < 0) return;
      const [next] = this.#waiting.splice(index, 1);
      this.#free--;
      this.#loading.add(next!.model);
      next!.grant();
    }
  }
}
