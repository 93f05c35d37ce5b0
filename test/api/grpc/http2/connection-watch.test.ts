import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type ConnectionSnapshot,
  ConnectionWatch,
  type WatchLimits,
} from "../../../../src/api/grpc/transport/http2/connection-watch.js";

const quiet: ConnectionSnapshot = {
  heard: false,
  calls: 0,
  framesReceived: 0,
  framesSent: 0,
  unfinished: undefined,
  takenBytes: 0,
  waitingBytes: 0,
  congested: false,
};
const limits: WatchLimits = {
  keepaliveTimeMs: 100_000,
  keepaliveTimeoutMs: 5000,
  maxConnectionAgeMs: 0,
  maxConnectionAgeGraceMs: 0,
  maxConnectionIdleMs: 0,
  handshakeTimeoutMs: 3000,
  responseStallTimeoutMs: 3000,
};

/** What is due second by second, as the connection looks then. */
function watch(given: Partial<WatchLimits>, snapshots: readonly Partial<ConnectionSnapshot>[]): string[] {
  const watching = new ConnectionWatch({ ...limits, ...given });
  return snapshots.map((each) =>
    watching
      .elapse(1000, { ...quiet, ...each })
      .map((action) => action.name)
      .join("+"),
  );
}

const times = <T>(count: number, each: T): T[] => Array.from({ length: count }, () => each);

describe("ConnectionWatch", () => {
  it("asks a quiet client for a sign of life, and gives it time", () => {
    const due = watch({ keepaliveTimeMs: 3000, keepaliveTimeoutMs: 2000 }, times(5, {}));
    assert.deepEqual(due, ["", "", "ping", "", "destroy"]);
  });

  it("takes anything for a sign of life", () => {
    const heard = [{}, {}, {}, { heard: true }, {}, {}, {}];
    const due = watch({ keepaliveTimeMs: 3000, keepaliveTimeoutMs: 2000 }, heard);
    assert.deepEqual(due, ["", "", "ping", "", "", "", "ping"]);
  });

  it("drains at the maximum age, ends calls after the grace, and cuts what is left", () => {
    const due = watch({ maxConnectionAgeMs: 2000, maxConnectionAgeGraceMs: 2000 }, times(6, { heard: true, calls: 1 }));
    assert.deepEqual(due, ["", "drain", "drain", "end-calls", "end-calls", "destroy"]);
  });

  it("drains at the maximum age and no more, when calls may take their time", () => {
    const due = watch({ maxConnectionAgeMs: 2000 }, times(60, { heard: true, calls: 1 }));
    assert.deepEqual(new Set(due.slice(1)), new Set(["drain"]));
  });

  it("drains an idle connection, not one that had calls between two looks", () => {
    assert.deepEqual(watch({ maxConnectionIdleMs: 2000 }, times(3, {})), ["", "", "drain"]);
    const busy = [1, 2, 3, 4, 5].map((framesReceived) => ({ framesReceived }));
    assert.deepEqual(watch({ maxConnectionIdleMs: 2000 }, busy), times(5, ""));
    assert.deepEqual(watch({ maxConnectionIdleMs: 2000 }, times(5, { calls: 1 })), times(5, ""));
  });

  it("fails a connection whose frame does not end, not one with another unfinished frame each time", () => {
    const unfinished = {};
    assert.deepEqual(watch({}, times(4, { heard: true, unfinished })), ["", "", "", "fail"]);
    const others = Array.from({ length: 6 }, () => ({ heard: true, unfinished: {} }));
    assert.deepEqual(watch({}, others), times(6, ""));
  });

  it("fails a connection whose socket takes nothing, not one that takes some", () => {
    assert.deepEqual(watch({}, times(4, { heard: true, waitingBytes: 9, takenBytes: 5 })), ["", "", "", "fail"]);
    const slow = [1, 2, 3, 4, 5, 6].map((takenBytes) => ({ heard: true, waitingBytes: 9, takenBytes }));
    assert.deepEqual(watch({}, slow), times(6, ""));
    assert.deepEqual(watch({}, times(6, { heard: true, takenBytes: 5 })), times(6, ""));
  });

  it("fails a congested connection that gets no windows, whatever else its client says", () => {
    const pinging = [1, 2, 3, 4].map((takenBytes) => ({ heard: true, congested: true, framesSent: 3, takenBytes }));
    assert.deepEqual(watch({}, pinging), ["", "", "", "fail"]);
    const moving = [1, 2, 3, 4, 5].map((framesSent) => ({ heard: true, congested: true, framesSent }));
    assert.deepEqual(watch({}, moving), times(5, ""));
  });
});
