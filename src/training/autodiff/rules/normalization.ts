import { fromFront, type GradientEmitter, range, type SingleRule, singleRules } from "../gradient-rule.js";

/** X shifted and scaled to mean 0 and variance 1 along some axes. */
interface Normalized {
  readonly axes: readonly number[];
  /** 1/√(variance + ε), with the axes kept. */
  readonly inverse: string;
  /** X̂ */
  readonly value: string;
}

function normalize(g: GradientEmitter, x: string, axes: readonly number[], epsilon: number, like: string): Normalized {
  const centred = g.sub(x, g.mean(x, axes));
  const variance = g.mean(g.mul(centred, centred), axes);
  const inverse = g.op("Reciprocal", [g.op("Sqrt", [g.add(variance, g.number(epsilon, like))])]);
  return { axes, inverse, value: g.mul(centred, inverse) };
}

// X̂ depends on X directly, through the mean and through the variance: dX = inverse·(dX̂ - mean dX̂ - X̂·mean(dX̂·X̂))
function normalizeBack(g: GradientEmitter, dNormalized: string, { axes, inverse, value }: Normalized): string {
  const shift = g.mean(dNormalized, axes);
  const scale = g.mul(value, g.mean(g.mul(dNormalized, value), axes));
  return g.mul(inverse, g.sub(g.sub(dNormalized, shift), scale));
}

/** Puts a vector with one element a channel where it broadcasts against [N, C, ...]. */
const alongChannels = (g: GradientEmitter, vector: string, rank: number): string =>
  rank === 2 ? vector : g.unsqueeze(vector, range(rank - 2, 1));
const allButChannels = (rank: number): number[] => [0, ...range(rank - 2, 2)];

const layerNormalization: SingleRule = (g, n, dY) => {
  const [x, scale, bias] = [n.x(0), n.x(1), n.x(2)];
  const rank = g.rank(x);
  const axis = fromFront(n.int("axis", -1), rank);
  const normalized = normalize(g, x, range(rank - axis, axis), n.float("epsilon", 1e-5), x);
  return [
    n.wants(0) ? normalizeBack(g, g.mul(dY, scale), normalized) : undefined,
    n.wants(1) ? g.sumTo(g.mul(dY, normalized.value), n.y(), scale) : undefined,
    n.wants(2) ? g.sumTo(dY, n.y(), bias) : undefined,
  ];
};

// Y = X·r·scale, r = 1/√(mean X² + ε)  ⇒  dX = r·(dX̂ - X̂·mean(dX̂·X̂)),  X̂ = X·r
const rmsNormalization: SingleRule = (g, n, dY) => {
  const [x, scale] = [n.x(0), n.x(1)];
  const rank = g.rank(x);
  const axis = fromFront(n.int("axis", -1), rank);
  const axes = range(rank - axis, axis);
  const meanSquare = g.mean(g.mul(x, x), axes);
  const inverse = g.op("Reciprocal", [g.op("Sqrt", [g.add(meanSquare, g.number(n.float("epsilon", 1e-5), x))])]);
  const value = g.mul(x, inverse);
  const dValue = g.mul(dY, scale);
  return [
    n.wants(0) ? g.mul(inverse, g.sub(dValue, g.mul(value, g.mean(g.mul(dValue, value), axes)))) : undefined,
    n.wants(1) ? g.sumTo(g.mul(dY, value), n.y(), scale) : undefined,
  ];
};

const instanceNormalization: SingleRule = (g, n, dY) => {
  const [x, scale] = [n.x(0), n.x(1)];
  const rank = g.rank(x);
  const normalized = normalize(g, x, range(rank - 2, 2), n.float("epsilon", 1e-5), x);
  return [
    n.wants(0) ? normalizeBack(g, g.mul(dY, alongChannels(g, scale, rank)), normalized) : undefined,
    n.wants(1) ? g.sum(g.mul(dY, normalized.value), allButChannels(rank), false) : undefined,
    n.wants(2) ? g.sum(dY, allButChannels(rank), false) : undefined,
  ];
};

// Each group of channels is one stretch of numbers: [N, groups, everything else].
const groupNormalization: SingleRule = (g, n, dY) => {
  const [x, scale] = [n.x(0), n.x(1)];
  const rank = g.rank(x);
  const groups = n.int("num_groups", 1);
  const grouped = (value: string) => g.reshape(value, [0, groups, -1]);
  const normalized = normalize(g, grouped(x), [2], n.float("epsilon", 1e-5), x);
  const dNormalized = grouped(g.mul(dY, alongChannels(g, scale, rank)));
  const value = () => g.reshapeLike(normalized.value, x);
  return [
    n.wants(0) ? g.reshapeLike(normalizeBack(g, dNormalized, normalized), x) : undefined,
    n.wants(1) ? g.sum(g.mul(dY, value()), allButChannels(rank), false) : undefined,
    n.wants(2) ? g.sum(dY, allButChannels(rank), false) : undefined,
  ];
};

