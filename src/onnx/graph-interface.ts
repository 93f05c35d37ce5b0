// What a graph takes and gives: its inputs and outputs as tensor specs, or the reason why they cannot be served.
import type { GraphProto, TypeProto, TypeProto_Tensor, ValueInfoProto } from "../gen/onnx/onnx.js";
import { invalidArgument } from "../status.js";
import { type ElementType, elementTypeOfOnnx } from "../tensor/index.js";
import type { Dimension, TensorSpec } from "./signature.js";

export interface GraphInterface {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/** Throws INVALID_ARGUMENT naming the tensor when one cannot be fed or fetched as a tensor. */
export function readGraphInterface(graph: GraphProto): GraphInterface {
  // Files of IR version 3 and older list initializers among the inputs; newer ones may, to let a run override them.
  const initializers = new Set(graph.initializer.map((tensor) => tensor.name));
  for (const { values } of graph.sparseInitializer) initializers.add(values?.name ?? "");
  const inputs = graph.input.filter(({ name }) => !initializers.has(name));
  requireDistinctNames("input", graph.input);
  requireDistinctNames("output", graph.output);
  if (graph.output.length === 0) throw invalidArgument("the graph has no outputs");
  return {
    inputs: inputs.map((value) => tensorSpec("input", value)),
    outputs: graph.output.map((value) => tensorSpec("output", value)),
  };
}

type Role = "input" | "output";

function tensorSpec(role: Role, { name, type }: ValueInfoProto): TensorSpec {
  if (type?.value?.$case !== "tensorType") {
    throw invalidArgument(`${role} "${name}" is ${describeType(type)}; only tensors can be served`);
  }
  const { elemType, shape } = type.value.value;
  return {
    name,
    dtype: requireCarried(role, name, elemType),
    shape: shape === undefined ? undefined : dimensions(shape),
  };
}

function requireCarried(role: Role, name: string, onnxType: number): ElementType {
  const info = elementTypeOfOnnx(onnxType);
  if (info?.carried) return info.name;
  const type = info?.name ?? `ONNX type ${onnxType}`;
  throw invalidArgument(`${role} "${name}" has elements of ${type}, which onnxruntime-node does not carry`);
}

/** By name, the shapes of values that the graph declares: inputs, outputs, and what it notes between. */
export function declaredShapes(graph: GraphProto): Map<string, Dimension[]> {
  const shapes = new Map<string, Dimension[]>();
  for (const { name, type } of [...graph.output, ...graph.input, ...graph.valueInfo]) {
    if (type?.value?.$case !== "tensorType" || type.value.value.shape === undefined) continue;
    shapes.set(name, dimensions(type.value.value.shape));
  }
  return shapes;
}

/** The shape as the graph declares it. A size of -1, which some exporters write, is an open dimension. */
export function dimensions(shape: NonNullable<TypeProto_Tensor["shape"]>): Dimension[] {
  return shape.dim.map(({ value }) => {
    if (value === undefined) return undefined;
    if (value.$case === "dimParam") return value.value === "" ? undefined : value.value;
    return value.value < 0n ? undefined : Number(value.value);
  });
}

function requireDistinctNames(role: Role, values: readonly ValueInfoProto[]): void {
  const seen = new Set<string>();
  for (const { name } of values) {
    if (name === "") throw invalidArgument(`an ${role} of the graph has no name`);
    // onnxruntime-node keeps values in plain objects, where this one key would set the prototype.
    if (name === "__proto__") throw invalidArgument(`an ${role} of the graph is named "__proto__"`);
    if (seen.has(name)) throw invalidArgument(`the graph has two ${role}s named "${name}"`);
    seen.add(name);
  }
}

/** "a sequence of map(int64, float32)", in words for an error. */
function describeType(type: TypeProto | undefined): string {
  switch (type?.value?.$case) {
    case undefined:
      return "a value of no declared type";
    case "opaqueType":
      return "an opaque value";
    case "sparseTensorType":
      return "a sparse tensor";
    case "optionalType":
      return `an ${typeName(type!)}`;
    default:
      return `a ${typeName(type!)}`;
  }
}

function typeName(type: TypeProto): string {
  const element = (inner: TypeProto | undefined) => (inner === undefined ? "?" : typeName(inner));
  const dtype = (number: number) => elementTypeOfOnnx(number)?.name ?? String(number);
  switch (type.value?.$case) {
    case "tensorType":
      return `tensor(${dtype(type.value.value.elemType)})`;
    case "sequenceType":
      return `sequence(${element(type.value.value.elemType)})`;
    case "mapType":
      return `map(${dtype(type.value.value.keyType)}, ${element(type.value.value.valueType)})`;
    case "optionalType":
      return `optional(${element(type.value.value.elemType)})`;
    case "sparseTensorType":
      return `sparse_tensor(${dtype(type.value.value.elemType)})`;
    default:
      return "?";
  }
}
