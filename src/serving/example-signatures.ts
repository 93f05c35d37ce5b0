// Signatures that take tf.Examples: what clients see of them is TensorFlow's interface, what lies behind it is the graph's.
import {
  type ClassLabels,
  classifyMethodName,
  type Feature,
  type ModelDescription,
  regressMethodName,
  type Signature,
  type TensorSpec,
} from "../onnx/index.js";
import { invalidArgument } from "../status.js";

/** The aliases that TensorFlow's signatures of these methods have. */
export const examplesAlias = "inputs";
export const classesAlias = "classes";
export const scoresAlias = "scores";
export const regressionAlias = "outputs";

export const classifyKey = "classify";
export const regressKey = "regress";

/** The one input that clients see: serialized tf.Examples, one a row. */
const examplesSpec: TensorSpec = { name: examplesAlias, dtype: "string", shape: [undefined] };

/**
 * @param features the graph's inputs by the features' names
 * @param outputs the graph's by alias
 * @param classLabels makes the output `classes`
 * @throws INVALID_ARGUMENT naming the feature whose shape leaves open how an example's values fill it
 */
export function exampleSignature(
  { key, methodName, outputs }: Pick<Signature, "key" | "methodName" | "outputs">,
  features: ReadonlyMap<string, Feature>,
  classLabels: ClassLabels | undefined,
): Signature {
  for (const [name, { spec }] of features) {
    const fault = featureFault(spec);
    if (fault !== undefined) throw invalidArgument(`feature "${name}": input ${spec.name} ${fault}`);
  }
  const signature = { key, methodName, inputs: new Map([[examplesAlias, examplesSpec]]), outputs, features };
  if (classLabels === undefined) return signature;
  const classes: TensorSpec = { name: classesAlias, dtype: "string", shape: [undefined, classLabels.length] };
  return {
    ...signature,
    outputs: new Map([[classesAlias, classes], ...outputs]),
    classLabels: classLabels.map(String),
  };
}

/** Why an example's list of values cannot be laid out as a row of that input. */
export function featureFault({ shape }: TensorSpec): string | undefined {
  if (shape === undefined) return "has no declared rank; a feature needs one";
  if (shape.length === 0) return "is a scalar; a feature needs a first dimension for the batch";
  const open = shape.slice(1).filter((size) => typeof size !== "number").length;
  return open > 1 ? `has ${open} open dimensions behind the batch; a feature can have one` : undefined;
}

/**
 * What a model's own graph shows to be possible: `classify` for one whose scores have labels, `regress` for one with
 * nothing but a number a row. A model whose inputs are no features gets neither.
 */
export function recognizedSignatures(description: ModelDescription): Signature[] {
  const { inputs, outputs, classLabels } = description;
  const isBatched = ({ shape }: TensorSpec) => shape !== undefined && shape.length > 0 && typeof shape[0] !== "number";
  if (inputs.length === 0 || !inputs.every((spec) => isBatched(spec) && featureFault(spec) === undefined)) return [];
  const features = new Map(inputs.map((spec) => [spec.name, { spec, defaultValue: undefined }]));
  const scores = outputs.filter(({ name, dtype, shape }) => {
    return classLabels.has(name) && dtype === "float32" && (shape === undefined || shape.length === 2);
  });
  if (scores.length > 0) {
    // Of several heads, none is the one.
    if (scores.length > 1) return [];
    const labels = classLabels.get(scores[0]!.name)!;
    const signature = {
      key: classifyKey,
      methodName: classifyMethodName,
      outputs: new Map([[scoresAlias, scores[0]!]]),
    };
    return [exampleSignature(signature, features, labels)];
  }
  const [value, ...others] = outputs;
  if (value === undefined || others.length > 0 || value.dtype !== "float32" || !isBatched(value)) return [];
  const [, columns, ...more] = value.shape!;
  if (more.length > 0 || (value.shape!.length === 2 && columns !== 1)) return [];
  const signature = { key: regressKey, methodName: regressMethodName, outputs: new Map([[regressionAlias, value]]) };
  return [exampleSignature(signature, features, undefined)];
}
