// Models that tests serve: each is small, and does one thing that a server has to cope with.
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type AttributeValue, encodeModel, floats, GraphBuilder } from "../../src/onnx/index.js";
import type { ElementType, Tensor } from "../../src/tensor/index.js";

export const floatTensor = (shape: readonly number[], ...values: number[]): Tensor => ({
  dtype: "float32",
  shape,
  data: Float32Array.from(values),
});
export const int64Tensor = (shape: readonly number[], ...values: number[]): Tensor => ({
  dtype: "int64",
  shape,
  data: BigInt64Array.from(values, BigInt),
});

/** The types that onnxruntime-node takes and returns. */
export const carriedTypes: readonly ElementType[] = [
  "float32",
  "float64",
  "float16",
  "int8",
  "int16",
  "int32",
  "int64",
  "uint8",
  "uint16",
  "uint32",
  "uint64",
  "bool",
  "string",
];

/** y = x for any type. */
export function identityModel(
  dtype: ElementType = "float32",
  shape: readonly (number | string | undefined)[] | "any rank" = ["batch"],
): Uint8Array {
  const declared = shape === "any rank" ? undefined : shape;
  const graph = new GraphBuilder(`identity_${dtype}`);
  graph.node("Identity", [graph.input("x", dtype, declared)], {}, { outputs: ["y"] });
  graph.output("y", dtype, declared);
  return encodeModel(graph);
}

/** y = factor x + offset on rows of `width` numbers: versions of it can be told apart. */
export function affineModel(factor: number, offset: number, width = 1): Uint8Array {
  const graph = new GraphBuilder("affine");
  const x = graph.input("x", "float32", ["batch", width]);
  const scaled = graph.node("Mul", [x, graph.initializer("factor", floatTensor([], factor))]);
  graph.node("Add", [scaled, graph.initializer("offset", floatTensor([], offset))], {}, { outputs: ["y"] });
  graph.output("y", "float32", ["batch", width]);
  return encodeModel(graph, { metadata: { factor: String(factor), offset: String(offset) } });
}

/** Inputs a and b (float, int64) of shape [batch, 2]; outputs sum, difference (float) and ids (int64). */
export function severalInputsModel(): Uint8Array {
  const graph = new GraphBuilder("several_inputs");
  const a = graph.input("a", "float32", ["batch", 2]);
  const b = graph.input("b", "float32", ["batch", 2]);
  const ids = graph.input("ids", "int64", ["batch"]);
  graph.node("Add", [a, b], {}, { outputs: ["sum"] });
  graph.node("Sub", [a, b], {}, { outputs: ["difference"] });
  graph.node("Identity", [ids], {}, { outputs: ["ids_out"] });
  graph.output("sum", "float32", ["batch", 2]);
  graph.output("difference", "float32", ["batch", 2]);
  graph.output("ids_out", "int64", ["batch"]);
  return encodeModel(graph);
}

/** total = the sum of all of x: a scalar, whatever the rows. */
export function scalarOutputModel(): Uint8Array {
  const graph = new GraphBuilder("scalar_output");
  graph.node("ReduceSum", [graph.input("x", "float32", ["batch"])], { keepdims: 0 }, { outputs: ["total"] });
  graph.output("total", "float32", []);
  return encodeModel(graph);
}

/** y = x, both of them with two open dimensions. */
export const dynamicShapesModel = (): Uint8Array => identityModel("float32", ["batch", "width"]);

/** y = x, with nothing said of its shape. */
export const unknownRankModel = (): Uint8Array => identityModel("float32", "any rank");

/**
 * y = x after some dead reckoning: each iteration multiplies two 256 x 256 matrices, about half a millisecond on one
 * core. With iterations "input", a scalar int64 input of that name says how many, so that one call can be slow and the
 * next one fast.
 */
export function slowModel(iterations: number | "input"): Uint8Array {
  const size = 256;
  const graph = new GraphBuilder("slow");
  const x = graph.input("x", "float32", ["batch"]);
  const trips =
    iterations === "input"
      ? graph.input("iterations", "int64", [])
      : graph.initializer("iterations", int64Tensor([], iterations));
  // Rows that sum to one keep the numbers in range however often they are multiplied.
  const weights = {
    dtype: "float32",
    shape: [size, size],
    data: new Float32Array(size * size).fill(1 / size),
  } as const;
  const matrix = graph.initializer("matrix", weights);

  const body = graph.subgraph("body");
  body.input("body/iteration", "int64", []);
  const goOn = body.input("body/go_on", "bool", []);
  const state = body.input("body/state", "float32", [size, size]);
  const next = body.node("Identity", [goOn]);
  const product = body.node("MatMul", [state, matrix]);
  body.output(next, "bool", []);
  body.output(product, "float32", [size, size]);

  const product0 = graph.node("Loop", [trips, "", matrix], { body });
  const sum = graph.node("ReduceSum", [product0], { keepdims: 0 });
  const zero = graph.node("Mul", [sum, graph.initializer("zero", floatTensor([], 0))]);
  graph.node("Add", [x, zero], {}, { outputs: ["y"] });
  graph.output("y", "float32", ["batch"]);
  return encodeModel(graph);
}

/** Looks up rows of a table of zeros: row (int64) of shape [batch] to y [batch, 1024]. The table is the file. */
export function bigModel(bytes: number): Uint8Array {
  const rows = Math.ceil(bytes / 4096);
  const graph = new GraphBuilder("big");
  graph.initializer("table", { dtype: "float32", shape: [rows, 1024], data: new Float32Array(rows * 1024) });
  return lookup(graph);
}

