import { FakeClock } from "./fake-clock.js";

/** A clock that moves on each time it is read: everything that is measured with it takes `tickMs`. */
export class TickingClock extends FakeClock {
  tickMs = 0;

  override now(): number {
    this.advance(this.tickMs);
    return super.now();
  }
}
