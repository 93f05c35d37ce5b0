// Where sizes become values, and values sizes: how exporters write "as many rows as came in".

import { constantLayout } from "./constant.js";
import { batch, fixed, holdsBatchSize, laidOut, type Size } from "./layout.js";
import type { Operation, Rule } from "./operation.js";

// Longer lists are no shapes.
const maxElements = 256;

const shapeOf: Rule = (operation) => {
  const { shape } = operation.input(0);
  if (shape === undefined) return [fixed([undefined])];
  // Python's slice: from start to before end, both from the back when negative.
  const elements = shape.slice(operation.int("start", 0), operation.has("end") ? operation.int("end", 0) : undefined);
  return [fixed([elements.length], elements)];
};

const sizeOf: Rule = (operation) => {
  const { axis, shape } = operation.input(0);
  if (axis !== undefined) operation.refuse("counts the elements of the batch");
  const count = shape?.every((size) => typeof size === "number")
    ? shape.reduce((all, size) => all * size, 1)
    : undefined;
  return [fixed([], [count])];
};

const constant: Rule = (operation) => {
  const [value] = operation.node.attribute;
  if (value === undefined || operation.node.attribute.length !== 1) operation.refuse("has no value");
  return [constantLayout(value!)];
};

/** Filled with one value: each row is like the others. */
const constantOfShape: Rule = (operation) => {
  const shape = operation.fixedInput(0).elements;
  if (shape === undefined) return [fixed(undefined)];
  if (shape.includes(batch)) return [laidOut(operation, shape)];
  const value = operation.attribute("value")?.t;
  const elements = value === undefined ? undefined : constantLayout({ t: value }).elements;
  const [length] = shape;
  const short = shape.length === 1 && typeof length === "number" && length <= maxElements;
  if (short && elements?.length === 1) return [fixed(shape, new Array<Size>(length).fill(elements[0]))];
  return [fixed(shape)];
};

/** The value broadcast to the shape: a row for all, or each its own. */
const expand: Rule = (operation) => {
  const input = operation.input(0);
  if (holdsBatchSize(input)) operation.refuse("computes with the batch size");
  const target = operation.fixedInput(1).elements;
  if (target === undefined || input.shape === undefined) {
    if (input.axis !== undefined || holdsBatchSize(operation.input(1))) {
      operation.refuse("takes its new shape from values that are not known");
    }
    return [fixed(undefined)];
  }
  const rank = Math.max(target.length, input.shape.length);
  const at = (sizes: readonly Size[], i: number): Size =>
    i < rank - sizes.length ? 1 : sizes[i - (rank - sizes.length)];
  const shape = Array.from({ length: rank }, (_, i): Size => {
    const [own, wanted] = [at(input.shape!, i), at(target, i)];
    if (own === batch || wanted === batch) {
      const other = own === batch ? wanted : own;
      if (other !== 1 && other !== batch) operation.refuse("lines the batch axis up with another one");
      return batch;
    }
    if (own === 1 || own === wanted) return wanted;
    return wanted === 1 ? own : undefined;
  });
  return [laidOut(operation, shape)];
};

const range: Rule = (operation: Operation) => {
  if (operation.inputs.some(holdsBatchSize)) operation.refuse("counts the rows");
  operation.requireFixed(0, 1, 2);
  return [fixed([undefined])];
};

export const sizeRules: Readonly<Record<string, Rule>> = {
  Shape: shapeOf,
  Size: sizeOf,
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Expand: expand,
  Range: range,
};
