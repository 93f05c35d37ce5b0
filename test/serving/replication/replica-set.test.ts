import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { CancellationSource, neverCancelled } from "../../../src/cancellation.js";
import type { ReplicaLink, ReplicaLoad, ReplicaLoaded } from "../../../src/serving/index.js";
import { ReplicaSet } from "../../../src/serving/index.js";
import type { ReplicatedVersion } from "../../../src/serving/replication/replica-set.js";
import { cancelled, invalidArgument, type StatusError, unavailable } from "../../../src/status.js";
import { silentLogger } from "../../../src/telemetry/index.js";

const ended = unavailable("it has ended");

/** A replica whose loads come to an end when the test says so. */
class PuppetLink implements ReplicaLink {
  readonly log: string[] = [];
  readonly #loads = new Map<
    number,
    { resolve: (loaded: ReplicaLoaded) => void; reject: (error: StatusError) => void }
  >();

  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  load({ key }: ReplicaLoad): Promise<ReplicaLoaded> {
    this.log.push(`load ${key}`);
    return new Promise((resolve, reject) => this.#loads.set(key, { resolve, reject }));
  }
  async loads(key: number): Promise<void> {
    this.#loads.get(key)!.resolve({} as ReplicaLoaded);
    await settle();
  }
  async fails(key: number, error: StatusError): Promise<void> {
    this.#loads.get(key)!.reject(error);
    await settle();
  }
  async activate(key: number): Promise<void> {
    this.log.push(`activate ${key}`);
  }
  async unload(key: number): Promise<void> {
    this.log.push(`unload ${key}`);
  }
  tell(): void {}
  async caughtUp(): Promise<void> {}
  isEnd(error: unknown): boolean {
    return error === ended;
  }
}

const settle = async () => {
  for (let turn = 0; turn < 5; turn++) await setImmediate();
};

async function setOf(...names: string[]) {
  const replicas = new ReplicaSet(silentLogger);
  const links = names.map((name) => new PuppetLink(name));
  for (const link of links) await replicas.join(link);
  return { replicas, links };
}

let files = "files";
const version = (key: number): ReplicatedVersion => ({
  load: { key, id: { name: "m", version: BigInt(key) }, path: `/m/${key}`, tritonConfig: undefined },
  files: "files",
  look: async () => ({ fingerprint: files, atRest: true }),
  state: "loading",
});

/** What has become of a promise. */
function watched(promise: Promise<unknown>) {
  const seen = { state: "pending" as string };
  promise.then(
    () => (seen.state = "done"),
    (error) => (seen.state = error.message),
  );
  return seen;
}

describe("a set of replicas", () => {
  it("loads in one first, then in the others, and answers with none before all are loaded", async () => {
    const { replicas, links } = await setOf("a", "b", "c");
    const [a, b, c] = links as [PuppetLink, PuppetLink, PuppetLink];
    const one = version(1);
    const loaded = watched(replicas.load(one, neverCancelled));
    assert.deepEqual([a.log, b.log, c.log], [["load 1"], [], []]);
    await a.loads(1);
    await b.loads(1);
    assert.equal(loaded.state, "pending");
    await c.loads(1);
    assert.equal(loaded.state, "done");
    assert.ok(links.every(({ log }) => !log.includes("activate 1")));
    await replicas.activate(one);
    assert.ok(links.every(({ log }) => log.at(-1) === "activate 1"));
  });

  it("touches no other when the first ends over a model, or refuses it", async () => {
    for (const [error, expected] of [
      [ended, "the process that loaded it ended"],
      [invalidArgument("no model"), "no model"],
    ] as const) {
      const { replicas, links } = await setOf("a", "b");
      const loaded = watched(replicas.load(version(1), neverCancelled));
      await links[0]!.fails(1, error);
      assert.equal(loaded.state, expected);
      assert.deepEqual(links[1]!.log, []);
    }
  });

  it("does not wait for one that ends while it loads after the first", async () => {
    const { replicas, links } = await setOf("a", "b");
    const loaded = watched(replicas.load(version(1), neverCancelled));
    await links[0]!.loads(1);
    replicas.leave(links[1]!);
    await links[1]!.fails(1, ended);
    assert.equal(loaded.state, "done");
  });

  it("waits for a replica when there is none, until it is cancelled", async () => {
    const replicas = new ReplicaSet(silentLogger);
    const cancellation = new CancellationSource();
    const waiting = watched(replicas.load(version(1), cancellation));
    const late = new PuppetLink("late");
    const loaded = watched(replicas.load(version(2), neverCancelled));
    cancellation.cancel(cancelled("enough"));
    await replicas.join(late);
    await settle();
    await late.loads(2);
    assert.deepEqual([waiting.state, loaded.state], ["enough", "done"]);
  });

  it("brings a late one to what is active before it counts, and takes it into what is being loaded", async () => {
    const { replicas, links } = await setOf("a");
    const [a] = links as [PuppetLink];
    const [one, two] = [version(1), version(2)];
    void replicas.load(one, neverCancelled);
    await a.loads(1);
    await replicas.activate(one);
    const second = watched(replicas.load(two, neverCancelled));
    const late = new PuppetLink("late");
    const joined = watched(replicas.join(late));
    await settle();
    assert.deepEqual(late.log, ["load 1"]);
    await a.loads(2);
    assert.equal(second.state, "done", "what joins is not waited for");
    await late.loads(1);
    assert.deepEqual([joined.state, late.log], ["done", ["load 1", "activate 1"]]);
    const active = watched(replicas.activate(two));
    await settle();
    assert.deepEqual(late.log.at(-1), "load 2");
    assert.equal(active.state, "pending");
    await late.loads(2);
    assert.deepEqual([active.state, late.log.at(-1)], ["done", "activate 2"]);
  });

  it("refuses a late one that finds other files, but not when nobody else is left", async () => {
    const { replicas, links } = await setOf("a");
    const one = version(1);
    void replicas.load(one, neverCancelled);
    await links[0]!.loads(1);
    await replicas.activate(one);
    files = "others";
    try {
      await assert.rejects(replicas.join(new PuppetLink("late")), /cannot be loaded again: \/m\/1 has changed/);
      replicas.leave(links[0]!);
      await replicas.join(new PuppetLink("last"));
    } finally {
      files = "files";
    }
  });

  it("unloads where it was loaded, also where it was still loading", async () => {
    const { replicas, links } = await setOf("a", "b");
    const one = version(1);
    void replicas.load(one, neverCancelled).catch(() => {});
    await replicas.unload(one);
    assert.deepEqual(
      links.map(({ log }) => log),
      [["load 1", "unload 1"], []],
    );
  });
});
