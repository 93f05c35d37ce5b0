// Operators that work element by element, with broadcasting where there are several inputs. dY is the gradient of the
// output; sumTo() undoes a broadcast.
import { type GradientEmitter, type RuleNode, type SingleRule, singleRules, unary } from "../gradient-rule.js";

const minMax: SingleRule = (g, n, dY) => {
  // The inputs that attain the extremum share the gradient.
  const attains = n.node.inputs.map((x) => g.castLike(g.op("Equal", [x, n.y()]), n.y()));
  const ties = attains.length === 1 ? attains[0]! : g.op("Sum", attains);
  return n.node.inputs.map((x, i) => (n.wants(i) ? g.sumTo(g.mul(dY, g.div(attains[i]!, ties)), n.y(), x) : undefined));
};

const sum: SingleRule = (g, n, dY) => n.node.inputs.map((x, i) => (n.wants(i) ? g.sumTo(dY, n.y(), x) : undefined));

// Clip, HardSigmoid: the gradient passes inside the bounds only.
const between = (g: GradientEmitter, value: string, low: string, high: string): string =>
  g.op("And", [g.greater(value, low), g.op("Less", [value, high])]);

const oneMinusSquare = (g: GradientEmitter, y: string): string => g.sub(g.number(1, y), g.mul(y, y));
const onePlusSquare = (g: GradientEmitter, x: string): string => g.add(g.number(1, x), g.mul(x, x));

