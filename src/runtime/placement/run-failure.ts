import { Code } from "../../status.js";
import { RunError } from "../run-error.js";

const longestText = 2000;

/**
 * What the runtime complains of, as a status. Only words tell apart what the caller sent from what is wrong here, so
 * this reads words: those for shapes, types and positions mean the values; running out of memory is a limit.
 */
export function runFailure(model: string, text: string): RunError {
  const message = `model "${model}": ${text.trim().slice(0, longestText)}`;
  if (memory.test(text)) return new RunError(Code.RESOURCE_EXHAUSTED, message);
  if (values.test(text)) return new RunError(Code.INVALID_ARGUMENT, message);
  return new RunError(Code.INTERNAL, message);
}

const memory = /failed to allocate memory|bad_alloc|bad allocation|out of memory|not enough memory/i;
const values = new RegExp(
  [
    // Before the first node: the declared types, ranks and sizes.
    "got invalid dimensions",
    "invalid rank",
    "unexpected input data type",
    "not enough space: expected",
    "invalid feed input name",
    "missing input",
    // Inside nodes: broadcasting, reshaping, indexing, and what kernels call their arguments.
    "broadcast",
    "\\bshapes?\\b",
    "\\bdim(ension)?s?\\b",
    "\\branks?\\b",
    "mismatch",
    "out of (data )?bounds",
    "out of range",
    "must be within",
    "\\bindex(es)?\\b|\\bindices\\b",
    "invalid[ _]argument",
    "invalid value",
    "by zero",
    "negative",
    "overflow",
    "\\bsto(d|f|l|ll|ul|ull)\\b", // a Cast whose text is no number says no more than this
  ].join("|"),
  "i",
);
