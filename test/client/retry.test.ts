import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { backoffMs, defaultRetryPolicy, type RetryContext, withRetry } from "../../src/client/retry.js";
import { cancelled, invalidArgument, resourceExhausted, unavailable } from "../../src/status.js";
import { FakeClock } from "../support/fake-clock.js";
import { rejectsWith } from "../support/rejects-with.js";

function contextOf(clock: FakeClock, more: Partial<RetryContext> = {}): RetryContext {
  return {
    policy: defaultRetryPolicy,
    clock,
    random: () => 0.5,
    deadlineMs: clock.now() + 60_000,
    signal: undefined,
    ...more,
  };
}

/** Fails with each error in turn, then succeeds with the number of attempts. */
function failing(...errors: Error[]) {
  let attempts = 0;
  const attempt = async () => {
    attempts += 1;
    const error = errors.shift();
    if (error !== undefined) throw error;
    return attempts;
  };
  return { attempt, attempts: () => attempts };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("the wait before another attempt", () => {
  it("doubles up to a maximum, and is half chance", () => {
    const at = (attempt: number, random: number) => backoffMs(defaultRetryPolicy, attempt, () => random);
    assert.deepEqual(
      [1, 2, 3, 4].map((n) => at(n, 0)),
      [50, 100, 200, 400],
    );
    assert.deepEqual(
      [1, 2, 3, 4].map((n) => at(n, 0.5)),
      [75, 150, 300, 600],
    );
    assert.equal(at(50, 0), 2500);
  });
});

describe("a call", () => {
  it("is made again after UNAVAILABLE, each time later", async () => {
    const clock = new FakeClock();
    const { attempt, attempts } = failing(unavailable("a"), unavailable("b"));
    const result = withRetry(contextOf(clock), attempt);
    await turn();
    assert.equal(attempts(), 1);
    clock.advance(74);
    await turn();
    assert.equal(attempts(), 1);
    clock.advance(1);
    await turn();
    assert.equal(attempts(), 2);
    clock.advance(150);
    assert.equal(await result, 3);
    assert.equal(clock.pending, 0);
  });

  it("ends with the last error when the attempts are used up", async () => {
    const clock = new FakeClock();
    const { attempt, attempts } = failing(unavailable("first"), unavailable("second"));
    const result = withRetry(contextOf(clock, { policy: { ...defaultRetryPolicy, maxAttempts: 2 } }), attempt);
    const check = rejectsWith("UNAVAILABLE", /second/, () => result);
    await turn();
    clock.advance(1000);
    await check;
    assert.equal(attempts(), 2);
  });

  it("is not made again after what another attempt would not change", async () => {
    for (const error of [invalidArgument("no"), resourceExhausted("full"), new TypeError("defect")]) {
      const { attempt, attempts } = failing(error);
      await assert.rejects(withRetry(contextOf(new FakeClock()), attempt), error);
      assert.equal(attempts(), 1);
    }
  });

  it("is made again after CANCELLED that nobody here asked for, and not after one that somebody did", async () => {
    const clock = new FakeClock();
    const again = failing(cancelled("connection closed"));
    const result = withRetry(contextOf(clock), again.attempt);
    await turn();
    clock.advance(1000);
    assert.equal(await result, 2);
    const controller = new AbortController();
    const attempt = async () => {
      controller.abort();
      throw cancelled("by the caller");
    };
    await rejectsWith("CANCELLED", /by the caller/, () =>
      withRetry(contextOf(clock, { signal: controller.signal }), attempt),
    );
  });

  it("does not wait for an attempt that would begin after the deadline", async () => {
    const clock = new FakeClock();
    const { attempt, attempts } = failing(unavailable("down"));
    await rejectsWith("UNAVAILABLE", /down/, () =>
      withRetry(contextOf(clock, { deadlineMs: clock.now() + 75 }), attempt),
    );
    assert.equal(attempts(), 1);
    assert.equal(clock.pending, 0);
  });

  it("ends while it waits when its signal fires, and is never made when it has fired before", async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const { attempt, attempts } = failing(unavailable("down"));
    const result = withRetry(contextOf(clock, { signal: controller.signal }), attempt);
    const check = rejectsWith("CANCELLED", /signal/, () => result);
    await turn();
    controller.abort();
    await check;
    assert.equal(clock.pending, 0);
    await rejectsWith("CANCELLED", /signal/, () => withRetry(contextOf(clock, { signal: controller.signal }), attempt));
    assert.equal(attempts(), 1);
  });
});
