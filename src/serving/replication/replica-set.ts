// Every version that is served, in several processes at once. A version is loaded by all replicas before any answers with
// it, and answers in all of them before it is called AVAILABLE. A replica that comes late is brought to what the others
// have before it counts as one of them; one that ends is no longer waited for.
import { type Cancellation, neverCancelled } from "../../cancellation.js";
import { errorMessage, type StatusError, unavailable } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import type { FilesLook } from "../lifecycle/loader.js";
import type { FileSystemModelRepository } from "../model-repository.js";
import type { VersionStatus } from "../model-status.js";
import { formatServableId } from "../servable.js";
import type { ReplicaLink, ReplicaLoad, ReplicaLoaded, ReplicaNews, ToldStatus } from "./replica-link.js";

/** One attempt at a version, in all replicas. */
export interface ReplicatedVersion {
  readonly load: ReplicaLoad;
  /** The files' fingerprint when it was loaded: a replica that comes later must find the same. */
  readonly files: string;
  readonly look: () => Promise<FilesLook>;
  /** "active": every replica that is live answers with it. */
  state: "loading" | "active" | "gone";
}

interface Member {
  readonly link: ReplicaLink;
  state: "joining" | "live" | "gone";
  /** Loads it was told of, by key; what they came to. */
  readonly loads: Map<number, Promise<ReplicaLoaded>>;
  readonly active: Set<number>;
}

/** Versions that a replica that comes late loads at a time. */
const joiningLoads = 4;