const batchNormalization: SingleRule = (g, n, dY) => {
  const [x, scale, , mean, variance] = [n.x(0), n.x(1), n.x(2), n.x(3), n.x(4)];
  const rank = g.rank(x);
  const axes = allButChannels(rank);
  const epsilon = n.float("epsilon", 1e-5);
  const dBias = () => g.sum(dY, axes, false);
  if (n.int("training_mode", 0) === 1) {
    const normalized = normalize(g, x, axes, epsilon, x);
    return [
      n.wants(0) ? normalizeBack(g, g.mul(dY, alongChannels(g, scale, rank)), normalized) : undefined,
      n.wants(1) ? g.sum(g.mul(dY, normalized.value), axes, false) : undefined,
      n.wants(2) ? dBias() : undefined,
    ];
  }
  // With stored statistics it is an affine map, and those are constants.
  const inverse = g.op("Reciprocal", [g.op("Sqrt", [g.add(variance, g.number(epsilon, variance))])]);
  const normalized = () => g.mul(g.sub(x, alongChannels(g, mean, rank)), alongChannels(g, inverse, rank));
  return [
    n.wants(0) ? g.mul(dY, alongChannels(g, g.mul(scale, inverse), rank)) : undefined,
    n.wants(1) ? g.sum(g.mul(dY, normalized()), axes, false) : undefined,
    n.wants(2) ? dBias() : undefined,
  ];
};

// Y = X·S^-β, S = bias + α/size·(sum of X² over nearby channels). An element reaches Y directly and through the S of
// every channel near it: dX = dY·S^-β - 2αβ/size·X·(sum of dY·X·S^(-β-1) over the channels that see it)
const localResponseNormalization: SingleRule = (g, n, dY) => {
  const x = n.x(0);
  const size = n.int("size", 1);
  const [alpha, beta, bias] = [n.float("alpha", 1e-4), n.float("beta", 0.75), n.float("bias", 1)];
  const before = Math.floor((size - 1) / 2);
  const near = (value: string, from: number) => sumOfNeighbours(g, value, from, size, g.size(x, 1), g.rank(x));
  const squares = near(g.mul(x, x), before);
  const s = g.add(g.number(bias, x), g.mul(g.number(alpha / size, x), squares));
  const power = (exponent: number) => g.op("Pow", [s, g.number(exponent, x)]);
  const through = near(g.mul(dY, g.mul(x, power(-beta - 1))), size - 1 - before);
  const direct = g.mul(dY, power(-beta));
  return [g.sub(direct, g.mul(g.number((2 * alpha * beta) / size, x), g.mul(x, through)))];
};

/** For each channel, the sum over `size` of them, the first `before` places ahead. */
function sumOfNeighbours(
  g: GradientEmitter,
  value: string,
  before: number,
  size: number,
  channels: number,
  rank: number,
): string {
  const pads = range(2 * rank).map(() => 0);
  pads[1] = before;
  pads[rank + 1] = size - 1 - before;
  const padded = g.pad(value, pads);
  const shifted = range(size).map((offset) => g.slice(padded, [offset], [offset + channels], [1]));
  return shifted.length === 1 ? shifted[0]! : g.op("Sum", shifted);
}

// Y = X/‖X‖₂  ⇒  dX = (dY - Y·Σ dY·Y)/‖X‖₂;  Y = X/‖X‖₁  ⇒  dX = (dY - sign X·Σ dY·Y)/‖X‖₁
const lpNormalization: SingleRule = (g, n, dY) => {
  const x = n.x(0);
  const p = n.int("p", 2);
  const axes = [fromFront(n.int("axis", -1), g.rank(x))];
  const norm = g.op(p === 1 ? "ReduceL1" : "ReduceL2", [x, g.ints(axes)]);
  const direction = p === 1 ? g.op("Sign", [x]) : n.y();
  return [g.div(g.sub(dY, g.mul(direction, g.sum(g.mul(dY, n.y()), axes))), norm)];
};

export const normalizationRules = singleRules({
  LayerNormalization: layerNormalization,
  RMSNormalization: rmsNormalization,
  SimplifiedLayerNormalization: rmsNormalization,
  InstanceNormalization: instanceNormalization,
  GroupNormalization: groupNormalization,
  BatchNormalization: batchNormalization,
  LRN: localResponseNormalization,
  LpNormalization: lpNormalization,
});
