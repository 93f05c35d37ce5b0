// The table of all operators that can be trained through.
import type { GradientRules } from "./gradient-rule.js";
import { convolutionRules } from "./rules/convolution.js";
import { elementwiseRules } from "./rules/elementwise.js";
import { indexingRules } from "./rules/indexing.js";
import { matrixProductRules } from "./rules/matrix-product.js";
import { normalizationRules } from "./rules/normalization.js";
import { poolingRules } from "./rules/pooling.js";
import { reductionRules } from "./rules/reduction.js";
import { resizeRules } from "./rules/resize.js";
import { scanRules } from "./rules/scan.js";
import { shapeRules } from "./rules/shape.js";

export const gradientRules: GradientRules = {
  ...elementwiseRules,
  ...matrixProductRules,
  ...convolutionRules,
  ...poolingRules,
  ...normalizationRules,
  ...shapeRules,
  ...reductionRules,
  ...indexingRules,
  ...resizeRules,
  ...scanRules,
};

/** Operators whose output does not follow small changes of their inputs: shapes, comparisons, steps. */
export const withoutDerivative: ReadonlySet<string> = new Set([
  "And",
  "ArgMax",
  "ArgMin",
  "BitShift",
  "BitwiseAnd",
  "BitwiseNot",
  "BitwiseOr",
  "BitwiseXor",
  "Ceil",
  "Constant",
  "ConstantOfShape",
  "Equal",
  "EyeLike",
  "Floor",
  "Greater",
  "GreaterOrEqual",
  "Hardmax",
  "IsInf",
  "IsNaN",
  "Less",
  "LessOrEqual",
  "NonZero",
  "Not",
  "OneHot",
  "Or",
  "Range",
  "Round",
  "Shape",
  "Sign",
  "Size",
  "Xor",
]);