export const elementwiseRules = singleRules({
  Identity: unary((_g, dY) => dY),
  Add: sum,
  Sum: sum,
  Mean: (g, n, dY) => {
    const share = g.div(dY, g.number(n.node.inputs.length, n.y()));
    return n.node.inputs.map((x, i) => (n.wants(i) ? g.sumTo(share, n.y(), x) : undefined));
  },
  Sub: (g, n, dY) => [
    n.wants(0) ? g.sumTo(dY, n.y(), n.x(0)) : undefined,
    n.wants(1) ? g.sumTo(g.neg(dY), n.y(), n.x(1)) : undefined,
  ],
  // Y = A·B  ⇒  dA = dY·B,  dB = dY·A
  Mul: (g, n, dY) => [
    n.wants(0) ? g.sumTo(g.mul(dY, n.x(1)), n.y(), n.x(0)) : undefined,
    n.wants(1) ? g.sumTo(g.mul(dY, n.x(0)), n.y(), n.x(1)) : undefined,
  ],
  // Y = A/B  ⇒  dA = dY/B,  dB = -dA·Y
  Div: (g, n, dY) => {
    const quotient = g.div(dY, n.x(1));
    return [
      n.wants(0) ? g.sumTo(quotient, n.y(), n.x(0)) : undefined,
      n.wants(1) ? g.sumTo(g.neg(g.mul(quotient, n.y())), n.y(), n.x(1)) : undefined,
    ];
  },
  // Y = A^P  ⇒  dA = dY·P·A^(P-1),  dP = dY·Y·ln A, taken as 0 where A ≤ 0
  Pow: (g, n, dY) => {
    const [a, y] = [n.x(0), n.y()];
    const exponent = g.dtype(n.x(1)) === g.dtype(a) ? n.x(1) : g.castLike(n.x(1), a);
    const squares = n.knownNumber(1) === 2;
    const one = g.number(1, a);
    const derivative = () => (squares ? a : g.op("Pow", [a, g.sub(exponent, one)]));
    const logarithm = () => g.op("Log", [g.where(g.greater(a, g.number(0, a)), a, one)]);
    return [
      n.wants(0) ? g.sumTo(g.mul(dY, g.mul(exponent, derivative())), y, a) : undefined,
      n.wants(1) ? g.sumTo(g.mul(dY, g.mul(y, logarithm())), y, n.x(1)) : undefined,
    ];
  },
  Max: minMax,
  Min: minMax,
  Where: (g, n, dY) => {
    const zero = g.number(0, n.y());
    return [
      undefined,
      n.wants(1) ? g.sumTo(g.where(n.x(0), dY, zero), n.y(), n.x(1)) : undefined,
      n.wants(2) ? g.sumTo(g.where(n.x(0), zero, dY), n.y(), n.x(2)) : undefined,
    ];
  },
  Neg: unary((g, dY) => g.neg(dY)),
  Abs: unary((g, dY, x) => g.mul(dY, g.op("Sign", [x]))),
  Exp: unary((g, dY, _x, y) => g.mul(dY, y)),
  Log: unary((g, dY, x) => g.div(dY, x)),
  Sqrt: unary((g, dY, _x, y) => g.div(g.mul(dY, g.number(0.5, y)), y)),
  Reciprocal: unary((g, dY, _x, y) => g.neg(g.mul(dY, g.mul(y, y)))),
  Sin: unary((g, dY, x) => g.mul(dY, g.op("Cos", [x]))),
  Cos: unary((g, dY, x) => g.neg(g.mul(dY, g.op("Sin", [x])))),
  Tan: unary((g, dY, _x, y) => g.mul(dY, onePlusSquare(g, y))),
  Sinh: unary((g, dY, x) => g.mul(dY, g.op("Cosh", [x]))),
  Cosh: unary((g, dY, x) => g.mul(dY, g.op("Sinh", [x]))),
  Asin: unary((g, dY, x) => g.div(dY, g.op("Sqrt", [oneMinusSquare(g, x)]))),
  Acos: unary((g, dY, x) => g.neg(g.div(dY, g.op("Sqrt", [oneMinusSquare(g, x)])))),
  Atan: unary((g, dY, x) => g.div(dY, onePlusSquare(g, x))),
  Asinh: unary((g, dY, x) => g.div(dY, g.op("Sqrt", [onePlusSquare(g, x)]))),
  Acosh: unary((g, dY, x) => g.div(dY, g.op("Sqrt", [g.sub(g.mul(x, x), g.number(1, x))]))),
  Atanh: unary((g, dY, x) => g.div(dY, oneMinusSquare(g, x))),
  // dY·2/√π·exp(-X²)
  Erf: unary((g, dY, x) => g.mul(dY, g.mul(g.number(2 / Math.sqrt(Math.PI), x), g.exp(g.neg(g.mul(x, x)))))),

  // Measured: onnxruntime takes three passes for a Where.
  Relu: unary((g, dY, _x, y) => g.mul(dY, g.castLike(g.greater(y, g.number(0, y)), y))),
  LeakyRelu: unary((g, dY, x, _y, n) =>
    g.where(g.greater(x, g.number(0, x)), dY, g.mul(dY, g.number(n.float("alpha", 0.01), x))),
  ),
  ThresholdedRelu: unary((g, dY, x, _y, n) =>
    g.where(g.greater(x, g.number(n.float("alpha", 1), x)), dY, g.number(0, x)),
  ),
  PRelu: (g, n, dY) => {
    const [x, slope] = [n.x(0), n.x(1)];
    const positive = g.greater(x, g.number(0, x));
    return [
      n.wants(0) ? g.where(positive, dY, g.mul(dY, slope)) : undefined,
      n.wants(1) ? g.sumTo(g.where(positive, g.number(0, x), g.mul(dY, x)), n.y(), slope) : undefined,
    ];
  },
  // Below zero Y = α(eˣ - 1), whose derivative is Y + α.
  Elu: unary((g, dY, x, y, n) =>
    g.where(g.greater(x, g.number(0, x)), dY, g.mul(dY, g.add(y, g.number(n.float("alpha", 1), x)))),
  ),
  // Below zero Y = α(exp(X/α) - 1), whose derivative is Y/α + 1.
  Celu: unary((g, dY, x, y, n) => {
    const below = g.add(g.div(y, g.number(n.float("alpha", 1), x)), g.number(1, x));
    return g.where(g.greater(x, g.number(0, x)), dY, g.mul(dY, below));
  }),
  Selu: unary((g, dY, x, y, n) => {
    const alpha = n.float("alpha", 1.6732631921768188);
    const gamma = n.float("gamma", 1.0507010221481323);
    const below = g.add(y, g.number(alpha * gamma, x));
    return g.where(g.greater(x, g.number(0, x)), g.mul(dY, g.number(gamma, x)), g.mul(dY, below));
  }),
  // dY·Y first: behind a gate Y·b that is dY'·Y·b, in which a loop's step finds a product that it already has.
  Sigmoid: unary((g, dY, _x, y) => g.mul(g.mul(dY, y), g.sub(g.number(1, y), y))),
  Tanh: unary((g, dY, _x, y) => g.mul(dY, oneMinusSquare(g, y))),
  Softplus: unary((g, dY, x) => g.mul(dY, g.op("Sigmoid", [x]))),
  Softsign: unary((g, dY, x) => {
    const denominator = g.add(g.number(1, x), g.op("Abs", [x]));
    return g.div(dY, g.mul(denominator, denominator));
  }),
  HardSigmoid: unary((g, dY, _x, y, n) =>
    g.where(
      between(g, y, g.number(0, y), g.number(1, y)),
      g.mul(dY, g.number(n.float("alpha", Math.fround(0.2)), y)),
      g.number(0, y),
    ),
  ),
  // X·(X/6 + 1/2) between -3 and 3
  HardSwish: unary((g, dY, x) => {
    const middle = g.add(g.mul(x, g.number(1 / 3, x)), g.number(0.5, x));
    const above = g.where(g.op("GreaterOrEqual", [x, g.number(3, x)]), g.number(1, x), middle);
    return g.mul(dY, g.where(g.op("LessOrEqual", [x, g.number(-3, x)]), g.number(0, x), above));
  }),
  // Y = X·tanh(s), s = softplus X  ⇒  dX = dY·(tanh s + X·(1 - tanh² s)·sigmoid X)
  Mish: unary((g, dY, x) => {
    const t = g.op("Tanh", [g.op("Softplus", [x])]);
    return g.mul(dY, g.add(t, g.mul(x, g.mul(oneMinusSquareOf(g, t, x), g.op("Sigmoid", [x])))));
  }),
  Gelu: unary((g, dY, x, _y, n) => (n.text("approximate", "none") === "tanh" ? geluTanh(g, dY, x) : gelu(g, dY, x))),
  Clip: unary((g, dY, x, _y, n) => {
    const low = n.constantNumber(1) ?? Number.NEGATIVE_INFINITY;
    const high = n.constantNumber(2) ?? Number.POSITIVE_INFINITY;
    return g.where(between(g, x, g.number(low, x), g.number(high, x)), dY, g.number(0, x));
  }),
  Cast: castBack,
  CastLike: castBack,
  // Y = X·mask/(1 - ratio) in training; the mask is the operator's own second output.
  Dropout: (g, n, dY) => {
    if (!n.has(2) || n.knownNumber(2) === 0) return [dY];
    const ratio = n.constantNumber(1) ?? 0.5;
    const mask = g.castLike(n.y(1), n.x(0));
    return [g.mul(dY, g.mul(mask, g.number(1 / (1 - ratio), n.x(0))))];
  },
});

