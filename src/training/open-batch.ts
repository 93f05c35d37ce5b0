// Many exporters fix the number of rows that a model takes, often to one. Training wants batches: for that, the number
// is opened wherever it stands, and what comes of it is held against the model as it is.
import { capturesOf, encodeGraphModel, type Graph, type GraphNode } from "../onnx/index.js";
import { errorMessage, failedPrecondition } from "../status.js";
import type { Tensor } from "../tensor/index.js";
import { runOnce, verifyExported, withOutput } from "./exported-model.js";
import { numbers } from "./graph-emitter.js";
import type { RawRows } from "./raw-rows.js";

/** How many rows a model takes at a time; undefined: any number. */
export function fixedRows({ inputs }: Graph): number | undefined {
  const sizes = inputs.map(({ shape }) => shape?.[0]).filter((size) => typeof size === "number");
  return sizes[0];
}

/**
 * Lets a graph take any number of rows, in place: its inputs, and shapes that begin with the number it was fixed to.
 * Throws FAILED_PRECONDITION when it then gives other answers, or none.
 * @param file the model as it is
 */
export function openBatch(
  graph: Graph,
  {
    file,
    output,
    rows,
    operatorSets,
  }: {
    readonly file: Uint8Array;
    readonly output: string;
    readonly rows: RawRows;
    readonly operatorSets: ReadonlyMap<string, number>;
  },
): void {
  const fixed = fixedRows(graph);
  if (fixed === undefined) return;
  graph.inputs = graph.inputs.map((input) => {
    if (input.shape?.[0] !== fixed) return input;
    return { ...input, shape: ["N", ...input.shape.slice(1)] };
  });
  const fed = new Set(graph.inputs.map(({ name }) => name));
  for (const node of graph.nodes) {
    const reads = [...node.inputs, ...capturesOf(node)];
    if (!reads.some((name) => fed.has(name))) continue;
    for (const name of node.outputs) fed.add(name);
    if (node.opType === "Reshape" && node.domain === "") openShape(graph, node, fixed);
  }
  const opened = graph.clone();
  opened.outputs = [{ name: output, dtype: undefined, shape: undefined }];
  const feeds = rows.first(2 * fixed + 1);
  const refuse = (error: unknown) =>
    failedPrecondition(
      `the model takes ${fixed} rows at a time and cannot be trained on other numbers of them: ${errorMessage(error)}; export it with an open first axis`,
      { cause: error },
    );
  try {
    const expected = runOnce(encodeGraphModel(opened, { operatorSets }), feeds, output);
    verifyExported(withOutput(file, output), feeds, output, expected, fixed);
  } catch (error) {
    throw refuse(error);
  }
}

/** Size 0 stands for the input's own: where that has as many rows, as many come out. */
function openShape(graph: Graph, node: GraphNode, fixed: number): void {
  if (node.attributes.get("allowzero") === 1) return;
  const name = node.inputs[1]!;
  const sizes = storedSizes(graph, name);
  if (sizes === undefined || sizes[0] !== fixed) return;
  const data = numbers("int64", [0, ...sizes.slice(1)]);
  node.inputs[1] = graph.initializer(graph.fresh("shape"), { dtype: "int64", shape: [sizes.length], data });
}

function storedSizes(graph: Graph, name: string): number[] | undefined {
  const constant = graph.nodes.find(({ opType, outputs }) => opType === "Constant" && outputs.includes(name));
  const value = graph.initializers.get(name) ?? (constant?.attributes.get("value") as Tensor | undefined);
  return value === undefined ? undefined : Array.from(value.data, Number);
}
