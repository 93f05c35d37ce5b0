// Operators that move elements without changing them. A row must stay whole, and stay where it is among the rows.
import {
  batch,
  differentProduct,
  fixed,
  holdsBatchSize,
  type Layout,
  laidOut,
  productSize,
  type Size,
  sameProduct,
} from "./layout.js";
import type { Operation, Rule } from "./operation.js";

/** Axes from an attribute, or, in newer operator sets, from an input. undefined: not given. */
function givenAxes(operation: Operation, input: number): readonly number[] | undefined {
  return operation.ints("axes") ?? operation.numbers(input);
}

const transpose: Rule = (operation) => {
  const { shape, axis } = operation.input(0);
  if (shape === undefined) return [fixed(undefined)];
  const order = operation.ints("perm") ?? shape.map((_, i) => shape.length - 1 - i);
  const moved = order.map((from) => shape[operation.axis(from, shape.length)]);
  return axis === undefined ? [fixed(moved)] : [laidOut(operation, moved)];
};

const reshape: Rule = (operation) => {
  const input = operation.input(0);
  const target = targetShape(operation, input);
  if (target === undefined) {
    if (input.axis !== undefined || holdsBatchSize(input))
      operation.refuse("takes its new shape from values that are not known");
    return [fixed(undefined)];
  }
  const shape = resolveOpenSize(operation, input, target);
  const axis = shape.indexOf(batch);
  if (input.axis === undefined) {
    if (axis >= 0) operation.refuse("computes with the batch size");
    return [{ ...fixed(shape), ...keptElements(operation, input, shape) }];
  }
  // Row-major order: the rows stay apart where as much lies before the batch axis as did.
  const before = input.shape!.slice(0, input.axis);
  if (axis < 0 || !sameProduct(shape.slice(0, axis), before)) operation.refuse("folds the batch axis");
  // A row of another length could only come of folding, which the runtime's own fusions have been seen to do.
  if (differentProduct(shape, input.shape!)) operation.refuse("makes rows of another length");
  return [laidOut(operation, shape)];
};

/** The new shape with zeros, "as it was", filled in; -1 is left. */
function targetShape(operation: Operation, input: Layout): readonly Size[] | undefined {
  const target = operation.ints("shape") ?? operation.fixedInput(1).elements;
  if (operation.int("allowzero", 0) !== 0) return target;
  return target?.map((size, i) => {
    if (size !== 0) return size;
    return input.shape === undefined ? undefined : input.shape[i];
  });
}

/** Finds what -1 stands for: the batch, when all other sizes hold as much as one row does. */
function resolveOpenSize(operation: Operation, { axis, shape }: Layout, target: readonly Size[]): readonly Size[] {
  const open = target.indexOf(-1);
  if (open < 0) return target;
  const others = target.toSpliced(open, 1);
  const opened = (size: Size) => target.with(open, size);
  if (shape === undefined) return opened(undefined);
  if (axis !== undefined && !others.includes(batch)) {
    if (sameProduct(others, shape.toSpliced(axis, 1))) return opened(batch);
    operation.refuse("folds the batch axis");
  }
  const whole = productSize(shape.filter((size) => size !== batch));
  const rest = productSize(others.filter((size) => size !== batch));
  const known = typeof whole === "number" && typeof rest === "number" && rest > 0 && whole % rest === 0;
  return opened(known ? whole / rest : undefined);
}

/** A list of sizes stays one while it has at most one axis. */
function keptElements(operation: Operation, input: Layout, shape: readonly Size[]): Pick<Layout, "elements" | "reals"> {
  if (shape.length <= 1) return { elements: input.elements, reals: input.reals };
  if (holdsBatchSize(input)) operation.refuse("computes with the batch size");
  return { elements: undefined, reals: undefined };
}

const flatten: Rule = (operation) => {
  const input = operation.input(0);
  if (input.shape === undefined) return [fixed([undefined, undefined])];
  const rank = input.shape.length;
  const given = operation.int("axis", 1);
  const cut = given === rank ? rank : operation.axis(given, rank);
  const parts = [input.shape.slice(0, cut), input.shape.slice(cut)];
  const shape = parts.map((part) => {
    const size = productSize(part);
    if (part.includes(batch) && size !== batch) operation.refuse("folds the batch axis");
    return size;
  });
  return [input.axis === undefined ? fixed(shape) : laidOut(operation, shape)];
};

