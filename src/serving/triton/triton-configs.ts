import { parseTritonConfigJson, readTritonConfig } from "./config-file.js";
import type { TritonConfig } from "./config-schema.js";
import type { TritonLoading } from "./loading.js";
import { planTritonModel, type TritonPlan } from "./triton-model.js";

/** The configurations of a repository's models: their files, and what clients have sent in their place. */
export class TritonConfigs implements TritonLoading {
  readonly #sent = new Map<string, string>();

  async read(model: string, modelDirectory: string): Promise<TritonConfig> {
    const sent = this.#sent.get(model);
    return sent === undefined ? await readTritonConfig(modelDirectory) : parseTritonConfigJson(sent);
  }

  async plan(model: string, modelDirectory: string): Promise<TritonPlan> {
    return planTritonModel(await this.read(model, modelDirectory), model);
  }

  revision(model: string): string | undefined {
    return this.#sent.get(model);
  }

  /** @param json undefined: the file counts again. Returns what counted before. */
  replace(model: string, json: string | undefined): string | undefined {
    const before = this.#sent.get(model);
    if (json === undefined) this.#sent.delete(model);
    else this.#sent.set(model, json);
    return before;
  }
}
