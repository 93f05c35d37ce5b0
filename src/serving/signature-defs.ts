// How clients may call a model: from the graph alone, or from a signature_defs.pbtxt beside it.
import {
  classifyMethodName,
  type Dimension,
  defaultSignatureKey,
  type Feature,
  type ModelDescription,
  predictMethodName,
  regressMethodName,
  type Signature,
  type TensorSpec,
} from "../onnx/index.js";
import { invalidArgument, StatusError } from "../status.js";
import { elementTypeInfo, elementTypeOfTensorflow, formatShape, type Tensor } from "../tensor/index.js";
import {
  classesAlias,
  exampleSignature,
  examplesAlias,
  recognizedSignatures,
  scoresAlias,
} from "./example-signatures.js";
import { dataTypeType, tensorOf, tensorProtoType, tensorShapeType } from "./tensor-text.js";
import { readTextProtoFile } from "./text-proto/text-file.js";
import { mapOf, message, optional, readTextProto, singular, string, type TypeOf } from "./text-proto/text-schema.js";

/** In a version's directory: a tensorflow.serving.SignatureDefMap in text form. */
export const signatureDefsFileName = "signature_defs.pbtxt";

/**
 * What a model has without a file: `serving_default`, which names the graph's own tensors, and the signatures on tf.Examples
 * that its graph shows to be possible.
 */
export function defaultSignatures(description: ModelDescription): ReadonlyMap<string, Signature> {
  const { inputs, outputs } = description;
  const signature: Signature = {
    key: defaultSignatureKey,
    methodName: predictMethodName,
    inputs: new Map(inputs.map((spec) => [spec.name, spec])),
    outputs: new Map(outputs.map((spec) => [spec.name, spec])),
  };
  return new Map([signature, ...recognizedSignatures(description)].map((each) => [each.key, each]));
}

const tensorInfoType = message(
  "tensorflow.TensorInfo",
  {
    name: optional(string),
    coo_sparse: optional(
      message("tensorflow.TensorInfo.CooSparse", {
        values_tensor_name: singular(string),
        indices_tensor_name: singular(string),
        dense_shape_tensor_name: singular(string),
      }),
    ),
    dtype: singular(dataTypeType),
    tensor_shape: optional(tensorShapeType),
  },
  { encoding: ["name", "coo_sparse"] },
);
const signatureDefType = message("tensorflow.SignatureDef", {
  inputs: mapOf("tensorflow.SignatureDef.InputsEntry", string, tensorInfoType),
  outputs: mapOf("tensorflow.SignatureDef.OutputsEntry", string, tensorInfoType),
  method_name: singular(string),
  defaults: mapOf("tensorflow.SignatureDef.DefaultsEntry", string, tensorProtoType),
});
const signatureDefMapType = message("tensorflow.serving.SignatureDefMap", {
  signature_def: mapOf("tensorflow.serving.SignatureDefMap.SignatureDefEntry", string, signatureDefType),
});
type TensorInfo = TypeOf<typeof tensorInfoType>;
type SignatureDef = TypeOf<typeof signatureDefType>;
type SignatureDefMap = TypeOf<typeof signatureDefMapType>;

/**
 * Reads a version's file, before its graph is known. The file is the whole list: a `serving_default` that is to stay has
 * to be in it.
 * @returns undefined when there is none
 * @throws INVALID_ARGUMENT with line and column
 */
export async function readSignatureDefs(path: string): Promise<SignatureDefMap | undefined> {
  return readTextProtoFile(path, signatureDefMapType);
}
export function parseSignatureDefs(text: string, path: string): SignatureDefMap {
  return readTextProto(text, signatureDefMapType, path);
}

/**
 * The signatures that a file declares, held against the graph. Every input of the graph must be fed by every signature,
 * each by one alias; outputs may be left out, and go by several aliases. What the file says of a type or a shape must
 * agree with the graph; sizes that the graph leaves open may be fixed.
 * @param path for errors
 * @throws INVALID_ARGUMENT naming signature, alias, expected and got
 */
