import { Graph } from "../../../src/onnx/index.js";
import { GraphEmitter } from "../../../src/training/graph-emitter.js";
import { checkGradients, type Real } from "../../support/finite-differences.js";

/** h' = tanh(h·W + x·s), where x is scanned, W is read from around the body and s counts the steps. */
function countingBody(outer: Graph, weights: string, real: Real, scale?: (body: GraphEmitter, h: string) => string) {
  const graph = new Graph(outer);
  const body = new GraphEmitter(graph);
  const h = graph.input(graph.fresh("h"), real, [undefined, 3]);
  const count = graph.input(graph.fresh("count"), "int64", []);
  const x = graph.input(graph.fresh("x"), real, [undefined, 3]);
  const more = body.add(count, body.scalar(1, "int64"));
  const sum = body.add(body.matMul(h, weights), body.mul(x, body.cast(more, real)));
  const next = body.op("Tanh", [scale === undefined ? sum : body.mul(sum, scale(body, h))]);
  graph.output(next, real, [undefined, 3]);
  graph.output(more, "int64", []);
  graph.output(body.mul(next, x), real, [undefined, 3]);
  return graph;
}

const inputs = [{ shape: ["N", 3] }, { shape: [3, 3] }, { shape: [4, "N", 3] }] as const;

checkGradients("Scan", [
  {
    name: "states, one of them a counter; captured weights; scanned inputs and outputs",
    inputs,
    build: (e, [h, w, x], real) => {
      const body = countingBody(e.graph, w!, real);
      const [last, , all] = e.ops("Scan", [h!, e.scalar(0, "int64"), x!], 3, { body, num_scan_inputs: 1 });
      return e.concat([all!, e.unsqueeze(last!, [0])], 0);
    },
  },
  {
    name: "only the last state is used, the input scanned from its end",
    inputs,
    build: (e, [h, w, x], real) => {
      const attributes = {
        body: countingBody(e.graph, w!, real),
        num_scan_inputs: 1,
        scan_input_directions: [1],
        scan_output_directions: [1],
      };
      return e.ops("Scan", [h!, e.scalar(0, "int64"), x!], 3, attributes)[0]!;
    },
  },
  {
    name: "rows as columns; a matrix from around the body on the left of a product, and one of the body's own",
    inputs: [{ shape: [3, "N"] }, { shape: [3, 3] }, { shape: [4, "N", 3] }, { shape: [3, 1] }],
    build: (e, [h, w, x, bias], real) => {
      const graph = new Graph(e.graph);
      const body = new GraphEmitter(graph);
      const state = graph.input(graph.fresh("h"), real, [3, undefined]);
      const row = graph.input(graph.fresh("x"), real, [undefined, 3]);
      const own = body.constant(real, [3, 3], [0.5, -0.2, 0.1, 0.3, 0.4, -0.6, 0.2, 0.7, -0.3]);
      const fromInput = body.op("Gemm", [w!, row, bias!], { transB: 1 });
      const next = body.op("Tanh", [body.op("Gemm", [own, body.op("Gemm", [w!, state, fromInput])])]);
      graph.output(next, real, [3, undefined]);
      graph.output(body.transpose(body.mul(next, next), [1, 0]), real, [undefined, 3]);
      const [last, all] = e.ops("Scan", [h!, x!], 2, { body: graph, num_scan_inputs: 1 });
      return e.concat([all!, e.unsqueeze(e.transpose(last!, [1, 0]), [0])], 0);
    },
  },
  {
    name: "a Scan within a Scan",
    inputs: [{ shape: [2, 3] }, { shape: [3, 3] }, { shape: [4, 2, 3] }],
    build: (e, [h, w, x], real) => {
      // The inner loop runs over the state's rows and multiplies them up, each by a row of W.
      const inner = (body: GraphEmitter, state: string) => {
        const graph = new Graph(body.graph);
        const rows = new GraphEmitter(graph);
        const product = graph.input(graph.fresh("product"), real, [3]);
        const row = graph.input(graph.fresh("row"), real, [3]);
        const firstWeights = rows.squeeze(rows.slice(w!, [0], [1], [0]), [0]);
        graph.output(rows.mul(product, rows.add(row, firstWeights)), real, [3]);
        const one = body.constant(real, [3], [1, 1, 1]);
        return body.op("Scan", [one, state], { body: graph, num_scan_inputs: 1 });
      };
      const body = countingBody(e.graph, w!, real, inner);
      return e.ops("Scan", [h!, e.scalar(0, "int64"), x!], 3, { body, num_scan_inputs: 1 })[2]!;
    },
  },
]);
