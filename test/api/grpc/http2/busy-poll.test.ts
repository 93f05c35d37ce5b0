import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BusyPoll } from "../../../../src/api/grpc/transport/http2/busy-poll.js";
import { FakeClock } from "../../../support/fake-clock.js";

/** A thread whose turns of the event loop are the test's. */
class Thread {
  readonly clock = new FakeClock();
  readonly #turns: (() => void)[] = [];
  readonly poll: BusyPoll;

  constructor(windowMicros: number) {
    this.poll = new BusyPoll(windowMicros, {
      clock: this.clock,
      nextTurn: (callback) => this.#turns.push(callback),
    });
  }

  get looking(): boolean {
    return this.#turns.length > 0;
  }

  turn(): void {
    for (const callback of this.#turns.splice(0)) callback();
  }

  /** Answers, and is asked again after so long. */
  exchange(gapMs: number): void {
    this.poll.answered();
    for (let waited = 0; waited < gapMs; waited += 0.01) {
      this.clock.advance(0.01);
      this.turn();
    }
    this.poll.received();
  }
}

describe("BusyPoll", () => {
  it("looks for the next request once requests have kept coming in time, and as long as they may", () => {
    const thread = new Thread(100);
    thread.poll.answered();
    assert.equal(thread.looking, false);
    thread.poll.received();
    for (let calls = 0; calls < 10; calls++) thread.exchange(0.05);
    thread.poll.answered();
    assert.equal(thread.looking, true);
    thread.clock.advance(0.09);
    thread.turn();
    assert.equal(thread.looking, true);
    thread.clock.advance(0.02);
    thread.turn();
    assert.equal(thread.looking, false);
  });

  it("sleeps at once again when they no longer come in time", () => {
    const thread = new Thread(100);
    for (let calls = 0; calls < 100; calls++) thread.exchange(0.05);
    for (let calls = 0; calls < 5; calls++) thread.exchange(3);
    thread.poll.answered();
    assert.equal(thread.looking, false);
  });

  it("sleeps when only every other one does", () => {
    const thread = new Thread(100);
    for (let calls = 0; calls < 100; calls++) thread.exchange(calls % 2 === 0 ? 0.05 : 3);
    thread.poll.answered();
    assert.equal(thread.looking, false);
  });

  it("never looks when it is told not to", () => {
    const thread = new Thread(0);
    for (let calls = 0; calls < 100; calls++) thread.exchange(0.05);
    thread.poll.answered();
    assert.equal(thread.looking, false);
  });

  it("ends by itself where no clock goes on", () => {
    const thread = new Thread(100);
    for (let calls = 0; calls < 20; calls++) thread.exchange(0.05);
    thread.poll.answered();
    let turns = 0;
    while (thread.looking && turns < 10_000) {
      thread.turn();
      turns += 1;
    }
    assert.equal(thread.looking, false);
  });
});