export class ReplicaSet {
  readonly #logger: Logger;
  readonly #versions = new Set<ReplicatedVersion>();
  readonly #members = new Set<Member>();
  /** Called when a replica has come or gone. */
  #onMembership: (() => void)[] = [];
  #repository: FileSystemModelRepository | undefined;
  #toldModels: Extract<ReplicaNews, { readonly what: "models" }> | undefined;
  #lastKey = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  nextKey(): number {
    this.#lastKey += 1;
    return this.#lastKey;
  }

  /** Tells all replicas what becomes of the repository's models from now on. */
  follow(repository: FileSystemModelRepository): void {
    this.#repository = repository;
    repository.onStateChange((model, status) => this.#tell({ what: "version", model, status: toTold(status) }));
    repository.onChange(() => this.#tellModels());
  }

  /**
   * Brings a replica to the versions that are active. It is one of those that are waited for when this resolves.
   * @throws when it cannot be brought there while others can serve, or when it ends
   */
  async join(link: ReplicaLink): Promise<void> {
    const member: Member = { link, state: "joining", loads: new Map(), active: new Set() };
    this.#members.add(member);
    if (this.#toldModels !== undefined) link.tell(this.#toldModels);
    for (const { name, versions } of this.#repository?.listModels() ?? []) {
      for (const status of [...versions].reverse()) {
        link.tell({ what: "version", model: name, status: toTold(status) });
      }
    }
    const lost = new Set<ReplicatedVersion>();
    for (;;) {
      if (member.state === "gone") throw unavailable(`${link.name} has ended`);
      const lacking = [...this.#versions].filter(
        (version) => version.state === "active" && !member.active.has(version.load.key) && !lost.has(version),
      );
      if (lacking.length === 0) break;
      await Promise.all(lacking.slice(0, joiningLoads).map((version) => this.#catchUp(member, version, lost)));
    }
    member.state = "live";
    this.#membershipChanged();
  }

  /** The replica has ended. */
  leave(link: ReplicaLink): void {
    for (const member of this.#members) {
      if (member.link !== link) continue;
      member.state = "gone";
      this.#members.delete(member);
    }
    this.#membershipChanged();
  }

  /**
   * Loads a version in every replica: in one first, so that a model that ends its process ends one and not all.
   * @throws what a replica throws; UNAVAILABLE when the first ends meanwhile; the cancellation's reason
   */
  async load(version: ReplicatedVersion, cancellation: Cancellation): Promise<ReplicaLoaded> {
    this.#versions.add(version);
    let loaded: ReplicaLoaded | undefined;
    for (;;) {
      const lacking = this.#live().filter(({ loads }) => !loads.has(version.load.key));
      if (lacking.length > 0) {
        const each = loaded === undefined ? lacking.slice(0, 1) : lacking;
        const results = await Promise.all(each.map((member) => this.#loadOn(member, version, cancellation)));
        loaded ??= results[0];
        if (loaded !== undefined) continue;
        throw unavailable("the process that loaded it ended");
      }
      if (loaded !== undefined) return loaded;
      await this.#membershipChange(cancellation);
    }
  }

  /** Lets a version that has been loaded answer in every replica, and resolves when it does so in all. */
  async activate(version: ReplicatedVersion): Promise<void> {
    for (;;) {
      const lacking = this.#live().filter(({ active }) => !active.has(version.load.key));
      if (lacking.length === 0) break;
      await Promise.all(lacking.map((member) => this.#activateOn(member, version)));
    }
    version.state = "active";
  }

  /** Takes a version away from every replica, and resolves when the memory is given back in all. */
  async unload(version: ReplicatedVersion): Promise<void> {
    version.state = "gone";
    this.#versions.delete(version);
    await Promise.all([...this.#members].map((member) => this.#unloadOn(member, version)));
  }

  /** Resolves when every replica has taken in all that was sent before. */
  async caughtUp(): Promise<void> {
    await Promise.all([...this.#members].map(({ link }) => link.caughtUp().catch(ifEnded(link))));
  }

  #live(): Member[] {
    return [...this.#members].filter(({ state }) => state === "live");
  }

  /** undefined: the replica has ended. */
  async #loadOn(
    member: Member,
    version: ReplicatedVersion,
    cancellation: Cancellation,
  ): Promise<ReplicaLoaded | undefined> {
    const { link, loads } = member;
    const loading = link.load(version.load, cancellation);
    loads.set(version.load.key, loading);
    try {
      return await loading;
    } catch (error) {
      loads.delete(version.load.key);
      if (link.isEnd(error)) return undefined;
      throw error;
    }
  }

  async #activateOn(member: Member, version: ReplicatedVersion): Promise<void> {
    const { link, loads, active } = member;
    const { key } = version.load;
    if (!loads.has(key)) await this.#loadOn(member, version, neverCancelled);
    await link.activate(key).catch(ifEnded(link));
    active.add(key);
  }

  async #unloadOn({ link, loads, active }: Member, { load: { key } }: ReplicatedVersion): Promise<void> {
    if (!loads.has(key)) return;
    loads.delete(key);
    active.delete(key);
    await link.unload(key).catch(ifEnded(link));
  }

  /** For a replica that comes late, where files may have changed since the others loaded them. */
  async #catchUp(member: Member, version: ReplicatedVersion, lost: Set<ReplicatedVersion>): Promise<void> {
    const { id, path } = version.load;
    try {
      await this.#requireSameFiles(version);
      await this.#loadOn(member, version, neverCancelled);
      if (version.state === "gone") {
        await this.#unloadOn(member, version);
        return;
      }
      await this.#requireSameFiles(version);
      await this.#activateOn(member, version);
    } catch (error) {
      await this.#unloadOn(member, version);
      if (version.state === "gone") return;
      const reason = errorMessage(error);
      if (this.#live().length > 0) throw unavailable(`${formatServableId(id)} cannot be loaded again: ${reason}`);
      // Nobody has it any more. The other models are not to wait for it.
      this.#logger.error("a version is lost: no process has it, and it cannot be loaded again", {
        model: id.name,
        version: String(id.version),
        path,
        reason,
      });
      lost.add(version);
    }
  }

  async #requireSameFiles({ look, files, load: { path } }: ReplicatedVersion): Promise<void> {
    const { fingerprint } = await look();
    if (fingerprint !== files) throw unavailable(`${path} has changed since it was loaded`);
  }

  #tell(news: ReplicaNews): void {
    for (const { link } of this.#members) link.tell(news);
  }

  #tellModels(): void {
    const repository = this.#repository!;
    const { configured, verdicts } = repository.replicated();
    const settled = repository.settled();
    const told = this.#toldModels;
    const same =
      told !== undefined &&
      told.settled === settled &&
      told.configured === configured &&
      told.verdicts.size === verdicts.size &&
      [...verdicts].every(([name, verdict]) => told.verdicts.get(name) === verdict);
    if (same) return;
    this.#toldModels = { what: "models", configured, verdicts: new Map(verdicts), settled };
    this.#tell(this.#toldModels);
  }

  #membershipChanged(): void {
    for (const resolve of this.#onMembership.splice(0)) resolve();
  }

  #membershipChange(cancellation: Cancellation): Promise<void> {
    return new Promise((resolve, reject) => {
      const undo = cancellation.onCancel(reject);
      this.#onMembership.push(() => {
        undo();
        resolve();
      });
    });
  }
}

/** A replica that has ended has given everything back, and misses nothing. */
const ifEnded =
  (link: ReplicaLink) =>
  (error: unknown): void => {
    if (!link.isEnd(error)) throw error;
  };

function toTold({ error, lastFailure, loaded, ...status }: VersionStatus): ToldStatus {
  const told = (each: StatusError | undefined) => each && { code: each.code, message: each.message };
  // Spread, so that a placement that is read when asked for becomes a value.
  return { ...status, error: told(error), lastFailure: told(lastFailure), loaded: loaded && { ...loaded } };
}
