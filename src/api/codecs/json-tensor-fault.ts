// Why a value does not fit, in TensorFlow Serving's words. Only reached once a request has been found faulty, and in
// one pass over what is left of the value.
import { invalidArgument, type StatusError, unimplemented } from "../../status.js";
import { type ElementType, elementTypeInfo, formatShape } from "../../tensor/index.js";
import { base64Text, bytesOfBase64 } from "./json-base64.js";
import { describeJson, describeKind, endOfScalar, skipBlanks } from "./json-describe.js";
import { TensorFill } from "./json-tensor-fill.js";

/** What is wrong with the value that `fill` stopped in, taken for itself. */
export function faultOf(fill: TensorFill): StatusError {
  const { bytes, dims, level } = fill;
  // TensorFlow Serving compares a list's length before it looks at the elements, so the outermost wrong length wins.
  const sizes = sizesOfOpenLists(fill);
  for (let outer = 0; outer < level; outer += 1) {
    const expected = dims[outer]!;
    const size = sizes[outer]!;
    if (expected === -1 || expected === size) continue;
    return invalidArgument(
      `Encountered list at unexpected size: ${size} at level: ${outer} expected size: ${expected}`,
    );
  }
  const position = skipBlanks(bytes, fill.position);
  if (bytes[position] === 0x5b) {
    return invalidArgument(`Encountered list at unexpected level: ${level} expected < ${dims.length}`);
  }
  if (level !== dims.length) {
    return invalidArgument(
      `JSON Value: ${describeJson(bytes, position)} found at incorrect level: ${level + 1} in the JSON DOM. Expected at level: ${dims.length}`,
    );
  }
  return elementFault(bytes, position, fill.dtype);
}

/**
 * What is wrong with a row that does not fit the rows before it: with itself, or else with its shape.
 * @param first the fill that read the rows before
 * @param rowShape the shape those have
 */
export function rowFaultOf(first: TensorFill, rowStart: number, rowShape: readonly number[]): StatusError {
  const { bytes, dtype } = first;
  const row = new TensorFill(dtype, bytes, bytes.length, 0);
  row.begin(rowStart);
  if (row.run(Number.POSITIVE_INFINITY) === "misfit") return faultOf(row);
  const expected = rowShape.reduce((product, size) => product * size, 1);
  if (row.length !== expected) {
    return invalidArgument(`Expecting tensor size: ${expected} but got: ${row.length}`);
  }
  return invalidArgument(`Expecting shape ${formatShape(rowShape)} but got: ${formatShape(row.dims)}`);
}

/** What is wrong with one element. */
function elementFault(bytes: Buffer, start: number, dtype: ElementType): StatusError {
  const { tensorflowName } = elementTypeInfo(dtype);
  const value = `JSON Value: ${describeJson(bytes, start)}`;
  const isObject = bytes[start] === 0x7b;
  if (dtype === "string" && isObject) {
    const found = base64Text(bytes, start);
    if (found === undefined) return invalidArgument(`${value} not formatted correctly for base64 data`);
    if (bytesOfBase64(found.text) === undefined) return invalidArgument("Unable to base64 decode");
  }
  if (dtype === "string" && (isObject || bytes[start] === 0x22)) {
    return invalidArgument(
      `${value} cannot be an element of a string tensor: onnxruntime carries UTF-8 text without NUL characters only`,
    );
  }
  if (!isObject && !hasJsonForm(dtype)) {
    return unimplemented(`Conversion of ${value} to type: ${tensorflowName}`);
  }
  return invalidArgument(`${value} Type: ${describeKind(bytes, start)} is not of expected type: ${tensorflowName}`);
}

/** Whether elements of that type can be written in a JSON request. */
function hasJsonForm(dtype: ElementType): boolean {
  return dtype === "string" || (elementTypeInfo(dtype).array !== undefined && elementTypeInfo(dtype).carried);
}

/** How many elements each list has that was open where `fill` stopped, outermost first. */
function sizesOfOpenLists({ bytes, commas, level, position }: TensorFill): number[] {
  const counts = commas.slice(0, level);
  let at = position;
  /** Lists and objects open, those that began after `position` included. */
  let depth = level;
  while (depth > 0) {
    const byte = bytes[at]!;
    if (byte === 0x22) {
      at = endOfScalar(bytes, at);
      continue;
    }
    if (byte === 0x5b || byte === 0x7b) depth += 1;
    else if (byte === 0x5d || byte === 0x7d) depth -= 1;
    else if (byte === 0x2c && depth <= level) counts[depth - 1]! += 1;
    at += 1;
  }
  return counts.map((count) => count + 1);
}