/** The same with its table in a file beside it, which takes no room on a disk that knows sparse files. */
export function writeBigExternalModel(folder: string, bytes: number): void {
  const rows = Math.ceil(bytes / 4096);
  const graph = new GraphBuilder("big_external");
  graph.externalInitializer("table", "float32", [rows, 1024], { location: "table.bin" });
  writeFileSync(join(folder, "table.bin"), "");
  truncateSync(join(folder, "table.bin"), rows * 4096);
  writeFileSync(join(folder, "model.onnx"), lookup(graph));
}

function lookup(graph: GraphBuilder): Uint8Array {
  graph.node("Gather", ["table", graph.input("row", "int64", ["batch"])], {}, { outputs: ["y"] });
  graph.output("y", "float32", ["batch", 1024]);
  return encodeModel(graph);
}

/** y = x + weights, with the weights in a file of the given name beside the model. */
export function writeExternalDataModel(folder: string, values: readonly number[], location = "weights.bin"): void {
  writeFileSync(join(folder, location), new Uint8Array(Float32Array.from(values).buffer));
  writeFileSync(join(folder, "model.onnx"), externalDataModel(values.length, { location }));
}

export function externalDataModel(
  width: number,
  entries: { readonly location: string; readonly offset?: string; readonly length?: string },
): Uint8Array {
  const graph = new GraphBuilder("external_data");
  const x = graph.input("x", "float32", ["batch", width]);
  graph.node("Add", [x, graph.externalInitializer("weights", "float32", [width], entries)], {}, { outputs: ["y"] });
  graph.output("y", "float32", ["batch", width]);
  return encodeModel(graph);
}

/** Loads well, and fails in a run unless x has six elements. */
export function failingModel(): Uint8Array {
  const graph = new GraphBuilder("failing");
  const x = graph.input("x", "float32", ["batch"]);
  graph.node("Reshape", [x, graph.initializer("shape", int64Tensor([2], 2, 3))], {}, { outputs: ["y"] });
  graph.output("y", "float32", [2, 3]);
  return encodeModel(graph);
}

/** Well-formed, and of an operator that no runtime has a kernel for. */
export function unknownOperatorModel(): Uint8Array {
  const graph = new GraphBuilder("unknown_operator");
  graph.node("Frobnicate", [graph.input("x", "float32", ["batch"])], {}, { outputs: ["y"] });
  graph.output("y", "float32", ["batch"]);
  return encodeModel(graph);
}

/** Two layers with weights from a fixed sequence, then Softmax: features of shape [batch, sizes[0]] to probabilities. */
export function mlpModel(sizes: readonly number[]): Uint8Array {
  const graph = new GraphBuilder("mlp");
  let value = graph.input("features", "float32", ["batch", sizes[0]!]);
  for (let layer = 1; layer < sizes.length; layer += 1) {
    const [rows, columns] = [sizes[layer - 1]!, sizes[layer]!];
    const weight = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i + layer) / Math.sqrt(rows));
    const product = graph.node("MatMul", [
      value,
      graph.initializer(`weight_${layer}`, { dtype: "float32", shape: [rows, columns], data: weight }),
    ]);
    const bias = Float32Array.from({ length: columns }, (_, i) => Math.cos(i) / 10);
    const sum = graph.node("Add", [
      product,
      graph.initializer(`bias_${layer}`, { dtype: "float32", shape: [columns], data: bias }),
    ]);
    value = layer < sizes.length - 1 ? graph.node("Relu", [sum]) : sum;
  }
  graph.node("Softmax", [value], { axis: -1 }, { outputs: ["probabilities"] });
  graph.output("probabilities", "float32", ["batch", sizes.at(-1)!]);
  return encodeModel(graph);
}

/** A classifier of two features as scikit-learn's converter ends it: label, and ZipMap's maps from label to score. */
export function zipMapModel({ labels }: { readonly labels: readonly number[] | readonly string[] }): Uint8Array {
  const graph = new GraphBuilder("zip_map");
  const x = graph.input("x", "float32", ["batch", 2]);
  const strings = typeof labels[0] === "string";
  const key = strings ? "classlabels_strings" : "classlabels_ints";
  const attributes: Record<string, AttributeValue> = {
    [key]: labels,
    coefficients: floats(labels.flatMap((_, i) => [Math.sin(i), Math.cos(i)])),
    intercepts: floats(labels.map((_, i) => i / 10)),
    multi_class: 1,
    post_transform: "SOFTMAX",
  };
  graph.node("LinearClassifier", [x], attributes, { domain: "ai.onnx.ml", outputs: ["label", "scores"] });
  const mapped = { [strings ? "classlabels_strings" : "classlabels_int64s"]: labels };
  graph.node("ZipMap", ["scores"], mapped, { domain: "ai.onnx.ml", name: "zip", outputs: ["probability"] });
  graph.output("label", strings ? "string" : "int64", ["batch"]);
  graph.outputOfType("probability", sequenceOfMaps(strings ? "string" : "int64"));
  return encodeModel(graph, { operatorSets: { "": 21, "ai.onnx.ml": 3 } });
}

type ValueType = Parameters<GraphBuilder["outputOfType"]>[1];

const tensorOf = (onnxType: number): ValueType => ({
  value: { $case: "tensorType", value: { elemType: onnxType, shape: undefined } },
  denotation: "",
});

function sequenceOfMaps(key: "int64" | "string"): ValueType {
  const map: ValueType = {
    value: { $case: "mapType", value: { keyType: key === "string" ? 8 : 7, valueType: tensorOf(1) } },
    denotation: "",
  };
  return { value: { $case: "sequenceType", value: { elemType: map } }, denotation: "" };
}
