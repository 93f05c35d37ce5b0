import { fromFront, range, type SingleRule, singleRules } from "../gradient-rule.js";

// Rows of dY add up where they were taken from. The gathered axis is moved to the front, where ScatterND works.
const gather: SingleRule = (g, n, dY) => {
  const [x, indices] = [n.x(0), n.x(1)];
  const rank = g.rank(x);
  const axis = fromFront(n.int("axis", 0), rank);
  const indexAxes = range(g.rank(indices), axis);
  const others = range(g.rank(n.y())).filter((position) => !indexAxes.includes(position));
  const rows = g.transpose(dY, [...indexAxes, ...others]);
  const perm = [axis, ...range(rank).filter((position) => position !== axis)];
  const shape = axis === 0 ? g.shapeOf(x) : g.op("Gather", [g.shapeOf(x), g.ints(perm)]);
  const zeros = g.filled(shape, 0, g.dtype(x));
  const wide = g.dtype(indices) === "int64" ? indices : g.cast(indices, "int64");
  const scattered = g.op("ScatterND", [zeros, g.unsqueeze(wide, [-1]), rows], { reduction: "add" });
  return [
    g.transpose(
      scattered,
      range(rank).map((position) => perm.indexOf(position)),
    ),
  ];
};

/** Scatters replace or add; what they replace has no gradient. */
const scatter =
  (operator: string, takeBack: string): SingleRule =>
  (g, n, dY) => {
    const reduction = n.text("reduction", "none");
    if (reduction !== "none" && reduction !== "add") throw n.refuse(`its reduction is ${reduction}`);
    const [indices, updates] = [n.x(1), n.x(2)];
    const axis: Record<string, number> = operator === "ScatterElements" ? { axis: n.int("axis", 0) } : {};
    const replaced = () => g.op(operator, [dY, indices, g.zerosLike(updates)], axis);
    return [
      n.wants(0) ? (reduction === "add" ? dY : replaced()) : undefined,
      undefined,
      n.wants(2) ? g.op(takeBack, [dY, indices], axis) : undefined,
    ];
  };

export const indexingRules = singleRules({
  Gather: gather,
  GatherElements: (g, n, dY) => [
    g.op("ScatterElements", [g.zerosLike(n.x(0)), n.x(1), dY], { axis: n.int("axis", 0), reduction: "add" }),
  ],
  GatherND: (g, n, dY) => {
    if (n.int("batch_dims", 0) !== 0) throw n.refuse("it has batch_dims");
    return [g.op("ScatterND", [g.zerosLike(n.x(0)), n.x(1), dY], { reduction: "add" })];
  },
  ScatterND: scatter("ScatterND", "GatherND"),
  ScatterElements: scatter("ScatterElements", "GatherElements"),
  // The values go back to the places its second output names; each place is named once.
  TopK: (g, n, dY) => [g.op("ScatterElements", [g.zerosLike(n.x(0)), n.y(1), dY], { axis: n.int("axis", -1) })],
});