const squeeze: Rule = (operation) => {
  const input = operation.input(0);
  const axes = givenAxes(operation, 1);
  if (axes === undefined) {
    // A batch of one would lose its axis.
    if (input.axis !== undefined) operation.refuse("squeezes whatever axes have one element");
    if (input.shape?.some((size) => typeof size !== "number") ?? true) return [fixed(undefined)];
  }
  if (input.shape === undefined) return [fixed(undefined)];
  const rank = input.shape.length;
  const removed = new Set(axes?.map((axis) => operation.axis(axis, rank)));
  if (input.axis !== undefined && removed.has(input.axis)) operation.refuse("squeezes the batch axis");
  const shape = input.shape.filter((size, i) => (axes === undefined ? size !== 1 : !removed.has(i)));
  if (input.axis === undefined) return [{ ...fixed(shape), ...keptElements(operation, input, shape) }];
  return [laidOut(operation, shape)];
};

const unsqueeze: Rule = (operation) => {
  const input = operation.input(0);
  const axes = givenAxes(operation, 1) ?? operation.refuse("has no axes");
  if (input.shape === undefined) return [fixed(undefined)];
  const rank = input.shape.length + axes.length;
  const added = new Set(axes.map((axis) => operation.axis(axis, rank)));
  if (added.size !== axes.length) operation.refuse("has an axis twice");
  const shape = [...input.shape];
  for (const axis of [...added].sort((a, b) => a - b)) shape.splice(axis, 0, 1);
  if (input.axis !== undefined) return [laidOut(operation, shape)];
  return [{ ...fixed(shape), ...keptElements(operation, input, shape) }];
};

const concat: Rule = (operation) => {
  const { inputs } = operation;
  if (inputs.every(({ axis }) => axis === undefined)) return [concatFixed(operation, inputs)];
  const shapes = inputs.map((_, i) => operation.shape(i));
  const [first] = shapes;
  const axis = operation.axis(operation.int("axis", 1), first!.length);
  const joined = shapes.map((shape) => shape[axis]);
  if (joined.includes(batch)) operation.refuse("joins values along the batch axis");
  const batchAxis = inputs.find((input) => input.axis !== undefined)!.axis!;
  if (shapes.some((shape) => shape.length !== first!.length || shape[batchAxis] !== batch)) {
    operation.refuse("lines the batch axis up with another one");
  }
  const numbers = joined.every((size) => typeof size === "number");
  const total = numbers ? joined.reduce((sum: number, size) => sum + size, 0) : undefined;
  const shape = first!.map((size, i) => (shapes.every((other) => other[i] === size) ? size : undefined));
  return [laidOut(operation, shape.with(axis, total))];
};

/** Shapes are put together this way: [batch] with [3, 4]. */
function concatFixed(operation: Operation, inputs: readonly Layout[]): Layout {
  const lists = inputs.map(({ elements, shape }) => (shape?.length === 1 ? elements : undefined));
  if (lists.every((list) => list !== undefined)) {
    const elements = lists.flat();
    return fixed([elements.length], elements);
  }
  if (inputs.some(holdsBatchSize)) {
    // Sizes that are not known are still the same in every batch, when it is known how many there are.
    const counts = inputs.map(({ shape }) => (shape?.length === 1 ? shape[0] : undefined));
    if (!counts.every((count) => typeof count === "number")) operation.refuse("computes with the batch size");
    const elements = lists.flatMap((list, i) => list ?? new Array<Size>(counts[i] as number).fill(undefined));
    return fixed([elements.length], elements);
  }
  const shapes = inputs.map(({ shape }) => shape);
  if (!shapes.every((shape) => shape !== undefined)) return fixed(undefined);
  const [first] = shapes;
  const axis = operation.axis(operation.int("axis", 1), first!.length);
  const sizes = shapes.map((shape) => shape[axis]);
  const total = sizes.every((size) => typeof size === "number")
    ? sizes.reduce((sum, size) => sum + size, 0)
    : undefined;
  return fixed(first!.with(axis, total));
}

