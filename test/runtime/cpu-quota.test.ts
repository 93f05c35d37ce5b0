import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { availableCpus, parseCfsQuota, parseCpuMax } from "../../src/runtime/cpu-quota.js";

describe("parseCpuMax", () => {
  for (const [text, cpus] of [
    ["max 100000\n", undefined],
    ["200000 100000\n", 2],
    ["150000 100000", 1.5],
    ["5000 10000\n", 0.5],
    ["400000", 4],
    ["", undefined],
    ["nonsense 100000", undefined],
    ["100000 0", undefined],
  ] as const) {
    it(`reads ${JSON.stringify(text)} as ${cpus ?? "no quota"}`, () => assert.equal(parseCpuMax(text), cpus));
  }
});

describe("parseCfsQuota", () => {
  for (const [quota, period, cpus] of [
    ["-1\n", "100000\n", undefined],
    ["250000\n", "100000\n", 2.5],
    ["0\n", "100000\n", undefined],
    ["", "", undefined],
  ] as const) {
    it(`reads ${JSON.stringify(quota)} of ${JSON.stringify(period)} as ${cpus ?? "no quota"}`, () =>
      assert.equal(parseCfsQuota(quota, period), cpus));
  }
});

describe("availableCpus", () => {
  const cpus = (files: Readonly<Record<string, string>>, parallelism = 16) =>
    availableCpus((path) => files[path], parallelism);

  it("is what the system says where there are no control groups", () => {
    assert.equal(cpus({}), 16);
    assert.equal(cpus({ "/proc/self/cgroup": "\n" }), 16);
  });

  it("is the quota of a version 2 group, rounded down, and at least one", () => {
    const group = (max: string) => ({ "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": max });
    assert.equal(cpus(group("max 100000\n")), 16);
    assert.equal(cpus(group("350000 100000\n")), 3);
    assert.equal(cpus(group("50000 100000\n")), 1);
    assert.equal(cpus(group("6400000 100000\n")), 16);
  });

  it("is the least of the quotas from the group up to the root", () => {
    const files = {
      "/proc/self/cgroup": "0::/system.slice/onnxd.service\n",
      "/sys/fs/cgroup/system.slice/onnxd.service/cpu.max": "800000 100000",
      "/sys/fs/cgroup/system.slice/cpu.max": "400000 100000",
      "/sys/fs/cgroup/cpu.max": "max 100000",
    };
    assert.equal(cpus(files), 4);
  });

  it("finds a container's own group at the mount point when the listed path is the host's", () => {
    const files = {
      "/proc/self/cgroup": "0::/kubepods/pod7/c0ffee\n",
      "/sys/fs/cgroup/cpu.max": "200000 100000",
    };
    assert.equal(cpus(files), 2);
  });

  it("is the quota of a version 1 group that controls cpu", () => {
    const files = {
      "/proc/self/cgroup": "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
      "/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "300000\n",
      "/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    };
    assert.equal(cpus(files), 3);
  });

  it("is at least one on this machine", () => assert.ok(availableCpus() >= 1));
});
