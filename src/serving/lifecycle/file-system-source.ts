import { join } from "node:path";
import type { Clock, Timer } from "../../clock.js";
import { codeName } from "../../status.js";
import type { Logger } from "../../telemetry/index.js";
import { fileError } from "../file-error.js";
import { listVersions, type VersionEntry } from "../version-directory.js";
import type { AspiredVersion } from "./aspired-versions-manager.js";
import { chooseVersions, samePolicy, type VersionPolicy } from "./version-policy.js";

export interface ServableToMonitor {
  readonly name: string;
  readonly basePath: string;
  readonly versionPolicy: VersionPolicy;
}

export interface FileSystemSourceOptions {
  /** From one look to the next; 0: one look at each model; negative: none. */
  readonly pollWaitSeconds: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Takes what is wanted of a model, after every look. */
  readonly aspire: (name: string, versions: readonly AspiredVersion[]) => void;
  /** Takes why nothing can be served from where a model should lie, after `aspire`; "" when all is well. */
  readonly onVerdict: (name: string, sourceError: string) => void;
}

interface Monitored {
  readonly servable: ServableToMonitor;
  /** The look that is under way. */
  looking: Promise<void> | undefined;
  /** What was logged last, so that a lasting state is one line and not one a second. */
  lastComplaint: string;
}

/**
 * Looks into base paths for versions, again and again. Each model is looked at on its own: one whose directory is missing,
 * or whose file system hangs, holds back no other. (TensorFlow Serving stops a round at the first that is missing.)
 */
export class FileSystemSource {
  readonly #options: FileSystemSourceOptions;
  #monitored = new Map<string, Monitored>();
  #timer: Timer | undefined;
  #state: "idle" | "started" | "closed" = "idle";

  constructor(options: FileSystemSourceOptions) {
    this.#options = options;
  }

  /** Replaces the models. Those that are gone are un-aspired at once; new and changed ones are looked at at once. */
  setServables(servables: readonly ServableToMonitor[]): void {
    const before = this.#monitored;
    this.#monitored = new Map();
    const fresh: Monitored[] = [];
    for (const servable of servables) {
      const known = before.get(servable.name);
      const unchanged = known !== undefined && same(known.servable, servable);
      const monitored = unchanged ? known : { servable, looking: undefined, lastComplaint: "" };
      if (!unchanged) fresh.push(monitored);
      this.#monitored.set(servable.name, monitored);
    }
    for (const name of before.keys()) if (!this.#monitored.has(name)) this.#options.aspire(name, []);
    if (this.#state === "started" && this.#options.pollWaitSeconds >= 0)
      for (const each of fresh) void this.#look(each);
  }

  start(): void {
    this.#state = "started";
    if (this.#options.pollWaitSeconds >= 0) this.#tick();
  }

  /** One look at every model; joins looks that are under way. */
  async poll(): Promise<void> {
    await Promise.all([...this.#monitored.values()].map((monitored) => this.#look(monitored)));
  }

  /** One look at one model; joins the one that is under way. */
  async pollModel(name: string): Promise<void> {
    const monitored = this.#monitored.get(name);
    if (monitored !== undefined) await this.#look(monitored);
  }

  /** No more looks; what a look under way finds is dropped. What is loaded stays so. */
  close(): void {
    this.#state = "closed";
    this.#timer?.cancel();
    this.#monitored.clear();
  }

  #tick(): void {
    void this.poll();
    const { pollWaitSeconds, clock } = this.#options;
    if (pollWaitSeconds > 0) this.#timer = clock.setTimer(pollWaitSeconds * 1000, () => this.#tick());
  }

  #look(monitored: Monitored): Promise<void> {
    monitored.looking ??= this.#lookAt(monitored).finally(() => {
      monitored.looking = undefined;
    });
    return monitored.looking;
  }

  async #lookAt(monitored: Monitored): Promise<void> {
    const { name, basePath } = monitored.servable;
    let found: readonly VersionEntry[] | Error;
    try {
      found = await listVersions(basePath);
    } catch (error) {
      found = fileError(error);
    }
    // Meanwhile the model may have been dropped, or be looked for elsewhere.
    if (this.#monitored.get(name) !== monitored) return;
    const { versions, problem, warnings } = judge(monitored.servable, found);
    const complaint = [problem, ...warnings].filter((each) => each !== "").join("; ");
    if (complaint !== "" && complaint !== monitored.lastComplaint) {
      this.#options.logger.warn(complaint, { model: name, basePath });
    }
    monitored.lastComplaint = complaint;
    if (versions !== undefined) this.#options.aspire(name, versions);
    this.#options.onVerdict(name, problem);
  }
}

function same(a: ServableToMonitor, b: ServableToMonitor): boolean {
  return a.basePath === b.basePath && samePolicy(a.versionPolicy, b.versionPolicy);
}

interface Judgement {
  /** What to aspire to; undefined: leave everything as it is. */
  readonly versions: readonly AspiredVersion[] | undefined;
  readonly problem: string;
  readonly warnings: readonly string[];
}

function judge(servable: ServableToMonitor, found: readonly VersionEntry[] | Error): Judgement {
  const { name, basePath, versionPolicy } = servable;
  if (found instanceof Error) {
    const { code, message } = fileError(found);
    const problem = `Could not find base path ${basePath} for servable ${name} with error ${codeName(code)}: ${message}`;
    return { versions: undefined, problem, warnings: [] };
  }
  if (found.length === 0) {
    const problem =
      `No versions of servable ${name} found under base path ${basePath}. ` +
      "Did you forget to name your leaf directory as a number (eg. '/1/')?";
    return { versions: [], problem, warnings: [] };
  }
  const { chosen, warnings } = chooseVersions(versionPolicy, found);
  const versions = chosen.map((entry) => ({ version: entry.version, path: join(basePath, entry.name) }));
  if (versions.length > 0) return { versions, problem: "", warnings };
  const problem = `None of the versions under base path ${basePath} is one that the version policy of servable ${name} names`;
  return { versions, problem, warnings };
}
