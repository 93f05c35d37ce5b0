// What the Open Inference Protocol's two doors say of models, in the words of ModelClient.
import { invalidArgument, notFound } from "../status.js";
import {
  defaultSignature,
  type ModelMetadata,
  type ModelSummary,
  type PredictOptions,
  record,
  type TensorDescription,
  type VersionOptions,
  type VersionStatus,
  versionNumber,
} from "./model-client.js";

export function metadataOfOpenInference(
  name: string,
  versions: readonly string[],
  inputs: readonly (readonly [string, TensorDescription])[],
  outputs: readonly (readonly [string, TensorDescription])[],
): ModelMetadata {
  let newest: bigint | undefined;
  for (const version of versions) {
    if (/^\d+$/.test(version) && (newest === undefined || BigInt(version) > newest)) newest = BigInt(version);
  }
  return {
    name,
    version: newest,
    signatures: record([[defaultSignature, { inputs: record(inputs), outputs: record(outputs) }]]),
  };
}

/** The index lists a version a line; here, as everywhere in this client, the newest version comes first. */
export function summariesOf(
  index: readonly {
    readonly name: string;
    readonly version?: string;
    readonly state?: string;
    readonly reason?: string;
  }[],
): readonly ModelSummary[] {
  const byName = new Map<string, ModelSummary & { versions: ModelSummary["versions"][number][] }>();
  for (const { name, version = "", state = "", reason = "" } of index) {
    const summary = byName.get(name) ?? { name, versions: [] };
    byName.set(name, summary);
    if (/^\d+$/.test(version)) summary.versions.push({ version: BigInt(version), state, error: reason, labels: [] });
  }
  for (const { versions } of byName.values()) versions.sort((a, b) => (a.version > b.version ? -1 : 1));
  return [...byName.values()];
}

/** @throws NOT_FOUND when the index does not have the model, or the version asked for */
export function statusOfModel(
  models: readonly ModelSummary[],
  model: string,
  options: VersionOptions,
): readonly VersionStatus[] {
  const found = models.find(({ name }) => name === model);
  if (found === undefined) throw notFound(`the server's index has no model "${model}"`);
  if (options.version === undefined) return found.versions;
  const wanted = versionNumber(options.version);
  const versions = found.versions.filter(({ version }) => version === wanted);
  if (versions.length === 0) throw notFound(`the server's index has no version ${wanted} of model "${model}"`);
  return versions;
}

/** "" stands for the newest that is ready. */
export function versionText(options: Pick<PredictOptions, "version" | "label" | "signature">): string {
  refuseLabel(options);
  return options.version === undefined ? "" : String(versionNumber(options.version));
}

export function refuseLabel(options: Pick<PredictOptions, "label" | "signature">): void {
  if (options.label !== undefined) throw invalidArgument("the Open Inference Protocol has no version labels");
  if (options.signature !== undefined && options.signature !== defaultSignature) {
    throw invalidArgument("the Open Inference Protocol has no signatures");
  }
}
