import type { Clock, Timer } from "../../clock.js";

/** Deadlines within this many milliseconds of each other share a timer. */
const granularityMs = 10;

interface Slot {
  readonly timer: Timer;
  readonly callbacks: Set<() => void>;
}

/**
 * Timers for deadlines: up to 10 ms late, never early, and far cheaper than a timer each where thousands of calls a second
 * all set a deadline that hardly any of them reaches.
 */
export class DeadlineTimers {
  readonly #clock: Clock;
  readonly #slots = new Map<number, Slot>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls back once when that moment on the clock has come. Returns the undo. */
  set(deadlineMs: number, callback: () => void): () => void {
    const index = Math.ceil(deadlineMs / granularityMs);
    const slot = this.#slots.get(index) ?? this.#open(index);
    slot.callbacks.add(callback);
    return () => {
      if (slot.callbacks.delete(callback) && slot.callbacks.size === 0) this.#close(index, slot);
    };
  }

  #open(index: number): Slot {
    const delayMs = index * granularityMs - this.#clock.now();
    const slot: Slot = { timer: this.#clock.setTimer(delayMs, () => this.#fire(index, slot)), callbacks: new Set() };
    this.#slots.set(index, slot);
    return slot;
  }

  #fire(index: number, slot: Slot): void {
    this.#slots.delete(index);
    const callbacks = [...slot.callbacks];
    slot.callbacks.clear();
    for (const callback of callbacks) callback();
  }

  #close(index: number, slot: Slot): void {
    slot.timer.cancel();
    this.#slots.delete(index);
  }
}
