// Operators whose output elements each depend on the input elements of the same place.
import { batch, broadcast, holdsBatchSize, type Layout, type Size } from "./layout.js";
import type { Operation, Rule } from "./operation.js";

const sameLayout = ({ axis, shape }: Layout): Layout => ({ axis, shape, elements: undefined, reals: undefined });

const elementwise: Rule = (operation) => [sameLayout(operation.input(0))];

const broadcasting: Rule = (operation) => {
  // Before these versions, "broadcast" and "axis" attributes meant another rule.
  if (operation.has("broadcast") || operation.has("axis")) operation.refuse("broadcasts the way of old operator sets");
  return [broadcast(operation, operation.inputs)];
};

const oneInput = [
  ...["Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Ceil", "Celu", "Cos", "Cosh", "Elu"],
  ...["Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg"],
  ...["Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus"],
  ...["Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu", "RegexFullMatch"],
];

const severalInputs = [
  ...["And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"],
  ...["Max", "Mean", "Min", "Mod", "Or", "Pow", "PRelu", "StringConcat", "Sum", "Xor"],
];

/** Clip's bounds are scalars, or attributes in old operator sets. */
const clip: Rule = (operation) => {
  operation.requireFixed(1, 2);
  return [sameLayout(operation.input(0))];
};

const castLike: Rule = (operation) => [sameLayout(operation.input(0))];

const dropout: Rule = (operation) => {
  operation.requireFixed(1);
  const trains = operation.numbers(2)?.some((mode) => mode !== 0) ?? false;
  if (trains) operation.refuse("drops elements at random");
  const kept = sameLayout(operation.input(0));
  return [kept, kept];
};

/** Scale and zero point may be one for each slice of an axis, which must not be the batch. */
const quantize: Rule = (operation) => {
  operation.requireFixed(1, 2);
  const input = operation.input(0);
  if (operation.has("block_size") && operation.int("block_size", 0) !== 0) operation.refuse("quantizes block by block");
  const scales = operation.input(1).shape;
  const oneForAll = scales?.every((size) => size === 1) === true && scales.length <= 1;
  if (input.axis !== undefined && !oneForAll) {
    const rank = operation.shape(0).length;
    if (operation.axis(operation.int("axis", 1), rank) === input.axis) operation.refuse("scales each row differently");
  }
  return [sameLayout(input)];
};

const identity: Rule = (operation) => [operation.input(0)];

const onnxInt32 = 6;
const onnxInt64 = 7;
const onnxBool = 9;

const cast: Rule = (operation) => {
  const input = operation.input(0);
  const to = operation.int("to", 0);
  if (to === onnxInt64 || to === onnxInt32) {
    const elements = input.elements ?? input.reals?.map(Math.trunc);
    const fits = (size: Size) => typeof size !== "number" || Math.abs(size) < 2 ** 31;
    if (elements?.every(fits) || to === onnxInt64) return [{ ...sameLayout(input), elements }];
  }
  if (to === onnxBool && input.elements !== undefined) {
    const truth = (size: Size) => (typeof size === "number" ? Number(size !== 0) : undefined);
    if (!holdsBatchSize(input)) return [{ ...sameLayout(input), elements: input.elements.map(truth) }];
  }
  if (holdsBatchSize(input)) operation.refuse("computes with the batch size");
  return [sameLayout(input)];
};

type Arithmetic = (operation: Operation, a: Size, b: Size) => Size;

/** Arithmetic that exporters do on shapes; on all else it is broadcasting. */
const sizeArithmetic =
  (compute: Arithmetic): Rule =>
  (operation) => {
    if (operation.version < 7) return broadcasting(operation);
    const [left, right] = [operation.input(0), operation.input(1)];
    const elements = zipSizes(operation, [left, right], ([a, b]) => compute(operation, a, b));
    const [layout] = broadcasting(operation);
    return [{ ...layout!, elements }];
  };

