// What a loader needs of a Triton repository.
import { defaultSignatureKey, type ModelDescription, type Signature } from "../../onnx/index.js";
import { invalidArgument } from "../../status.js";
import { labelFiles, readLabels } from "./labels.js";
import { bindTritonModel, type TritonModel, type TritonPlan } from "./triton-model.js";

export interface TritonLoading {
  /** Reads how a model is to be served. @throws INVALID_ARGUMENT naming the field that cannot be honoured */
  plan(model: string, modelDirectory: string): Promise<TritonPlan>;
  /** Changes whenever a client sends a configuration in the place of the file; undefined: none was sent. */
  revision(model: string): string | undefined;
}

/** The one signature that the Open Inference Protocol shows: serving_default, or the only one there is. */
export function viewedSignature(signatures: ReadonlyMap<string, Signature>): Signature | undefined {
  return signatures.get(defaultSignatureKey) ?? (signatures.size === 1 ? [...signatures.values()][0] : undefined);
}

/** @throws INVALID_ARGUMENT when the configuration and the model file disagree, or a label file cannot be read */
export async function bindPlan(
  plan: TritonPlan,
  signatures: ReadonlyMap<string, Signature>,
  description: ModelDescription,
  modelDirectory: string,
): Promise<TritonModel> {
  const signature = viewedSignature(signatures);
  if (signature === undefined) {
    throw invalidArgument(`of the signatures ${[...signatures.keys()].join(", ")} none is ${defaultSignatureKey}`);
  }
  const labels = new Map<string, readonly string[]>();
  for (const file of labelFiles(plan.config)) labels.set(file, await readLabels(modelDirectory, file));
  return bindTritonModel(plan, signature, description, labels);
}