export function signaturesFromDefs(
  defs: SignatureDefMap,
  graph: ModelDescription,
  path: string,
): ReadonlyMap<string, Signature> {
  if (defs.signature_def.size === 0) throw invalidArgument(`${path} declares no signature`);
  const signatures = new Map<string, Signature>();
  for (const [key, def] of defs.signature_def) {
    try {
      signatures.set(key, toSignature(key, def, graph));
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      throw invalidArgument(`${path}: signature "${key}": ${error.message}`);
    }
  }
  return signatures;
}

function toSignature(key: string, def: SignatureDef, graph: ModelDescription): Signature {
  const inputs = bindAll("input", def.inputs, graph.inputs);
  const fed = new Map<string, string>();
  for (const [alias, { name }] of inputs) {
    const other = fed.get(name);
    if (other !== undefined) throw invalidArgument(`inputs "${other}" and "${alias}" both feed ${name}`);
    fed.set(name, alias);
  }
  const unfed = graph.inputs.filter(({ name }) => !fed.has(name)).map(({ name }) => name);
  if (unfed.length > 0) throw invalidArgument(`no input feeds ${unfed.join(", ")} of the graph`);
  if (def.outputs.size === 0) throw invalidArgument("it has no outputs");
  const methodName = def.method_name === "" ? predictMethodName : def.method_name;
  if (methodName === classifyMethodName || methodName === regressMethodName) {
    return toExampleSignature(key, methodName, def, inputs, graph);
  }
  const signature = { key, methodName, inputs, outputs: bindAll("output", def.outputs, graph.outputs) };
  return def.defaults.size === 0 ? signature : { ...signature, defaults: bindDefaults(def, inputs) };
}

/**
 * What the file calls inputs are features; one alone may go by TensorFlow's alias, and is then called as in the graph. An
 * output `classes` without a tensor's name stands for the labels that the model has for the scores.
 */
function toExampleSignature(
  key: string,
  methodName: string,
  def: SignatureDef,
  inputs: ReadonlyMap<string, TensorSpec>,
  graph: ModelDescription,
): Signature {
  const variable = new Set([...inputs].filter(([, spec]) => hasVariableLength(spec)).map(([alias]) => alias));
  const defaults = bindDefaults(def, inputs, (shape, alias) => (variable.has(alias) ? undefined : shape.slice(1)));
  const features = new Map<string, Feature>();
  for (const [alias, spec] of inputs) {
    const name = inputs.size === 1 && alias === examplesAlias ? spec.name : alias;
    const value = defaults.get(alias);
    features.set(
      name,
      variable.has(alias)
        ? { spec, defaultValue: undefined, padding: paddingOf(alias, spec, value) }
        : { spec, defaultValue: value },
    );
  }
  const infos = new Map(def.outputs);
  const takesLabels = infos.get(classesAlias)?.name === undefined && infos.delete(classesAlias);
  const outputs = bindAll("output", infos, graph.outputs);
  if (!takesLabels) return exampleSignature({ key, methodName, outputs }, features, undefined);
  const scores = outputs.get(scoresAlias)?.name;
  const labels = scores === undefined ? undefined : graph.classLabels.get(scores);
  if (labels === undefined) {
    throw invalidArgument(
      `output "${classesAlias}" names no tensor, and the model has no labels for output "${scoresAlias}" either`,
    );
  }
  return exampleSignature({ key, methodName, outputs }, features, labels);
}

/** What TensorFlow calls a variable-length feature: open behind the batch, and nowhere else. */
function hasVariableLength({ shape }: TensorSpec): boolean {
  if (shape === undefined || shape.length < 2) return false;
  return typeof shape[1] !== "number" && shape.slice(2).every((size) => typeof size === "number");
}

/** As in TensorFlow: the default, which must be one value, or else zero, or the empty text. */
function paddingOf(alias: string, { dtype }: TensorSpec, value: Tensor | undefined): Tensor {
  if (value === undefined) {
    const { array } = elementTypeInfo(dtype);
    return { dtype, shape: [1], data: array === undefined ? [""] : new array(1) };
  }
  if (value.data.length !== 1) {
    throw invalidArgument(
      `default "${alias}" has ${value.data.length} values; the feature has a variable length, and its default is the one ` +
        "value that shorter examples are padded with",
    );
  }
  return value;
}

