import type { Cancellation } from "../../cancellation.js";
import { internal } from "../../status.js";
import type { FilesLook, LoadedServable, Loader } from "../lifecycle/loader.js";
import type { OnnxLoader } from "../lifecycle/onnx-loader.js";
import type { ServableId } from "../servable.js";
import type { ReplicaSet, ReplicatedVersion } from "./replica-set.js";

/** Loads a version in every replica, and nothing here: what it returns can be released, but not run. */
export class ReplicatedLoader implements Loader {
  readonly #id: ServableId;
  readonly #path: string;
  /** Looks at the files as whoever loads them does. */
  readonly #files: Pick<OnnxLoader, "look" | "filesAtRest" | "tritonConfig">;
  readonly #replicas: ReplicaSet;

  constructor(
    id: ServableId,
    path: string,
    files: Pick<OnnxLoader, "look" | "filesAtRest" | "tritonConfig">,
    replicas: ReplicaSet,
  ) {
    this.#id = id;
    this.#path = path;
    this.#files = files;
    this.#replicas = replicas;
  }

  look(): Promise<FilesLook> {
    return this.#files.look();
  }

  filesAtRest(cancellation: Cancellation): Promise<string> {
    return this.#files.filesAtRest(cancellation);
  }

  async load(cancellation: Cancellation): Promise<LoadedServable> {
    const replicas = this.#replicas;
    const version: ReplicatedVersion = {
      load: { key: replicas.nextKey(), id: this.#id, path: this.#path, tritonConfig: this.#files.tritonConfig },
      files: (await this.#files.look()).fingerprint,
      look: () => this.#files.look(),
      state: "loading",
    };
    try {
      const { placement, batching, ...loaded } = await replicas.load(version, cancellation);
      const session = {
        placement,
        run: () => Promise.reject(internal("this process runs no models")),
        load: () => ({ queued: 0, running: 0 }),
        release: () => replicas.unload(version),
      };
      return { servable: { id: this.#id, ...loaded, session }, batching, activate: () => replicas.activate(version) };
    } catch (error) {
      await replicas.unload(version);
      throw error;
    }
  }
}
