// The books a connection keeps of its streams.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AbuseGuard } from "../../../../src/api/grpc/transport/http2/abuse-guard.js";
import { ClosedStreams } from "../../../../src/api/grpc/transport/http2/closed-streams.js";
import { Http2Stream } from "../../../../src/api/grpc/transport/http2/http2-stream.js";
import { ConnectionError, ErrorCode } from "../../../../src/api/grpc/transport/http2/protocol.js";
import { RequestBudget } from "../../../../src/api/grpc/transport/http2/request-budget.js";
import { StreamTable } from "../../../../src/api/grpc/transport/http2/stream-table.js";
import { SeededRandom } from "../../../support/seeded-random.js";

class QuietStream extends Http2Stream {
  constructor(id: number) {
    super(id, 0, 0, undefined);
  }
  data(): void {}
  requestEnded(): void {}
  lost(): void {}
  drained(): void {}
  resumed(): void {}
  fail(): void {}
}

describe("StreamTable", () => {
  it("holds what a map would, with streams of all lengths of life", () => {
    const random = new SeededRandom(1);
    const table = new StreamTable();
    const map = new Map<number, Http2Stream>();
    for (let id = 1; id < 40_000; id += 2) {
      const stream = new QuietStream(id);
      table.add(stream);
      map.set(id, stream);
      while (map.size > 0 && random.chance(map.size > 500 ? 1 : 0.5)) {
        const victim = random.chance(0.9) ? id - 2 * random.below(3) : random.pick([...map.keys()]);
        table.delete(victim);
        map.delete(victim);
        if (map.size <= 300) break;
      }
      assert.equal(table.size, map.size);
      const probe = 1 + 2 * random.below(id);
      assert.equal(table.get(probe), map.get(probe));
    }
    assert.deepEqual(
      table.all().map((stream) => stream.id),
      [...map.keys()].sort((a, b) => a - b),
    );
  });
});

describe("ClosedStreams", () => {
  it("remembers the last few hundred and how they ended", () => {
    const closed = new ClosedStreams();
    for (let id = 1; id < 2000; id += 2) closed.add(id, id % 3 === 0 ? "reset-by-us" : "ended");
    assert.equal(closed.endOf(1999), "ended");
    assert.equal(closed.endOf(1995), "reset-by-us");
    assert.equal(closed.endOf(1), undefined);
    assert.equal(closed.endOf(2001), undefined);
  });
});

describe("RequestBudget", () => {
  class Reserver {
    granted = false;
    reservationGranted(): void {
      this.granted = true;
    }
  }

  it("lets messages come while there is room, and the others in the order they asked", () => {
    const budget = new RequestBudget(100);
    const [a, b, c, d] = [new Reserver(), new Reserver(), new Reserver(), new Reserver()];
    assert.equal(budget.reserve(a, 60), true);
    assert.equal(budget.reserve(b, 60), false);
    assert.equal(budget.reserve(c, 10), false); // it would fit, but b was first
    assert.equal(budget.reserve(d, 50), false);
    budget.release(a);
    assert.deepEqual([b.granted, c.granted, d.granted], [true, true, false]);
    budget.release(c);
    assert.equal(d.granted, false);
    budget.release(b);
    assert.equal(d.granted, true);
  });

  it("lets a message larger than the budget come alone", () => {
    const budget = new RequestBudget(100);
    const [a, b] = [new Reserver(), new Reserver()];
    assert.equal(budget.reserve(a, 1000), true);
    assert.equal(budget.reserve(b, 1), false);
    budget.release(a);
    assert.equal(b.granted, true);
  });

  it("forgets a call that ended while it waited, and lets the next one in", () => {
    const budget = new RequestBudget(100);
    const [a, b, c] = [new Reserver(), new Reserver(), new Reserver()];
    budget.reserve(a, 90);
    budget.reserve(b, 90);
    budget.reserve(c, 10);
    budget.release(b);
    assert.deepEqual([b.granted, c.granted], [false, true]);
  });
});

describe("AbuseGuard", () => {
  const calm = (error: unknown) => error instanceof ConnectionError && error.code === ErrorCode.ENHANCE_YOUR_CALM;
  const limits = { maxResets: 10, maxIdleFrames: 10, abuseWindowMs: 1000 };

  it("bears resets up to its limit within a window", () => {
    const guard = new AbuseGuard(limits);
    for (let round = 0; round < 5; round++) {
      for (let reset = 0; reset < 10; reset++) guard.streamReset();
      guard.elapse(1000);
    }
    for (let reset = 0; reset < 10; reset++) guard.streamReset();
    assert.throws(() => guard.streamReset(), calm);
  });

  it("bears more resets of a client most of whose calls are answered", () => {
    const guard = new AbuseGuard(limits);
    for (let call = 0; call < 1000; call++) {
      guard.streamOpened();
      if (call % 2 === 1) guard.streamReset();
    }
    assert.throws(() => guard.streamReset(), calm);
  });

  it("counts idle frames only while no work is done", () => {
    const guard = new AbuseGuard(limits);
    for (let work = 0; work < 20; work++) for (let frame = 0; frame < 10; frame++) guard.idleFrame(work);
    assert.throws(() => guard.idleFrame(19), calm);
  });
});