function oneMinusSquareOf(g: GradientEmitter, value: string, like: string): string {
  return g.sub(g.number(1, like), g.mul(value, value));
}

// Φ the normal distribution, φ its density: dX = dY·(Φ(X) + X·φ(X))
function gelu(g: GradientEmitter, dY: string, x: string): string {
  const k = (value: number) => g.number(value, x);
  const cumulative = g.mul(k(0.5), g.add(k(1), g.op("Erf", [g.mul(x, k(Math.SQRT1_2))])));
  const density = g.mul(k(1 / Math.sqrt(2 * Math.PI)), g.exp(g.mul(g.mul(x, x), k(-0.5))));
  return g.mul(dY, g.add(cumulative, g.mul(x, density)));
}

// t = tanh(k₀X(1 + k₁X²))  ⇒  dX = dY·½·(1 + t + X·(1 - t²)·k₀(1 + 3k₁X²))
function geluTanh(g: GradientEmitter, dY: string, x: string): string {
  const k = (value: number) => g.number(value, x);
  const [k0, k1] = [Math.sqrt(2 / Math.PI), 0.044715];
  const x2 = g.mul(x, x);
  const t = g.op("Tanh", [g.mul(k(k0), g.mul(x, g.add(k(1), g.mul(k(k1), x2))))]);
  const dT = g.mul(oneMinusSquareOf(g, t, x), g.mul(k(k0), g.add(k(1), g.mul(k(3 * k1), x2))));
  return g.mul(dY, g.mul(k(0.5), g.add(g.add(k(1), t), g.mul(x, dT))));
}

function castBack(g: GradientEmitter, n: RuleNode, dY: string) {
  const from = g.dtype(n.x(0));
  if (!from.startsWith("float") && from !== "bfloat16") throw n.refuse(`it casts from ${from}`);
  return [g.castLike(dY, n.x(0))];
}
