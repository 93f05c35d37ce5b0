import { setImmediate } from "node:timers/promises";

/** Lets the event loop turn until something has come true. What never does runs into the test's time limit. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await setImmediate();
}