const notWithBatch = (operation: Operation, a: Size, b: Size): undefined => {
  if (a === batch || b === batch) operation.refuse("computes with the batch size");
  return undefined;
};
const exactly = (value: number): Size => (Number.isSafeInteger(value) ? value : undefined);
const numbers = (operation: Operation, a: Size, b: Size, compute: (a: number, b: number) => number): Size =>
  typeof a === "number" && typeof b === "number" ? exactly(compute(a, b)) : notWithBatch(operation, a, b);

const add: Arithmetic = (operation, a, b) => {
  if (a === 0) return b;
  return b === 0 ? a : numbers(operation, a, b, (x, y) => x + y);
};
const subtract: Arithmetic = (operation, a, b) => (b === 0 ? a : numbers(operation, a, b, (x, y) => x - y));
const multiply: Arithmetic = (operation, a, b) => {
  if (a === 1) return b;
  return b === 1 ? a : numbers(operation, a, b, (x, y) => x * y);
};
// A division by zero becomes infinite here, which is not exact.
const divide: Arithmetic = (operation, a, b) => (b === 1 ? a : numbers(operation, a, b, (x, y) => Math.trunc(x / y)));
const equal: Arithmetic = (operation, a, b) => {
  if (typeof a === "number" && typeof b === "number") return Number(a === b);
  // A size is never negative: exporters ask for "-1, as it was" this way.
  if ((typeof a === "string" && isNegative(b)) || (typeof b === "string" && isNegative(a))) return 0;
  return notWithBatch(operation, a, b);
};
const isNegative = (size: Size) => typeof size === "number" && size < 0;

const where: Rule = (operation) => {
  const inputs = [operation.input(0), operation.input(1), operation.input(2)];
  const elements = zipSizes(operation, inputs, ([condition, a, b]) => {
    if (condition === batch) operation.refuse("computes with the batch size");
    if (typeof condition !== "number") return a === b ? a : notWithBatch(operation, a, b);
    return condition === 0 ? b : a;
  });
  const layout = broadcast(operation, inputs);
  return [{ ...layout, elements }];
};

/** Element by element, where all are known lists; refuses where a list with the batch size meets an unknown one. */
function zipSizes(
  operation: Operation,
  layouts: readonly Layout[],
  compute: (sizes: readonly Size[]) => Size,
): Size[] | undefined {
  if (layouts.some(({ elements }) => elements === undefined)) {
    if (layouts.some(holdsBatchSize)) operation.refuse("computes with the batch size");
    return undefined;
  }
  const lists = layouts.map(({ elements }) => elements!);
  const length = lists.find((list) => list.length !== 1)?.length ?? 1;
  if (lists.some((list) => list.length !== 1 && list.length !== length)) return undefined;
  return Array.from({ length }, (_, i) => compute(lists.map((list) => (list.length === 1 ? list[0] : list[i]))));
}

const random: Rule = (operation) => operation.refuse("draws random numbers");

/** Those that never see the batch size as a number: the proof refuses it before it asks them. */
export const elementwiseRules: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries(oneInput.map((name) => [name, elementwise])),
  ...Object.fromEntries(severalInputs.map((name) => [name, broadcasting])),
  CastLike: castLike,
  Clip: clip,
  Dropout: dropout,
  QuantizeLinear: quantize,
  DequantizeLinear: quantize,
  Bernoulli: random,
  Multinomial: random,
  RandomNormal: random,
  RandomNormalLike: random,
  RandomUniform: random,
  RandomUniformLike: random,
};

/** Those that know what to do with it. */
export const elementwiseSizeRules: Readonly<Record<string, Rule>> = {
  Identity: identity,
  Cast: cast,
  Add: sizeArithmetic(add),
  Sub: sizeArithmetic(subtract),
  Mul: sizeArithmetic(multiply),
  Div: sizeArithmetic(divide),
  Equal: sizeArithmetic(equal),
  Where: where,
};
