import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ServableState } from "../../../src/serving/index.js";
import { ServableStateMonitor } from "../../../src/serving/lifecycle/servable-state-monitor.js";
import { silentLogger } from "../../../src/telemetry/index.js";

const status = (version: bigint, state: ServableState) => ({
  version,
  state,
  error: undefined,
  loaded: undefined,
  path: `/m/${version}`,
});

describe("the servable state monitor", () => {
  it("lists versions from the largest to the smallest", () => {
    const monitor = new ServableStateMonitor(silentLogger);
    for (const version of [2n, 10n, 9n]) monitor.publish("m", status(version, "AVAILABLE"));
    assert.deepEqual(
      monitor.versions("m").map(({ version }) => version),
      [10n, 9n, 2n],
    );
    assert.deepEqual(monitor.versions("other"), []);
  });

  it("shows a change before it tells of it", () => {
    const monitor = new ServableStateMonitor(silentLogger);
    let seen: string | undefined;
    monitor.onStateChange((name, { version }) => {
      seen = monitor.version(name, version)?.state;
    });
    monitor.publish("m", status(1n, "LOADING"));
    assert.equal(seen, "LOADING");
  });

  it("tells nobody who has taken their wish back", () => {
    const monitor = new ServableStateMonitor(silentLogger);
    let calls = 0;
    const undo = monitor.onStateChange(() => calls++);
    monitor.publish("m", status(1n, "START"));
    undo();
    monitor.publish("m", status(1n, "LOADING"));
    assert.equal(calls, 1);
  });

  it("remembers the hundred versions of a model that ended last, and all that have not", () => {
    const monitor = new ServableStateMonitor(silentLogger);
    monitor.publish("m", status(0n, "AVAILABLE"));
    for (let version = 1n; version <= 150n; version++) {
      monitor.publish("m", status(version, "AVAILABLE"));
      monitor.publish("m", status(version, "END"));
    }
    const versions = monitor.versions("m").map(({ version }) => version);
    assert.equal(versions.length, 101);
    assert.equal(versions[0], 150n);
    assert.equal(versions[99], 51n);
    assert.equal(versions[100], 0n);
  });

  it("does not remember without end models of which nothing but ended versions is left", () => {
    const monitor = new ServableStateMonitor(silentLogger);
    monitor.publish("served", status(1n, "AVAILABLE"));
    for (let i = 0; i < 10_050; i++) monitor.publish(`gone-${i}`, status(1n, "END"));
    assert.equal([...monitor.names()].length, 10_001);
    assert.equal(monitor.version("served", 1n)!.state, "AVAILABLE");
    assert.equal(monitor.version("gone-0", 1n), undefined);
  });
});
