import type { Signature, TensorSpec } from "../onnx/index.js";
import { elementTypeInfo } from "../tensor/index.js";

/** Command lines that can be pasted and are answered. */
export interface ExampleRequests {
  readonly grpcurl: string;
  readonly curl: string;
}

/** A request with more elements is nothing one would paste. */
const maxElements = 16;

/**
 * A grpcurl and a curl line that call a signature with ones (or "a"), open dimensions being 1.
 * undefined when an input is too large to print, or of open rank.
 */
export function exampleRequests(model: string, signature: Signature, doors: ExampleDoors): ExampleRequests | undefined {
  const inputs = [...signature.inputs].map(([alias, spec]) => ({ alias, spec, shape: exampleShape(spec) }));
  if (inputs.length === 0) return undefined;
  let elements = 0;
  for (const { shape } of inputs) elements += shape?.reduce((count, size) => count * size, 1) ?? maxElements + 1;
  if (elements > maxElements) return undefined;

  const tensors = inputs.map(({ alias, spec, shape }) => `${JSON.stringify(alias)}: ${tensorProtoJson(spec, shape!)}`);
  const request = `{"model_spec": {"name": ${JSON.stringify(model)}}, "inputs": {${tensors.join(", ")}}}`;
  const values = inputs.map(({ alias, spec, shape }) => [alias, nested(shape!, exampleValue(spec))] as const);
  const column = `{"inputs": {${values.map(([alias, value]) => `${JSON.stringify(alias)}: ${value}`).join(", ")}}}`;
  // One input whose first dimension is the batch reads best in the row form of TensorFlow Serving's own examples.
  const row = inputs.length === 1 && inputs[0]!.shape!.length > 0 ? `{"instances": ${values[0]![1]}}` : column;
  return {
    grpcurl: `grpcurl -plaintext -d ${quote(request)} ${doors.grpcTarget} tensorflow.serving.PredictionService/Predict`,
    curl: `curl -X POST -H "Content-Type: application/json" -d ${quote(row)} ${doors.restUrl}/v1/models/${encodeURIComponent(model)}:predict`,
  };
}

export interface ExampleDoors {
  /** "localhost:8500". */
  readonly grpcTarget: string;
  /** "http://localhost:8501". */
  readonly restUrl: string;
}

function exampleShape(spec: TensorSpec): number[] | undefined {
  return spec.shape?.map((size) => (typeof size === "number" ? size : 1));
}

/** A literal that JSON, REST and grpcurl read alike. */
function exampleValue(spec: TensorSpec): string {
  switch (spec.dtype) {
    case "string":
      return '"a"';
    case "bool":
      return "true";
    case "float16":
    case "float32":
    case "float64":
      return "1.0";
    default:
      return "1";
  }
}

/** TensorProto's typed fields repeat their last value, so that one is enough. */
function tensorProtoJson(spec: TensorSpec, shape: readonly number[]): string {
  const dims = shape.map((size) => `{"size": ${size}}`).join(", ");
  const type = elementTypeInfo(spec.dtype);
  const [field, value] = typedField(spec);
  return `{"dtype": "DT_${type.tensorflowName.toUpperCase()}", "tensor_shape": {"dim": [${dims}]}, "${field}": [${value}]}`;
}

function typedField(spec: TensorSpec): readonly [string, string] {
  switch (spec.dtype) {
    case "float32":
      return ["float_val", "1"];
    case "float64":
      return ["double_val", "1"];
    case "float16":
      return ["half_val", "15360"]; // the bits of 1
    case "int64":
      return ["int64_val", "1"];
    case "uint32":
      return ["uint32_val", "1"];
    case "uint64":
      return ["uint64_val", "1"];
    case "bool":
      return ["bool_val", "true"];
    case "string":
      return ["string_val", '"YQ=="'];
    default:
      return ["int_val", "1"];
  }
}

function nested(shape: readonly number[], value: string): string {
  if (shape.length === 0) return value;
  const [size, ...rest] = shape;
  return `[${Array.from({ length: size! }, () => nested(rest, value)).join(", ")}]`;
}

/** For a POSIX shell. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
