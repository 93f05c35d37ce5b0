import { encodeModel, GraphBuilder } from "../../../src/onnx/index.js";

/** A transformer's encoder: [batch, length, width] in and out, with so many heads a block; weights that mean nothing. */
export function transformerModel(length: number, width: number, heads: number, blocks = 1): Uint8Array {
  const graph = new GraphBuilder("transformer");
  let weights = 0;
  const weight = (...shape: number[]) => {
    const name = `weight_${weights++}`;
    const size = shape.reduce((product, each) => product * each, 1);
    const data = Float32Array.from({ length: size }, (_, i) => Math.sin(i + weights) / Math.sqrt(shape[0]!));
    return graph.initializer(name, { dtype: "float32", shape, data });
  };
  const shape = (name: string, ...sizes: number[]) =>
    graph.initializer(name, { dtype: "int64", shape: [sizes.length], data: BigInt64Array.from(sizes, BigInt) });
  const toHeads = shape("to_heads", 0, length, heads, width / heads);
  const fromHeads = shape("from_heads", 0, length, width);
  const scale = graph.initializer("scale", {
    dtype: "float32",
    shape: [],
    data: Float32Array.of(1 / Math.sqrt(width / heads)),
  });
  const normalized = (value: string) =>
    graph.node("LayerNormalization", [value, weight(width), weight(width)], { axis: -1 });
  const perHead = (value: string, ...perm: number[]) =>
    graph.node("Transpose", [graph.node("Reshape", [graph.node("MatMul", [value, weight(width, width)]), toHeads])], {
      perm,
    });

  const block = (x: string) => {
    const first = normalized(x);
    const scores = graph.node("MatMul", [perHead(first, 0, 2, 1, 3), perHead(first, 0, 2, 3, 1)]);
    const attention = graph.node("Softmax", [graph.node("Mul", [scores, scale])], { axis: -1 });
    const mixed = graph.node("MatMul", [attention, perHead(first, 0, 2, 1, 3)]);
    const joined = graph.node("Reshape", [graph.node("Transpose", [mixed], { perm: [0, 2, 1, 3] }), fromHeads]);
    const attended = graph.node("Add", [x, graph.node("MatMul", [joined, weight(width, width)])]);
    const hidden = graph.node("Relu", [graph.node("MatMul", [normalized(attended), weight(width, 4 * width)])]);
    return graph.node("Add", [attended, graph.node("MatMul", [hidden, weight(4 * width, width)])]);
  };
  let value = graph.input("x", "float32", ["batch", length, width]);
  for (let i = 0; i < blocks; i++) value = block(value);
  graph.node("Identity", [value], {}, { outputs: ["y"] });
  graph.output("y", "float32", ["batch", length, width]);
  return encodeModel(graph);
}
