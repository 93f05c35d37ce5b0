// Tensors as the Open Inference Protocol's raw bytes, which gRPC and REST share.
import { internal, invalidArgument } from "../status.js";
import {
  bytesOf,
  decodeLengthPrefixed,
  elementCount,
  elementTypeInfo,
  elementTypeOfOpenInference,
  encodeLengthPrefixed,
  formatShape,
  isNumeric,
  type Tensor,
  viewAs,
} from "../tensor/index.js";

export function datatypeOf(name: string, { dtype }: Tensor): string {
  const datatype = elementTypeInfo(dtype).openInference;
  if (datatype === undefined) throw invalidArgument(`input "${name}": the protocol has no datatype for ${dtype}`);
  return datatype;
}

export function rawBytesOf(tensor: Tensor): Uint8Array {
  return isNumeric(tensor) ? bytesOf(tensor.data) : encodeLengthPrefixed(tensor.data as readonly string[]);
}

/** @throws INTERNAL when the server's answer does not add up */
export function tensorOfRawBytes(
  name: string,
  datatype: string,
  sizes: readonly (bigint | number)[],
  bytes: Uint8Array,
): Tensor {
  const { dtype, shape, count, bytesPerElement } = outputType(name, datatype, sizes);
  if (dtype === "string") {
    const elements = decodeLengthPrefixed(bytes, count);
    if (typeof elements === "string") throw internal(`output "${name}": ${elements}`);
    return { dtype, shape, data: elements.map((element) => Buffer.from(element).toString()) };
  }
  if (bytes.length !== count * bytesPerElement) {
    throw internal(`output "${name}": ${bytes.length} bytes for ${datatype} of shape ${formatShape(shape)}`);
  }
  return { dtype, shape, data: viewAs(dtype, bytes) };
}

/** Of elements one by one, as typed contents and JSON hold them. */
export function tensorOfElements(
  name: string,
  datatype: string,
  sizes: readonly (bigint | number)[],
  elements: readonly unknown[],
): Tensor {
  const { dtype, shape, count } = outputType(name, datatype, sizes);
  if (elements.length !== count) throw internal(`output "${name}": ${elements.length} elements for ${count}`);
  const { array } = elementTypeInfo(dtype);
  if (array === undefined) return { dtype, shape, data: elements as readonly string[] };
  const data = new array(count);
  const wide = dtype === "int64" || dtype === "uint64";
  for (let i = 0; i < count; i++) data[i] = (wide ? BigInt(elements[i] as number) : Number(elements[i])) as never;
  return { dtype, shape, data };
}

function outputType(name: string, datatype: string, sizes: readonly (bigint | number)[]) {
  const info = elementTypeOfOpenInference(datatype);
  const shape = sizes.map(Number);
  const count = elementCount(shape);
  if (info === undefined || count === undefined) {
    throw internal(`output "${name}" has datatype ${datatype} and shape ${formatShape(shape)}`);
  }
  return { dtype: info.name, shape, count, bytesPerElement: info.bytesPerElement };
}
