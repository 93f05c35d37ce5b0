import type { GraphEmitter } from "../../../src/training/graph-emitter.js";
import { type CaseShape, checkGradients, type GradientCase, type Real } from "../../support/finite-differences.js";

/** Followed by something that is not linear, so that a gradient sent to the wrong place shows. */
const moved = (
  name: string,
  shape: CaseShape,
  build: (e: GraphEmitter, x: string, real: Real) => string,
): GradientCase => ({
  name,
  inputs: [{ shape }],
  build: (e, [x], real) => {
    const y = build(e, x!, real);
    return e.mul(y, e.op("Tanh", [y]));
  },
});

checkGradients("operators that move elements", [
  moved("Reshape, Flatten, Squeeze, Unsqueeze", ["N", 1, 3, 4], (e, x) => {
    const shaped = e.unsqueeze(e.reshape(e.squeeze(x, [1]), [0, -1, 2]), [1]);
    return e.op("Flatten", [shaped], { axis: 2 });
  }),
  moved("Transpose", ["N", 3, 4], (e, x) => e.transpose(x, [2, 0, 1])),
  moved("Transpose without perm", ["N", 3, 4], (e, x) => e.op("Transpose", [x])),
  moved("Expand", [3, 1], (e, x) => e.expand(x, e.ints([2, 3, 4]))),
  moved("Expand of a batch", ["N", 1, 2], (e, x) => e.expand(x, e.ints([1, 3, 2]))),
  moved("Tile", ["N", 3], (e, x) => e.op("Tile", [x, e.ints([1, 2])])),
  moved("Tile of the batch", ["N", 3], (e, x) => e.op("Tile", [x, e.ints([2, 1])])),
  moved("Split", ["N", 7], (e, x) => {
    const [a, b] = e.split(x, [3, 4], 1);
    return e.concat([e.exp(b!), e.op("Tanh", [a!])], 1);
  }),
  moved("Split with an output that is not used", ["N", 7], (e, x) => e.exp(e.split(x, [3, 4], 1)[1]!)),
  moved("Slice", [4, 5], (e, x) => e.slice(x, [1, -3], [3, 1000], [0, 1])),
  moved("Slice of a batch", ["N", 5], (e, x) => e.slice(x, [1], [4], [-1])),
  moved("Slice without axes", [4, 5], (e, x) => e.op("Slice", [x, e.ints([1, 2]), e.ints([3, 4])])),
  moved("Slice by twos and backwards", [5, 6], (e, x) => e.slice(x, [0, 5], [5, 0], [0, 1], [2, -1])),
  moved("Pad", ["N", 3], (e, x) => e.pad(x, [0, 1, 2, 1])),
  moved("Pad by a negative size", ["N", 4], (e, x) => e.pad(x, [0, -1, 0, 1])),
  moved("Pad of one axis", ["N", 3], (e, x, real) =>
    e.op("Pad", [x, e.ints([2, 1]), e.scalar(0.5, real), e.ints([-1])]),
  ),
  moved("Pad by reflection", ["N", 4, 3], (e, x) => e.op("Pad", [x, e.ints([0, 2, 1, 0, 1, 2])], { mode: "reflect" })),
  moved("Pad by the edge", ["N", 4], (e, x) => e.op("Pad", [x, e.ints([0, 2, 0, 1])], { mode: "edge" })),
  moved("Pad by wrapping around", ["N", 4], (e, x) => e.op("Pad", [x, e.ints([0, 2, 0, 1])], { mode: "wrap" })),
  moved("DepthToSpace", ["N", 8, 2, 3], (e, x) => e.op("DepthToSpace", [x], { blocksize: 2 })),
  moved("DepthToSpace, CRD", ["N", 8, 2, 3], (e, x) => e.op("DepthToSpace", [x], { blocksize: 2, mode: "CRD" })),
  moved("SpaceToDepth", ["N", 2, 4, 6], (e, x) => e.op("SpaceToDepth", [x], { blocksize: 2 })),
  moved("Trilu", ["N", 3, 4], (e, x) => e.op("Trilu", [x])),
  moved("Trilu, lower, with k", ["N", 3, 4], (e, x) => e.op("Trilu", [x, e.scalar(1, "int64")], { upper: 0 })),
  {
    name: "Concat",
    inputs: [{ shape: ["N", 3] }, { shape: ["N", 2] }, { shape: ["N", 3] }],
    build: (e, x) => e.exp(e.concat(x, -1)),
  },
]);
