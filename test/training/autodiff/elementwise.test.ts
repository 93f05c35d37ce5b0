import type { GraphAttribute } from "../../../src/onnx/index.js";
import { floats } from "../../../src/onnx/index.js";
import {
  awayFromZero,
  type CaseShape,
  checkGradients,
  distinct,
  type GradientCase,
  normal,
  positive,
  type Sampler,
  within,
} from "../../support/finite-differences.js";

const unary = (
  opType: string,
  sample: Sampler = normal,
  attributes: Record<string, GraphAttribute> = {},
  more: Partial<GradientCase> = {},
): GradientCase => ({
  name: Object.keys(attributes).length === 0 ? opType : `${opType} ${JSON.stringify(attributes)}`,
  inputs: [{ shape: ["N", 5], sample }],
  build: (e, x) => e.op(opType, x, attributes),
  ...more,
});
const only32 = { float32Only: true };

const binary = (opType: string, a: CaseShape, b: CaseShape, sample: Sampler = normal): GradientCase => ({
  name: `${opType} [${a}] [${b}]`,
  inputs: [
    { shape: a, sample },
    { shape: b, sample },
  ],
  build: (e, x) => e.op(opType, x),
});

checkGradients("arithmetic with broadcasting", [
  binary("Add", ["N", 4], ["N", 4]),
  binary("Add", ["N", 4], [4]),
  binary("Add", ["N", 3, 4], [3, 1]),
  binary("Add", [1, 4], ["N", 1]),
  binary("Add", ["N", 4], []),
  binary("Sub", ["N", 3], [3]),
  binary("Sub", [3], ["N", 3]),
  binary("Mul", ["N", 3, 4], [1, 3, 1]),
  binary("Mul", ["N", 4], ["N", 4]),
  binary("Mul", [], ["N", 4]),
  binary("Div", ["N", 4], [4], positive),
  binary("Div", [4], ["N", 4], positive),
  binary("Pow", ["N", 4], ["N", 4], positive),
  binary("Pow", ["N", 4], [], positive),
  binary("Max", ["N", 4], [4], distinct),
  binary("Min", ["N", 4], [4], distinct),
  {
    name: "Pow: a negative base squared",
    inputs: [{ shape: ["N", 4], sample: awayFromZero() }],
    build: (e, [x], real) => e.op("Pow", [x!, e.scalar(2, real)]),
  },
  {
    name: "Pow: a whole exponent of another type",
    inputs: [{ shape: ["N", 4], sample: awayFromZero() }],
    build: (e, [x]) => e.op("Pow", [x!, e.scalar(3, "int64")]),
  },
  {
    name: "Sum and Mean of three",
    inputs: [{ shape: ["N", 3] }, { shape: [3] }, { shape: ["N", 1] }],
    build: (e, x) => e.mul(e.op("Sum", x), e.op("Mean", x)),
    ...only32,
  },
  {
    name: "Max: elements that tie share the gradient",
    inputs: [{ shape: ["N", 4] }],
    // Twice the same input: each gets half, and the sum is the whole.
    build: (e, [x]) => e.op("Max", [x!, x!]),
  },
  {
    name: "Where",
    inputs: [{ shape: ["N", 4] }, { shape: [4] }],
    build: (e, [a, b]) => e.where(e.greater(a!, b!), a!, e.mul(b!, b!)),
  },
  {
    name: "a value that is used three times",
    inputs: [{ shape: ["N", 4] }],
    build: (e, [x]) => e.add(e.mul(x!, e.op("Tanh", [x!])), x!),
  },
]);

checkGradients("functions of one element", [
  unary("Identity"),
  unary("Neg"),
  unary("Abs", awayFromZero()),
  unary("Exp"),
  unary("Log", positive),
  unary("Sqrt", positive),
  unary("Reciprocal", positive),
  unary("Sin"),
  unary("Cos"),
  unary("Tan", within(-1, 1), {}, only32),
  unary("Sinh", normal, {}, only32),
  unary("Cosh", normal, {}, only32),
  unary("Asin", within(-0.8, 0.8), {}, only32),
  unary("Acos", within(-0.8, 0.8), {}, only32),
  unary("Atan", normal, {}, only32),
  unary("Asinh", normal, {}, only32),
  unary("Acosh", within(1.5, 3), {}, only32),
  unary("Atanh", within(-0.8, 0.8), {}, only32),
  unary("Erf", normal, {}, only32),
  {
    name: "Clip",
    inputs: [{ shape: ["N", 5], sample: distinct }],
    build: (e, [x], real) => e.op("Clip", [x!, e.scalar(-0.7, real), e.scalar(0.9, real)]),
  },
  {
    name: "Clip with one bound",
    inputs: [{ shape: ["N", 5], sample: distinct }],
    build: (e, [x], real) => e.op("Clip", [x!, "", e.scalar(0.9, real)]),
  },
  {
    name: "CastLike",
    inputs: [{ shape: ["N", 5] }],
    build: (e, [x], real) => {
      const wide = e.op("CastLike", [e.op("Tanh", [x!]), e.scalar(1, "float64")]);
      return e.cast(e.mul(wide, wide), real);
    },
  },
  {
    name: "Cast to the other float type and back",
    inputs: [{ shape: ["N", 5] }],
    build: (e, [x], real) => {
      const wide = e.cast(e.op("Tanh", [x!]), "float64");
      return e.cast(e.mul(wide, wide), real);
    },
  },
]);

checkGradients("activations", [
  unary("Relu", awayFromZero()),
  unary("LeakyRelu", awayFromZero(), { alpha: floats(0.13) }, only32),
  unary("LeakyRelu", awayFromZero(), {}, only32),
  unary("ThresholdedRelu", distinct, { alpha: floats(0.5) }, only32),
  unary("Elu", awayFromZero(), { alpha: floats(0.7) }, only32),
  unary("Celu", awayFromZero(), { alpha: floats(0.7) }, only32),
  unary("Selu", awayFromZero(), {}, only32),
  unary("Sigmoid"),
  unary("Tanh"),
  unary("Softplus", normal, {}, only32),
  unary("Softsign", awayFromZero(), {}, only32),
  unary("HardSigmoid", distinct, {}, only32),
  unary("HardSigmoid", distinct, { alpha: floats(0.3), beta: floats(0.4) }, only32),
  unary("HardSwish", (random) => 2 * random.normal(), {}, only32),
  unary("Mish", normal, {}, only32),
  unary("Gelu", normal, {}, only32),
  unary("Gelu", normal, { approximate: "tanh" }),
  {
    name: "PRelu",
    inputs: [{ shape: ["N", 3, 4], sample: awayFromZero() }, { shape: [3, 1] }],
    build: (e, x) => e.op("PRelu", x),
    ...only32,
  },
  {
    name: "Dropout out of training",
    inputs: [{ shape: ["N", 5] }],
    build: (e, [x]) => e.op("Dropout", [x!]),
  },
]);
