import {
  fromFront,
  type GradientEmitter,
  type RuleNode,
  range,
  type SingleRule,
  singleRules,
} from "../gradient-rule.js";

interface Reduction {
  readonly axes: readonly number[];
  /** Gives a reduced tensor the axes back that it lost, with one element each, so that it broadcasts against X. */
  readonly restore: (value: string) => string;
}

function reduction(g: GradientEmitter, n: RuleNode): Reduction {
  const rank = g.rank(n.x(0));
  let axes = n.ints("axes") ?? n.constantInts(1) ?? [];
  if (axes.length === 0 && n.int("noop_with_empty_axes", 0) === 0) axes = range(rank);
  const counted = axes.map((axis) => fromFront(axis, rank));
  const lost = n.int("keepdims", 1) === 0 && counted.length > 0;
  return { axes: counted, restore: (value) => (lost ? g.unsqueeze(value, counted) : value) };
}

/** A rule as a formula of dY and Y, both with their axes restored. */
const reduce =
  (formula: (g: GradientEmitter, dY: string, x: string, y: string, axes: readonly number[]) => string): SingleRule =>
  (g, n, dY) => {
    const { axes, restore } = reduction(g, n);
    return [formula(g, restore(dY), n.x(0), restore(n.y()), axes)];
  };

// The elements that attain the extremum share the gradient.
const extremum = reduce((g, dY, x, y, axes) => {
  const attains = g.castLike(g.op("Equal", [x, y]), x);
  return g.mul(g.div(dY, g.sum(attains, axes)), attains);
});

// The product of the others is Y/X, unless zeros are among them: with one zero only that element has a gradient, the
// product of the rest; with more, none has.
const productOfOthers = reduce((g, dY, x, y, axes) => {
  const [zero, one] = [g.number(0, x), g.number(1, x)];
  const isZero = g.op("Equal", [x, zero]);
  const nonZero = g.where(isZero, one, x);
  const zeros = g.sum(g.castLike(isZero, x), axes);
  const rest = g.op("ReduceProd", [nonZero, g.ints(axes)]);
  const ofSingleZero = g.where(g.op("Equal", [zeros, one]), rest, zero);
  return g.mul(dY, g.where(isZero, ofSingleZero, g.div(y, nonZero)));
});

export const reductionRules = singleRules({
  ReduceSum: reduce((g, dY, x) => g.expandLike(dY, x)),
  ReduceMean: reduce((g, dY, x, _y, axes) => g.expandLike(g.div(dY, g.countAlong(x, axes)), x)),
  ReduceSumSquare: reduce((g, dY, x) => g.mul(g.mul(dY, g.number(2, x)), x)),
  ReduceL1: reduce((g, dY, x) => g.mul(dY, g.op("Sign", [x]))),
  ReduceL2: reduce((g, dY, x, y) => g.mul(g.div(dY, y), x)),
  ReduceLogSum: reduce((g, dY, x, y) => g.expandLike(g.mul(dY, g.exp(g.neg(y))), x)),
  ReduceLogSumExp: reduce((g, dY, x, y) => g.mul(dY, g.exp(g.sub(x, y)))),
  ReduceMax: extremum,
  ReduceMin: extremum,
  ReduceProd: productOfOthers,
  // dX = Y·(dY - Σ dY·Y)
  Softmax: (g, n, dY) => {
    const y = n.y();
    const axis = fromFront(n.int("axis", -1), g.rank(y));
    return [g.mul(y, g.sub(dY, g.sum(g.mul(dY, y), [axis])))];
  },
  // dX = dY - eʸ·Σ dY
  LogSoftmax: (g, n, dY) => {
    const axis = fromFront(n.int("axis", -1), g.rank(n.y()));
    return [g.sub(dY, g.mul(g.exp(n.y()), g.sum(dY, [axis])))];
  },
  // Each element of Y sums those of X up to it, so each of X gets what comes from there on.
  CumSum: (g, n, dY) => [
    g.op("CumSum", [dY, n.x(1)], { exclusive: n.int("exclusive", 0), reverse: 1 - n.int("reverse", 0) }),
  ],
});
