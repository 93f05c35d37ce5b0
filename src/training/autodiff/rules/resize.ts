import { type GradientEmitter, type RuleNode, range, type SingleRule, singleRules } from "../gradient-rule.js";
import { identityMatrix, transposedAlong } from "./shape.js";

// Resizing is linear and works axis by axis, so its gradient is the transpose of each axis' map. What that map is, with
// all its modes and roundings, onnxruntime itself says: it resizes an identity matrix.
const resize: SingleRule = (g, n, dY) => {
  const x = n.x(0);
  const rank = g.rank(x);
  const coordinates = n.text("coordinate_transformation_mode", "half_pixel");
  if (coordinates === "tf_crop_and_resize") throw n.refuse(`its coordinate_transformation_mode is ${coordinates}`);
  if (n.text("keep_aspect_ratio_policy", "stretch") !== "stretch") throw n.refuse("it keeps the aspect ratio");
  let gradient = dY;
  for (const { axis, scale } of resizedAxes(g, n)) {
    gradient = transposedAlong(g, gradient, response(g, n, axis, scale), axis, rank);
  }
  return [gradient];
};

/** Axes that change, with the scale the node gives them; undefined: it gives sizes instead. */
function resizedAxes(g: GradientEmitter, n: RuleNode): { readonly axis: number; readonly scale: number | undefined }[] {
  const [x, y] = [n.x(0), n.y()];
  const rank = g.rank(x);
  const bySize = n.has(3);
  const scales = bySize ? undefined : n.constantFloats(2);
  const axes = (n.ints("axes") ?? range(rank)).map((axis) => (axis < 0 ? axis + rank : axis));
  return axes
    .map((axis, position) => ({ axis, scale: scales?.[position] }))
    .filter(({ axis, scale }) => {
      if (scale !== undefined) return scale !== 1;
      const [from, to] = [g.info(x), g.info(y)];
      return !from.followsBatch[axis] && from.shape[axis] !== to.shape[axis];
    });
}

/** A row for each element along X's axis, a column for each along Y's. */
function response(g: GradientEmitter, n: RuleNode, axis: number, scale: number | undefined): string {
  const [from, to] = [g.size(n.x(0), axis), g.size(n.y(), axis)];
  const kept: Record<string, string | number | { floats: number }> = {};
  for (const name of ["coordinate_transformation_mode", "mode", "nearest_mode", "exclude_outside", "antialias"]) {
    const value = n.node.attributes.get(name);
    if (typeof value === "string" || typeof value === "number") kept[name] = value;
  }
  const cubic = n.float("cubic_coeff_a", -0.75);
  if (cubic !== -0.75) kept["cubic_coeff_a"] = { floats: cubic };
  // onnxruntime interpolates along the last two of four axes.
  const unit = g.reshape(identityMatrix(g, from, n.x(0)), [1, 1, from, from]);
  const resized =
    scale === undefined
      ? g.op("Resize", [unit, "", "", g.ints([1, 1, from, to])], kept)
      : g.op("Resize", [unit, "", g.constant("float32", [4], [1, 1, 1, scale])], kept);
  return g.reshape(resized, [from, to]);
}

export const resizeRules = singleRules({ Resize: resize });
