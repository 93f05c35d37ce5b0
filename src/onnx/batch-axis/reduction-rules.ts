// Operators that look along some axes: sums, maxima, norms. None of these axes may be the batch.
import { broadcast, fixed, type Layout, laidOut, type Size } from "./layout.js";
import type { Operation, Rule } from "./operation.js";

const reduce: Rule = (operation) => {
  const input = operation.input(0);
  const given = operation.ints("axes") ?? operation.numbers(1);
  const none = given === undefined || given.length === 0;
  if (none && operation.int("noop_with_empty_axes", 0) !== 0)
    return [{ ...input, elements: undefined, reals: undefined }];
  if (input.axis !== undefined && none) operation.refuse("reduces the batch axis");
  if (input.shape === undefined) return [fixed(undefined)];
  const rank = input.shape.length;
  const axes = none ? input.shape.map((_, i) => i) : given.map((axis) => operation.axis(axis, rank));
  return [reduced(operation, input, axes)];
};

/** ArgMax and ArgMin: one axis, the first when none is named. */
const argument: Rule = (operation) => {
  const input = operation.input(0);
  if (input.shape === undefined) return [fixed(undefined)];
  return [reduced(operation, input, [operation.axis(operation.int("axis", 0), input.shape.length)])];
};

function reduced(operation: Operation, input: Layout, axes: readonly number[]): Layout {
  if (input.axis !== undefined && axes.includes(input.axis)) operation.refuse("reduces the batch axis");
  const keeps = operation.int("keepdims", 1) !== 0;
  const shape = input.shape!.flatMap((size, i): Size[] => {
    if (!axes.includes(i)) return [size];
    return keeps ? [1] : [];
  });
  return laidOut(operation, shape);
}

/** Normalizes along one axis; before operator set 13, along it and all that follow. */
const softmax: Rule = (operation) => {
  const input = operation.input(0);
  if (input.axis === undefined) return [fixed(input.shape)];
  const rank = operation.shape(0).length;
  const old = operation.version < 13;
  const axis = operation.axis(operation.int("axis", old ? 1 : -1), rank);
  if (old ? axis <= input.axis : axis === input.axis) operation.refuse("normalizes along the batch axis");
  return [{ ...fixed(input.shape), axis: input.axis }];
};

const along =
  (defaultAxis: number, why: string, axisOf = (operation: Operation) => operation.int("axis", defaultAxis)): Rule =>
  (operation) => {
    const input = operation.input(0);
    if (input.axis === undefined) return [fixed(input.shape)];
    if (operation.axis(axisOf(operation), operation.shape(0).length) === input.axis) operation.refuse(why);
    return [{ ...fixed(input.shape), axis: input.axis }];
  };

const axisInput = (operation: Operation) => operation.numbers(1)?.[0] ?? operation.refuse("has no axis");

const topK: Rule = (operation) => {
  const input = operation.input(0);
  if (input.shape === undefined) return [fixed(undefined), fixed(undefined)];
  const axis = operation.axis(operation.int("axis", -1), input.shape.length);
  if (axis === input.axis) operation.refuse("ranks along the batch axis");
  // In the first operator sets an attribute, an input since.
  const count = operation.has("k") ? operation.int("k", 0) : operation.fixedInput(1).elements?.[0];
  const layout = laidOut(operation, input.shape.with(axis, typeof count === "number" ? count : undefined));
  return [layout, layout];
};

/** Over the axis named and all behind it. */
const layerNormalization: Rule = (operation) => {
  operation.requireFixed(1, 2);
  const input = operation.input(0);
  if (input.axis === undefined) return [fixed(input.shape), fixed(undefined), fixed(undefined)];
  const { length: rank } = operation.shape(0);
  const axis = operation.axis(operation.int("axis", -1), rank);
  if (axis <= input.axis) operation.refuse("normalizes along the batch axis");
  requireWeightsBelow(operation, input, [1, 2]);
  const statistics = laidOut(
    operation,
    input.shape!.map((size, i) => (i < axis ? size : 1)),
  );
  return [{ ...fixed(input.shape), axis: input.axis }, statistics, statistics];
};

/** Weights may not differ from row to row. */
export function requireWeightsBelow(operation: Operation, input: Layout, indexes: readonly number[]): void {
  for (const index of indexes) {
    const weight = operation.optional(index);
    if (weight === undefined) continue;
    const together = broadcast(operation, [input, weight]);
    if (together.axis !== input.axis || together.shape!.length !== input.shape!.length) {
      operation.refuse("lines the batch axis up with another one");
    }
  }
}

/** Statistics over axes that hold the batch unless others are named. */
const meanVarianceNormalization: Rule = (operation) => {
  const input = operation.input(0);
  if (input.axis === undefined) return [fixed(input.shape)];
  const axes = operation.ints("axes") ?? [0, 2, 3];
  const rank = operation.shape(0).length;
  if (axes.some((axis) => operation.axis(axis, rank) === input.axis))
    operation.refuse("normalizes along the batch axis");
  return [{ ...fixed(input.shape), axis: input.axis }];
};

/** Rows first, then channels; the statistics are of one row, or of what was learnt. */
const perRow =
  (...weights: readonly number[]): Rule =>
  (operation) => {
    operation.requireFixed(...weights);
    const input = operation.input(0);
    if (input.axis !== undefined && input.axis !== 0) operation.refuse("takes another axis for the batch");
    return [{ ...fixed(input.shape), axis: input.axis }];
  };

const batchNormalization: Rule = (operation) => {
  const trains = operation.int("training_mode", 0) !== 0;
  const oldStatistics = operation.version < 14 && [1, 2, 3, 4].some((output) => operation.hasOutput(output));
  const undecided = operation.version < 7 && operation.int("is_test", 0) === 0;
  if (trains || oldStatistics || undecided) operation.refuse("takes its statistics from the batch");
  return perRow(1, 2, 3, 4)(operation);
};

const oneHot: Rule = (operation) => {
  operation.requireFixed(1, 2);
  const indices = operation.input(0);
  if (indices.shape === undefined) return [fixed(undefined)];
  const axis = operation.axis(operation.int("axis", -1), indices.shape.length + 1);
  const depth = operation.input(1).elements?.[0];
  const size = typeof depth === "number" ? depth : undefined;
  return [laidOut(operation, indices.shape.toSpliced(axis, 0, size))];
};

const quantizesAll: Rule = (operation) => {
  if (operation.input(0).axis === undefined) return [fixed(operation.input(0).shape), fixed([]), fixed([])];
  return operation.refuse("takes its scale from the whole batch");
};

const reductions = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"];

export const reductionRules: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries(reductions.map((name) => [`Reduce${name}`, reduce])),
  ArgMax: argument,
  ArgMin: argument,
  Softmax: softmax,
  LogSoftmax: softmax,
  Hardmax: softmax,
  LpNormalization: along(-1, "normalizes along the batch axis"),
  CumSum: along(0, "accumulates along the batch axis", axisInput),
  CumProd: along(0, "accumulates along the batch axis", axisInput),
  TopK: topK,
  LayerNormalization: layerNormalization,
  RMSNormalization: layerNormalization,
  MeanVarianceNormalization: meanVarianceNormalization,
  InstanceNormalization: perRow(1, 2),
  GroupNormalization: perRow(1, 2),
  LRN: perRow(),
  BatchNormalization: batchNormalization,
  OneHot: oneHot,
  DynamicQuantizeLinear: quantizesAll,
};