/** In the graph's order, whatever the file's is. */
function bindAll(
  what: "input" | "output",
  infos: ReadonlyMap<string, TensorInfo>,
  graph: readonly TensorSpec[],
): ReadonlyMap<string, TensorSpec> {
  const bound = [...infos].map(([alias, info]) => {
    const spec = findTensor(what, alias, info, graph);
    return { alias, spec: narrow(`${what} "${alias}"`, spec, info), position: graph.indexOf(spec) };
  });
  bound.sort((a, b) => a.position - b.position);
  return new Map(bound.map(({ alias, spec }) => [alias, spec]));
}

function findTensor(what: string, alias: string, info: TensorInfo, graph: readonly TensorSpec[]): TensorSpec {
  if (info.coo_sparse !== undefined) throw invalidArgument(`${what} "${alias}": sparse tensors are not supported`);
  const name = info.name ?? "";
  // A name may itself end in ":0", so the graph's own spelling comes first.
  const spec =
    graph.find((each) => each.name === name) ??
    (name.endsWith(":0") ? graph.find((each) => each.name === name.slice(0, -2)) : undefined);
  if (spec === undefined) {
    const known = graph.map((each) => each.name).join(", ");
    throw invalidArgument(`${what} "${alias}": the graph has no ${what} "${name}"; it has ${known}`);
  }
  return spec;
}

function narrow(what: string, spec: TensorSpec, { dtype, tensor_shape: given }: TensorInfo): TensorSpec {
  if (dtype !== 0 && elementTypeOfTensorflow(dtype)?.name !== spec.dtype) {
    const got = elementTypeOfTensorflow(dtype)?.tensorflowName ?? `type ${dtype}`;
    throw invalidArgument(
      `${what}: ${spec.name} is ${elementTypeInfo(spec.dtype).tensorflowName} in the graph, not ${got}`,
    );
  }
  if (given === undefined || given.unknown_rank) return spec;
  const shape = given.dim.map(({ size, name }): Dimension => {
    if (size >= 0n) return Number(size);
    return name === "" ? undefined : name;
  });
  const declared = spec.shape;
  if (declared === undefined) return { ...spec, shape };
  const agree =
    shape.length === declared.length &&
    shape.every((size, axis) => {
      const own = declared[axis];
      return typeof size !== "number" || typeof own !== "number" || size === own;
    });
  if (!agree) {
    throw invalidArgument(
      `${what}: ${spec.name} has shape ${formatShape(declared)} in the graph, not ${formatShape(shape)}`,
    );
  }
  return {
    ...spec,
    shape: shape.map((size, axis) => {
      const own = declared[axis];
      return typeof size === "number" ? size : (own ?? size);
    }),
  };
}

/** @param shapeOf what of an input's shape a default value has; undefined: any */
function bindDefaults(
  def: SignatureDef,
  inputs: ReadonlyMap<string, TensorSpec>,
  shapeOf: (shape: readonly Dimension[], alias: string) => readonly Dimension[] | undefined = (shape) => shape,
): ReadonlyMap<string, Tensor> {
  const defaults = new Map<string, Tensor>();
  for (const [alias, proto] of def.defaults) {
    const spec = inputs.get(alias);
    if (spec === undefined) throw invalidArgument(`default "${alias}" is for no input of it`);
    const value = tensorOf(proto);
    if (value.dtype !== spec.dtype) {
      throw invalidArgument(`default "${alias}" is ${value.dtype}; the input is ${spec.dtype}`);
    }
    const shape = spec.shape && shapeOf(spec.shape, alias);
    const fits =
      shape === undefined ||
      (shape.length === value.shape.length &&
        shape.every((size, axis) => typeof size !== "number" || size === value.shape[axis]));
    if (!fits) {
      throw invalidArgument(
        `default "${alias}" has shape ${formatShape(value.shape)}; the input has ${formatShape(shape!)}`,
      );
    }
    defaults.set(alias, value);
  }
  return defaults;
}
