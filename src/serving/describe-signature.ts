import type { Signature, TensorSpec } from "../onnx/index.js";
import { elementTypeInfo } from "../tensor/index.js";

/** A signature as protobuf prints a SignatureDef for debugging: what TensorFlow Serving's errors end with. */
export function describeSignature({ inputs, outputs, methodName }: Signature): string {
  const lines = [...entries("inputs", inputs), ...entries("outputs", outputs)];
  if (methodName !== "") lines.push(`method_name: ${quoted(methodName)}`);
  return `${lines.join("\n")}\n`;
}

function* entries(field: string, specs: ReadonlyMap<string, TensorSpec>): Generator<string> {
  for (const [alias, { name, dtype, shape }] of specs) {
    yield `${field} {\n  key: ${quoted(alias)}\n  value {\n    name: ${quoted(name)}`;
    yield `    dtype: DT_${elementTypeInfo(dtype).tensorflowName.toUpperCase()}\n    tensor_shape {`;
    if (shape === undefined) yield "      unknown_rank: true";
    for (const size of shape ?? []) yield `      dim {\n        size: ${typeof size === "number" ? size : -1}\n      }`;
    yield "    }\n  }\n}";
  }
}

const quoted = (text: string) => JSON.stringify(text);
