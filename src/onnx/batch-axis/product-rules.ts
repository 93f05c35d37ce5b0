// Sums of products. A row may be a row of the left factor or a column of the right, or each product may be of one row;
// it may never be summed over.
import { batch, broadcast, fixed, type Layout, laidOut, type Size } from "./layout.js";
import type { Operation, Rule } from "./operation.js";

const matMul: Rule = (operation) => [product(operation, operation.input(0), operation.input(1))];

/** NumPy's matmul: the last two axes are matrices, those before broadcast. */
function product(operation: Operation, left: Layout, right: Layout): Layout {
  if (left.axis === undefined && right.axis === undefined && (left.shape === undefined || right.shape === undefined)) {
    return fixed(undefined);
  }
  const unknown = () => operation.refuse("takes a value whose shape is not known");
  const a = left.shape ?? unknown();
  const b = right.shape ?? unknown();
  if (a.length === 0 || b.length === 0) operation.refuse("multiplies a scalar");
  // A vector is a matrix of one row on the left, of one column on the right; that axis is gone afterwards.
  const summed = [a.at(-1), b.length === 1 ? b[0] : b.at(-2)];
  if (summed.includes(batch)) operation.refuse("sums over the batch axis");
  const leading = [a.slice(0, -2), b.slice(0, -2)].map((shape) => laidOut(operation, shape));
  const rows = a.length === 1 ? [] : [a.at(-2)];
  const columns = b.length === 1 ? [] : [b.at(-1)];
  const shape = [...broadcast(operation, leading).shape!, ...rows, ...columns];
  return laidOut(operation, shape);
}

const gemm: Rule = (operation) => {
  const turned = (index: number, attribute: string): Layout => {
    const input = operation.input(index);
    if (operation.int(attribute, 0) === 0 || input.shape === undefined) return input;
    return laidOut(operation, input.shape.toReversed());
  };
  const result = product(operation, turned(0, "transA"), turned(1, "transB"));
  const bias = operation.optional(2);
  if (bias === undefined) return [result];
  const sum = broadcast(operation, [result, bias]);
  // The bias broadcasts to the product, never the other way round.
  if (sum.axis !== result.axis) operation.refuse("lines the batch axis up with another one");
  return [sum];
};

/** Zero points may be one for each row of a matrix. */
const matMulInteger: Rule = (operation) => {
  for (const index of [2, 3]) requireScalar(operation, index);
  return matMul(operation);
};

const qLinearMatMul: Rule = (operation) => {
  for (const index of [1, 2, 4, 5, 6, 7]) {
    // The right factor's may be one for each column, which are not rows as long as it is fixed.
    if (index === 4 || index === 5) operation.requireFixed(index);
    else requireScalar(operation, index);
  }
  if (operation.input(3).axis !== undefined) operation.refuse("takes its weights from the rows");
  return [product(operation, operation.input(0), operation.input(3))];
};

function requireScalar(operation: Operation, index: number): void {
  if (operation.optional(index) === undefined) return;
  const { shape } = operation.fixedInput(index);
  if (shape === undefined || shape.length > 1 || shape.some((size) => size !== 1)) {
    operation.refuse("scales each row differently");
  }
}

/** One letter an axis: the batch must have one letter, in every input that has the batch, and no fixed axis may have it. */
const einsum: Rule = (operation) => {
  const inputs = operation.inputs;
  const text = operation.text("equation", "").replaceAll(" ", "");
  const [terms = "", result = ""] = text.split("->");
  if (inputs.every(({ axis }) => axis === undefined)) return [fixed(undefined)];
  if (!text.includes("->") || text.includes(".")) operation.refuse("does not name all axes");
  const sizes = new Map<string, Size>();
  terms.split(",").forEach((term, i) => {
    const shape = operation.shape(i);
    if (term.length !== shape.length || new Set(term).size !== term.length) operation.refuse("takes a diagonal");
    shape.forEach((size, axis) => {
      const letter = term[axis]!;
      const other = sizes.get(letter);
      if (sizes.has(letter) && (other === batch) !== (size === batch)) {
        operation.refuse("lines the batch axis up with another one");
      }
      // One of several is enough to know a size; ones broadcast.
      if (!sizes.has(letter) || other === 1 || other === undefined) sizes.set(letter, size);
    });
  });
  const letters = [...sizes].filter(([, size]) => size === batch).map(([letter]) => letter);
  if (letters.length !== 1 || !result.includes(letters[0]!)) operation.refuse("sums over the batch axis");
  return [
    laidOut(
      operation,
      [...result].map((letter) => sizes.get(letter)),
    ),
  ];
};

export const productRules: Readonly<Record<string, Rule>> = {
  MatMul: matMul,
  Gemm: gemm,
  MatMulInteger: matMulInteger,
  QLinearMatMul: qLinearMatMul,
  Einsum: einsum,
};