const split: Rule = (operation) => {
  const input = operation.input(0);
  const count = operation.node.output.length;
  if (input.shape === undefined) return new Array<Layout>(count).fill(fixed(undefined));
  const axis = operation.axis(operation.int("axis", 0), input.shape.length);
  if (axis === input.axis) operation.refuse("splits the batch axis");
  const sizes =
    operation.ints("split") ?? (input.axis === undefined ? operation.optional(1)?.elements : operation.numbers(1));
  const whole = input.shape[axis];
  const even = typeof whole === "number" && whole % count === 0 ? whole / count : undefined;
  return Array.from({ length: count }, (_, i) => {
    const size = sizes === undefined ? even : sizes[i];
    return laidOut(operation, input.shape!.with(axis, size));
  });
};

// Ends such as these mean "to the last", whatever the size.
const beyondAnySize = 2 ** 31 - 1;

const slice: Rule = (operation) => {
  const input = operation.input(0);
  operation.requireFixed(1, 2, 3, 4);
  if (input.shape === undefined) return [fixed(undefined)];
  const unknown = () => operation.refuse("takes its bounds from values that are not known");
  const starts = operation.ints("starts") ?? operation.input(1).elements ?? unknown();
  const ends = operation.ints("ends") ?? operation.input(2).elements ?? unknown();
  if ([...starts, ...ends].includes(batch)) operation.refuse("computes with the batch size");
  const axes = givenAxes(operation, 3) ?? starts.map((_, i) => i);
  const steps = operation.numbers(4) ?? starts.map(() => 1);
  let { shape, elements } = input;
  axes.forEach((given, i) => {
    const axis = operation.axis(given, shape!.length);
    const [start, end, step] = [starts[i], ends[i], steps[i]];
    if (start === 0 && step === 1 && typeof end === "number" && end >= beyondAnySize) return;
    if (axis === input.axis) operation.refuse("slices the batch axis");
    const size = shape![axis];
    const known = typeof size === "number" && typeof start === "number" && typeof end === "number";
    const kept = known ? sliceIndexes(size, start, end, step ?? 1) : undefined;
    if (kept === undefined && elements?.includes(batch)) operation.refuse("computes with the batch size");
    elements = kept === undefined ? undefined : elements && kept.map((index) => elements![index]);
    shape = shape!.with(axis, kept?.length);
  });
  return [input.axis === undefined ? fixed(shape, elements) : laidOut(operation, shape!)];
};

/** The places that a slice takes of so many, by ONNX's rules for negative bounds and steps. */
function sliceIndexes(size: number, start: number, end: number, step: number): number[] | undefined {
  if (step === 0 || size > 4096) return undefined;
  const clamp = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high);
  const from = start < 0 ? start + size : start;
  const to = end < 0 ? end + size : end;
  const indexes: number[] = [];
  if (step > 0) for (let i = clamp(from, 0, size); i < clamp(to, 0, size); i += step) indexes.push(i);
  else for (let i = clamp(from, 0, size - 1); i > clamp(to, -1, size - 1); i += step) indexes.push(i);
  return indexes;
}

const gather: Rule = (operation) => {
  const [data, indices] = [operation.input(0), operation.input(1)];
  if (holdsBatchSize(indices)) operation.refuse("computes with the batch size");
  if (data.elements !== undefined && data.shape?.length === 1) {
    const picked = pickElements(data.elements, indices);
    if (picked !== undefined) return [fixed(indices.shape, picked)];
  }
  if (holdsBatchSize(data)) operation.refuse("computes with the batch size");
  if (data.axis !== undefined && indices.axis !== undefined) operation.refuse("picks rows by values of rows");
  if (data.shape === undefined || indices.shape === undefined) {
    if (data.axis !== undefined || indices.axis !== undefined)
      operation.refuse("takes a value whose shape is not known");
    return [fixed(undefined)];
  }
  const axis = operation.axis(operation.int("axis", 0), data.shape.length);
  if (axis === data.axis) operation.refuse("picks along the batch axis");
  return [laidOut(operation, data.shape.toSpliced(axis, 1, ...indices.shape))];
};

function pickElements(elements: readonly Size[], { elements: indices, shape }: Layout): Size[] | undefined {
  if (indices === undefined || shape === undefined || shape.length > 1) return undefined;
  const picked: Size[] = [];
  for (const index of indices) {
    if (typeof index !== "number" || index < -elements.length || index >= elements.length) return undefined;
    picked.push(elements.at(index));
  }
  return picked;
}

