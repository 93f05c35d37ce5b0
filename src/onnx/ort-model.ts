import { invalidArgument } from "../status.js";
import { elementTypes } from "../tensor/index.js";
import type { ModelDescription } from "./model-description.js";
import type { TensorSpec } from "./signature.js";

/** What an onnxruntime session says of one of its inputs or outputs. */
export interface SessionValueMetadata {
  readonly name: string;
  readonly isTensor: boolean;
  readonly type?: string;
  readonly shape?: readonly (number | string)[];
}

/**
 * Describes a model in onnxruntime's format, which only a session can look into. Metadata, producer and operator sets
 * stay empty, since sessions do not tell them. Throws INVALID_ARGUMENT for values that cannot be served.
 */
export function describeOrtModel(
  sizeBytes: number,
  inputs: readonly SessionValueMetadata[],
  outputs: readonly SessionValueMetadata[],
): ModelDescription {
  return {
    inputs: inputs.map((value) => tensorSpec("input", value)),
    outputs: outputs.map((value) => tensorSpec("output", value)),
    metadata: new Map(),
    producer: "",
    operatorSets: [],
    rewrites: [],
    classLabels: new Map(),
    batching: { provenSafe: false, reason: "a model in onnxruntime's format keeps its graph to itself" },
    refusesEmptyTensors: "a graph in onnxruntime's format is not known to take tensors without elements",
    sizeBytes,
  };
}

function tensorSpec(role: string, { name, isTensor, type, shape = [] }: SessionValueMetadata): TensorSpec {
  if (!isTensor) throw invalidArgument(`${role} "${name}" is not a tensor; only tensors can be served`);
  const dtype = elementTypes.find((info) => info.name === type && info.carried)?.name;
  if (dtype === undefined) {
    throw invalidArgument(`${role} "${name}" has elements of ${type}, which onnxruntime-node does not carry`);
  }
  // A session gives [] both for a scalar and for a value of any rank, so [] tells nothing.
  if (shape.length === 0) return { name, dtype, shape: undefined };
  return { name, dtype, shape: shape.map((size) => (size === "" || size === -1 ? undefined : size)) };
}
