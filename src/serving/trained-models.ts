import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { failedPrecondition, invalidArgument } from "../status.js";
import { type ModelConfig, modelConfig } from "./model-config.js";

/**
 * Models that were published here under names that no configuration has: a folder a model, served whatever the
 * configuration says, unless it names them itself.
 */
export class TrainedModels {
  readonly #folder: string | undefined;
  readonly #names = new Set<string>();

  /** @param folder made where it is missing; undefined: there are none, and none can be published */
  constructor(folder: string | undefined) {
    this.#folder = folder;
    if (folder === undefined) return;
    mkdirSync(folder, { recursive: true });
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory() && isModelName(entry.name)) this.#names.add(entry.name);
    }
  }

  /** Those that a configuration does not name. */
  besides(configured: readonly ModelConfig[]): readonly ModelConfig[] {
    const named = new Set(configured.map(({ name }) => name));
    return [...this.#names]
      .filter((name) => !named.has(name))
      .map((name) => modelConfig({ name, basePath: this.basePath(name) }));
  }

  /** Where the versions of a model lie that no configuration names. */
  basePath(name: string): string {
    if (this.#folder === undefined) {
      throw failedPrecondition(
        `model ${name} is not configured, and there is no place for new models: start the server with --training_dir`,
      );
    }
    if (!isModelName(name)) {
      throw invalidArgument(
        `"${name}" cannot be a new model's name: it must be of letters, digits, ".", "_" and "-", begin with a letter or digit, and have at most 128 of them`,
      );
    }
    return join(this.#folder, name);
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  add(name: string): void {
    this.#names.add(name);
  }
}

/** Names that are folders of their own on every file system. */
const isModelName = (name: string): boolean => /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name);