/** Data and indices have the same axes: each row picks within itself. */
const gatherElements: Rule = (operation) => {
  const [data, indices] = [operation.input(0), operation.input(1)];
  if (data.axis === undefined && indices.axis === undefined) return [fixed(indices.shape)];
  const rank = operation.shape(0).length;
  if (data.axis !== indices.axis || operation.shape(1).length !== rank) operation.refuse("picks across rows");
  if (operation.axis(operation.int("axis", 0), rank) === data.axis) operation.refuse("picks along the batch axis");
  return [laidOut(operation, operation.shape(1))];
};

const scatterElements: Rule = (operation) => {
  const inputs = [operation.input(0), operation.input(1), operation.input(2)];
  const [data] = inputs;
  const rank = operation.shape(0).length;
  if (inputs.some(({ axis, shape }) => axis !== data!.axis || shape?.length !== rank))
    operation.refuse("writes across rows");
  if (operation.axis(operation.int("axis", 0), rank) === data!.axis) operation.refuse("writes along the batch axis");
  return [laidOut(operation, operation.shape(0))];
};

const pad: Rule = (operation) => {
  const input = operation.input(0);
  operation.requireFixed(2);
  if (input.shape === undefined) return [fixed(undefined)];
  const rank = input.shape.length;
  const pads = operation.ints("pads") ?? operation.numbers(1) ?? operation.refuse("has no pads");
  const axes = operation.numbers(3)?.map((axis) => operation.axis(axis, rank)) ?? input.shape.map((_, i) => i);
  if (pads.length !== 2 * axes.length) operation.refuse("has pads for other axes");
  let shape = input.shape;
  axes.forEach((axis, i) => {
    const added = pads[i]! + pads[i + axes.length]!;
    if (axis === input.axis && (pads[i] !== 0 || pads[i + axes.length] !== 0)) operation.refuse("pads the batch axis");
    const size = shape[axis];
    if (added !== 0) shape = shape.with(axis, typeof size === "number" ? size + added : undefined);
  });
  return [laidOut(operation, shape)];
};

const tile: Rule = (operation) => {
  const input = operation.input(0);
  const repeats = operation.fixedInput(1).elements;
  if (holdsBatchSize(input)) operation.refuse("computes with the batch size");
  if (input.shape === undefined || repeats === undefined) {
    if (input.axis !== undefined) operation.refuse("repeats as often as values say that are not known");
    return [fixed(undefined)];
  }
  const shape = input.shape.map((size, i) => {
    if (repeats[i] === 1) return size;
    if (size === batch) operation.refuse("repeats the batch axis");
    // One row, repeated for every row of the batch.
    if (repeats[i] === batch) return size === 1 ? batch : operation.refuse("computes with the batch size");
    return typeof size === "number" && typeof repeats[i] === "number" ? size * repeats[i] : undefined;
  });
  return [laidOut(operation, shape)];
};

/** Of at least four axes: batch, channels, height, width. */
const blocks: Rule = (operation) => {
  const { axis, shape } = operation.input(0);
  if (axis !== undefined && axis !== 0) operation.refuse("takes another axis for the batch");
  if (shape === undefined) return [fixed(undefined)];
  return [laidOut(operation, [shape[0], ...shape.slice(1).map(() => undefined)])];
};

const trilu: Rule = (operation) => {
  const { axis, shape } = operation.input(0);
  operation.requireFixed(1);
  if (axis !== undefined && axis >= shape!.length - 2) operation.refuse("takes triangles across rows");
  return [{ ...fixed(shape), axis }];
};

const reverseSequence: Rule = (operation) => {
  const [data, lengths] = [operation.input(0), operation.input(1)];
  const { axis, shape } = data;
  if (axis === undefined && lengths.axis === undefined) return [fixed(shape)];
  if (axis !== operation.int("batch_axis", 1) || lengths.axis !== 0) operation.refuse("reverses the batch axis");
  return [{ ...fixed(shape), axis }];
};

/** Those that never see the batch size as a number. */
export const movementRules: Readonly<Record<string, Rule>> = {
  Transpose: transpose,
  Flatten: flatten,
  Split: split,
  GatherElements: gatherElements,
  ScatterElements: scatterElements,
  Pad: pad,
  DepthToSpace: blocks,
  SpaceToDepth: blocks,
  Trilu: trilu,
  ReverseSequence: reverseSequence,
};

/** Those that know what to do with it. */
export const movementSizeRules: Readonly<Record<string, Rule>> = {
  Reshape: reshape,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Concat: concat,
  Slice: slice,
  Gather: gather,
  Tile: tile,
};
