import { encodeModel, floats, GraphBuilder } from "../../src/onnx/index.js";
import { floatTensor, int64Tensor } from "./test-models.js";

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * A graph of a few operators with axes and shapes chosen at random, most of which no row survives: for asking whether
 * what the batch-axis proof accepts does keep rows apart. Many are not valid; the runtime tells.
 */
export function randomGraph(random: () => number): Uint8Array {
  const pick = <T>(...choices: readonly T[]): T => choices[Math.floor(random() * choices.length)]!;
  const some = (count: number, ...choices: readonly number[]) => Array.from({ length: count }, () => pick(...choices));
  const graph = new GraphBuilder("random");
  const shape: (string | number)[] = ["N", ...some(pick(0, 1, 1, 2, 2), 1, 2, 3, 4)];
  const values = [graph.input("x", "float32", shape)];
  if (random() < 0.3) values.push(graph.input("z", "float32", pick(shape, ["N", 2], ["N", 1])));
  let constants = 0;
  const value = () => pick(...values, values.at(-1)!, values.at(-1)!);
  const list = (...numbers: number[]) =>
    graph.initializer(`c${++constants}`, int64Tensor([numbers.length], ...numbers));
  const scalar = (number: number) => graph.initializer(`c${++constants}`, int64Tensor([], number));
  const weights = (...sizes: number[]) => {
    const count = sizes.reduce((all, size) => all * size, 1);
    const data = Array.from({ length: count }, () => random() * 2 - 1);
    return graph.initializer(`c${++constants}`, floatTensor(sizes, ...data));
  };
  const size = () => pick(1, 2, 3, 4);
  const axis = () => pick(0, 1, 2, -1, -2, -3);
  const rowCount = () => graph.node("Slice", [graph.node("Shape", [value()]), list(0), list(1)]);
  const dimension = () =>
    pick(
      () => list(pick(-1, 0, 1, 2, 3, 4, 6)),
      () => list(size()),
      rowCount,
    )();
  const shapeValue = () => graph.node("Concat", [dimension(), ...some(pick(0, 1, 2), 0).map(dimension)], { axis: 0 });
  const operators: (() => string)[] = [
    () => graph.node(pick("Relu", "Tanh", "Neg"), [value()]),
    () => graph.node(pick("Add", "Mul", "Sub", "Max"), [value(), value()]),
    () => graph.node(pick("Add", "Mul"), [value(), weights(...some(pick(0, 1, 2), 1, 2, 3))]),
    () => graph.node("Transpose", [value()], pick({}, { perm: [1, 0] }, { perm: [2, 0, 1] }, { perm: [0, 2, 1] })),
    () => graph.node("Reshape", [value(), list(...some(pick(1, 2, 3), -1, 0, 0, 1, 2, 3, 4, 6))]),
    () => graph.node("Reshape", [value(), shapeValue()]),
    () => graph.node("Flatten", [value()], { axis: pick(0, 1, 1, 2, -1) }),
    () => graph.node(pick("ReduceSum", "ReduceMean", "ReduceMax"), [value(), list(axis())], { keepdims: pick(0, 1) }),
    () => graph.node("ReduceSum", [value()], { noop_with_empty_axes: pick(0, 1) }),
    () => graph.node(pick("Softmax", "LogSoftmax", "Hardmax"), [value()], { axis: axis() }),
    () => graph.node("LayerNormalization", [value(), weights(size())], { axis: axis() }),
    () => graph.node("CumSum", [value(), scalar(axis())]),
    () => graph.node("TopK", [value(), list(pick(1, 1, 2))], { axis: axis() }, { outputs: [`t${++constants}`, ""] }),
    () => graph.node("MatMul", [value(), value()]),
    () => graph.node("MatMul", [value(), weights(...some(pick(1, 2, 2, 3), 1, 2, 3, 4))]),
    () => graph.node("MatMul", [weights(...some(pick(1, 2, 2, 3), 1, 2, 3, 4)), value()]),
    () =>
      graph.node("Gemm", [value(), weights(size(), size()), weights(...some(pick(0, 1, 2), 1, 2))], {
        transA: pick(0, 1),
      }),
    () =>
      graph.node("Einsum", [value(), weights(size(), size())], {
        equation: pick("ab,bc->ac", "abc,cd->abd", "ab,ac->bc"),
      }),
    () => graph.node("Concat", [value(), value()], { axis: axis() }),
    () =>
      graph.node(
        "Split",
        [value()],
        { axis: axis(), num_outputs: 2 },
        { outputs: [`s${++constants}`, `s${constants}b`] },
      ),
    () => graph.node("Slice", [value(), list(pick(0, 1, -1)), list(pick(1, 2, -1, 2 ** 40)), list(axis())]),
    () => graph.node("Gather", [value(), pick(scalar(0), list(0), list(0, -1))], { axis: axis() }),
    () =>
      graph.node("Gather", [
        weights(2, size()),
        graph.node("Cast", [graph.node("Sign", [graph.node("Relu", [value()])])], { to: 7 }),
      ]),
    () => graph.node("Squeeze", [value(), list(axis())]),
    () => graph.node("Squeeze", [value()]),
    () => graph.node("Unsqueeze", [value(), list(axis())]),
    () => graph.node("Expand", [pick(value(), weights(1, size()), weights(1)), shapeValue()]),
    () => graph.node("Tile", [value(), list(...some(pick(1, 2, 3), 1, 1, 2))]),
    () => graph.node("Pad", [value(), list(...some(pick(2, 4, 6), 0, 0, 0, 1))], { mode: pick("constant", "edge") }),
    () => graph.node("ConstantOfShape", [shapeValue()]),
    () =>
      graph.node("Where", [graph.node("Greater", [value(), weights()]), value(), weights(...some(pick(0, 1), 1, 2))]),
    () => graph.node("Trilu", [value()]),
    () => graph.node("Conv", [value(), weights(size(), size(), pick(1, 2))]),
    () => graph.node("MaxPool", [value()], { kernel_shape: [pick(1, 2)] }),
    () => graph.node("GlobalAveragePool", [value()]),
    () => graph.node("InstanceNormalization", [value(), weights(2), weights(2)]),
    () => graph.node("LpNormalization", [value()], { axis: axis(), p: 2 }),
    () =>
      graph.node(
        "OneHot",
        [graph.node("ArgMax", [value()], { axis: axis(), keepdims: pick(0, 1) }), scalar(3), weights(2)],
        { axis: axis() },
      ),
    () => graph.node("Cast", [graph.node(pick("Shape", "Size"), [value()])], { to: 1 }),
    () => graph.node("GatherElements", [value(), graph.node("ArgMax", [value()], { axis: axis() })], { axis: axis() }),
    () =>
      graph.node("Resize", [value(), "", weightsOf([1, 1, 2], [2, 1], [1, 2])], { mode: pick("nearest", "linear") }),
    () =>
      graph.node(
        "RNN",
        [value(), weights(1, 2, size()), weights(1, 2, 2)],
        { hidden_size: 2 },
        { outputs: [`r${++constants}`] },
      ),
    () => graph.node("MeanVarianceNormalization", [value()], pick({}, { axes: [1] }, { axes: [1, 2] })),
    () =>
      graph.node("DequantizeLinear", [graph.node("QuantizeLinear", [value(), weightsOf([0.5]), ""]), weightsOf([0.5])]),
    () => graph.node("Clip", [value(), weightsOf([]), ""]),
    () => graph.node("Elu", [value()], { alpha: floats(0.5) }),
  ];
  function weightsOf(...choices: readonly (readonly number[])[]): string {
    const chosen = pick(...choices);
    return graph.initializer(
      `c${++constants}`,
      floatTensor(chosen.length === 0 ? [] : [chosen.length], ...(chosen.length === 0 ? [0] : chosen)),
    );
  }
  for (let count = pick(1, 2, 3, 4); count > 0; count -= 1) values.push(pick(...operators)());
  const last = values.at(-1)!;
  // Back to the front, where the batch may have gone.
  const output = random() < 0.2 ? graph.node("Transpose", [last]) : last;
  graph.node("Identity", [output], {}, { outputs: ["y"] });
  graph.output("y", "float32", undefined);
  return encodeModel(graph);
}
