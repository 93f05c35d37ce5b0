// Operators that move elements about without changing them.
import {
  fromFront,
  type GradientEmitter,
  type GradientRules,
  type RuleNode,
  range,
  type SingleRule,
  singleRules,
  unary,
} from "../gradient-rule.js";

const reshapeBack = unary((g, dY, x) => g.reshapeLike(dY, x));

// Rows that Y took from X go back where they came from; the others get zero. With steps or backwards that is one Gather
// per axis, whose last index is a row of zeros.
const slice: SingleRule = (g, n, dY) => {
  const x = n.x(0);
  const rank = g.rank(x);
  const starts = n.constantInts(1)!;
  const axes = (n.constantInts(3) ?? range(starts.length)).map((axis) => fromFront(axis, rank));
  const steps = n.constantInts(4) ?? starts.map(() => 1);
  if (steps.every((step) => step === 1)) {
    const before = range(rank).map(() => 0);
    const after = range(rank).map(() => 0);
    axes.forEach((axis, i) => {
      const size = g.size(x, axis);
      before[axis] = Math.min(Math.max(fromFront(starts[i]!, size), 0), size);
      after[axis] = size - before[axis] - g.size(n.y(), axis);
    });
    return [g.pad(dY, [...before, ...after])];
  }
  let gradient = dY;
  axes.forEach((axis, i) => {
    const [size, taken, step] = [g.size(x, axis), g.size(n.y(), axis), steps[i]!];
    const start = Math.min(Math.max(fromFront(starts[i]!, size), 0), step > 0 ? size : size - 1);
    const source = range(size).map(() => taken);
    for (let row = 0; row < taken; row++) source[start + row * step] = row;
    const zeroRow = range(2 * rank).map((position) => Number(position === rank + axis));
    gradient = g.op("Gather", [g.pad(gradient, zeroRow), g.ints(source)], { axis });
  });
  return [gradient];
};

const pad: SingleRule = (g, n, dY) => {
  const x = n.x(0);
  const rank = g.rank(x);
  const given = n.constantInts(1)!;
  const axes = (n.constantInts(3) ?? range(rank)).map((axis) => fromFront(axis, rank));
  const pads = range(2 * rank).map(() => 0);
  axes.forEach((axis, i) => {
    pads[axis] = given[i]!;
    pads[rank + axis] = given[i + axes.length]!;
  });
  const mode = n.text("mode", "constant");
  if (mode === "constant") {
    if (n.wants(2)) throw n.refuse("the value it pads with cannot be trained");
    return [
      g.pad(
        dY,
        pads.map((size) => -size),
      ),
    ];
  }
  // Reflections add to the elements they repeat: a linear map along each axis.
  let gradient = dY;
  for (let axis = 0; axis < rank; axis++) {
    const around = [0, pads[axis]!, 0, pads[rank + axis]!];
    if (around.every((size) => size === 0)) continue;
    const response = g.op("Pad", [identityMatrix(g, g.size(x, axis), x), g.ints(around)], { mode });
    gradient = transposedAlong(g, gradient, response, axis, rank);
  }
  return [gradient];
};

/** The identity matrix, as a constant of the value's type. */
export function identityMatrix(g: GradientEmitter, size: number, like: string): string {
  const values = range(size * size).map((index) => Number(index % (size + 1) === 0));
  return g.constant(g.dtype(like), [size, size], values);
}

/**
 * The gradient of a map that is linear along one axis, given its response to each unit vector: a matrix with a row for
 * each element of X and a column for each of Y. onnxruntime computes it once, when the session is made.
 */
export function transposedAlong(g: GradientEmitter, dY: string, response: string, axis: number, rank: number): string {
  const last = [...range(rank).filter((other) => other !== axis), axis];
  const back = range(rank).map((position) => last.indexOf(position));
  const product = g.matMul(g.transpose(dY, last), g.transpose(response, [1, 0]));
  return g.transpose(product, back);
}

export const shapeRules: GradientRules = {
  ...singleRules({
    Reshape: reshapeBack,
    Flatten: reshapeBack,
    Squeeze: reshapeBack,
    Unsqueeze: reshapeBack,
    Transpose: (g, n, dY) => {
      const perm = n.ints("perm") ?? range(g.rank(n.x(0))).reverse();
      return [
        g.transpose(
          dY,
          range(perm.length).map((axis) => perm.indexOf(axis)),
        ),
      ];
    },
    Expand: (g, n, dY) => [g.sumTo(dY, n.y(), n.x(0))],
    // Each axis of Y is so many copies of X's: split into (copies, size), sum the copies.
    Tile: (g, n, dY) => {
      const { shape, followsBatch } = g.info(n.x(0));
      const tiled = g.info(n.y()).shape;
      const pairs = shape.flatMap((size, axis) => [tiled[axis]! / size, followsBatch[axis] ? -1 : size]);
      const copies = range(shape.length).filter((axis) => tiled[axis] !== shape[axis]);
      if (copies.length === 0) return [dY];
      if (followsBatch.filter(Boolean).length > 1) g.sizes(n.x(0));
      const summed = g.sum(
        g.reshape(dY, pairs),
        range(shape.length).map((axis) => 2 * axis),
        false,
      );
      return [summed];
    },
    Concat: (g, n, dY) => {
      const axis = fromFront(n.int("axis", 0), g.rank(n.y()));
      let end = 0;
      return n.node.inputs.map((x, i) => {
        const start = end;
        end += g.size(x, axis);
        return n.wants(i) ? g.slice(dY, [start], [end], [axis]) : undefined;
      });
    },
    Slice: slice,
    Pad: pad,
    // Channels and blocks change places; the opposite operator changes them back. CRD is the order SpaceToDepth lacks.
    DepthToSpace: (g, n, dY) => {
      if (n.text("mode", "DCR") === "DCR") return [g.op("SpaceToDepth", [dY], { blocksize: n.int("blocksize", 1) })];
      return [depthToSpaceCrdBack(g, n, dY)];
    },
    SpaceToDepth: (g, n, dY) => [g.op("DepthToSpace", [dY], { blocksize: n.int("blocksize", 1) })],
    Trilu: (g, n, dY) => [g.op("Trilu", n.has(1) ? [dY, n.x(1)] : [dY], { upper: n.int("upper", 1) }), undefined],
  }),
  Split: (g, n, dYs) => [
    g.op(
      "Concat",
      dYs.map((dY, i) => dY ?? g.zerosLike(n.y(i))),
      { axis: n.int("axis", 0) },
    ),
  ],
};

// Forward: [N, C, b, b, H, W] → [N, C, H, b, W, b].
function depthToSpaceCrdBack(g: GradientEmitter, n: RuleNode, dY: string): string {
  const block = n.int("blocksize", 1);
  const [channels, height, width] = [1, 2, 3].map((axis) => g.size(n.x(0), axis)) as [number, number, number];
  const parts = g.reshape(dY, [-1, channels / (block * block), height, block, width, block]);
  return g.reshapeLike(g.transpose(parts, [0, 1, 3, 5, 2, 4]), n.x(0));
}
