import type { Cancellation } from "../../src/cancellation.js";
import type { ServableId } from "../../src/serving/index.js";
import type { FilesLook, LoadedServable, Loader } from "../../src/serving/lifecycle/loader.js";
import { servableOf } from "./servables.js";

interface Attempt {
  readonly cancellation: Cancellation;
  readonly resolve: (loaded: LoadedServable) => void;
  readonly reject: (error: unknown) => void;
}

/** A loader whose attempts end when a test says so. */
export class PuppetLoader implements Loader {
  readonly id: ServableId;
  readonly path: string;
  /** What the fingerprint is. */
  files = "as first copied";
  /** False: filesAtRest waits until restore() is called. */
  #atRest = true;
  #whenAtRest: (() => void)[] = [];
  readonly #attempts: Attempt[] = [];
  attemptsBegun = 0;
  /** Servables made and not released. */
  live = 0;
  releases = 0;

  constructor(id: ServableId, path: string) {
    this.id = id;
    this.path = path;
  }

  /** From now on the files change, until settle(). */
  unsettle(): void {
    this.#atRest = false;
  }
  settle(): void {
    this.#atRest = true;
    for (const resolve of this.#whenAtRest.splice(0)) resolve();
  }

  async filesAtRest(cancellation: Cancellation): Promise<string> {
    if (!this.#atRest) {
      await new Promise<void>((resolve, reject) => {
        this.#whenAtRest.push(resolve);
        cancellation.onCancel(reject);
      });
    }
    return this.files;
  }

  async look(): Promise<FilesLook> {
    return { fingerprint: this.files, atRest: this.#atRest };
  }

  load(cancellation: Cancellation): Promise<LoadedServable> {
    this.attemptsBegun++;
    return new Promise((resolve, reject) => this.#attempts.push({ cancellation, resolve, reject }));
  }

  get loading(): boolean {
    return this.#attempts.length > 0;
  }
  /** Whether the attempt under way has been told to stop. */
  get toldToStop(): boolean {
    return this.#attempts[0]?.cancellation.reason !== undefined;
  }

  succeed(): void {
    this.live++;
    const release = async () => {
      this.live--;
      this.releases++;
    };
    this.#attempts.shift()!.resolve({
      servable: servableOf(this.id, { release }),
      batching: { enabled: false, reason: "a test" },
    });
  }
  fail(error: unknown): void {
    this.#attempts.shift()!.reject(error);
  }
}
