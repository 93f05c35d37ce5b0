import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DeadlineTimers } from "../../../src/api/grpc/deadline-timers.js";
import { FakeClock } from "../../support/fake-clock.js";

describe("DeadlineTimers", () => {
  it("fire never early and at most 10 ms late", () => {
    const clock = new FakeClock();
    const timers = new DeadlineTimers(clock);
    const start = clock.now();
    const late: number[] = [];
    for (let index = 0; index < 100; index++) {
      const deadlineMs = start + index * 7.3;
      timers.set(deadlineMs, () => late.push(clock.now() - deadlineMs));
    }
    clock.advance(2000);
    assert.equal(late.length, 100);
    assert.ok(Math.min(...late) >= 0 && Math.max(...late) <= 10, `${Math.min(...late)} to ${Math.max(...late)}`);
  });

  it("share one timer of the clock, and give it back with the last of them", () => {
    const clock = new FakeClock();
    const timers = new DeadlineTimers(clock);
    const undos = Array.from({ length: 1000 }, () => timers.set(clock.now() + 5000, () => assert.fail("undone")));
    assert.equal(clock.pending, 1);
    for (const undo of undos) undo();
    assert.equal(clock.pending, 0);
    for (const undo of undos) undo();
    clock.advance(10_000);
  });

  it("can be set again where others have fired or were undone", () => {
    const clock = new FakeClock();
    const timers = new DeadlineTimers(clock);
    const deadlineMs = clock.now() + 100;
    let fired = 0;
    const undo = timers.set(deadlineMs, () => assert.fail("undone"));
    undo();
    timers.set(deadlineMs, () => {
      fired += 1;
    });
    undo();
    clock.advance(200);
    assert.equal(fired, 1);
    timers.set(deadlineMs, () => {
      fired += 1;
    });
    clock.advance(1);
    assert.equal(fired, 2);
  });
});
