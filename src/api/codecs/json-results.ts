// The answers to REST classify and regress calls, laid out as TensorFlow Serving writes them.
import type { Classifications } from "../../serving/index.js";
import { longestFloat, writeFloat32 } from "./json-float.js";
import { encodeJsonString } from "./json-string.js";

/** How much is written before it is handed over. */
const pieceCharacters = 128 * 1024;

/** A list for each example, of [label, score] pairs. */
export function* writeClassifications({
  rows,
  columns,
  labels,
  scores,
}: Classifications): Generator<Buffer, undefined> {
  let text = '{\n    "results": [';
  for (let row = 0; row < rows; row++) {
    text += row === 0 ? "[" : ", [";
    for (let column = 0; column < columns; column++) {
      const index = row * columns + column;
      const label = encodeJsonString(labels?.[index] ?? "");
      text += `${column === 0 ? "" : ", "}[${label}, ${floatText(scores?.[index] ?? 0)}]`;
      if (text.length > pieceCharacters) {
        yield Buffer.from(text);
        text = "";
      }
    }
    text += "]";
  }
  yield Buffer.from(`${text}\n    ]\n}`);
}

/** A number for each example. */
export function* writeRegressions(values: Float32Array): Generator<Buffer, undefined> {
  let text = '{\n    "results": [';
  for (let i = 0; i < values.length; i++) {
    text += `${i === 0 ? "" : ", "}${floatText(values[i]!)}`;
    if (text.length > pieceCharacters) {
      yield Buffer.from(text);
      text = "";
    }
  }
  yield Buffer.from(`${text}]\n}`);
}

const scratch = Buffer.alloc(longestFloat);

function floatText(value: number): string {
  return scratch.toString("latin1", 0, writeFloat32(scratch, 0, value));
}
