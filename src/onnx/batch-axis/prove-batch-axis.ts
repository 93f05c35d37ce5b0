import type { GraphProto, OperatorSetIdProto } from "../../gen/onnx/onnx.js";
import type { BatchingVerdict } from "../model-description.js";
import type { Dimension, TensorSpec } from "../signature.js";
import { tensorLayout } from "./constant.js";
import { inferOutputs } from "./infer-outputs.js";
import { batch, fixed, type Layout, type Size } from "./layout.js";
import { Refusal } from "./operation.js";

/** A graph as it will run, with what it takes and gives. */
export interface ProvenGraph {
  readonly graph: GraphProto;
  readonly operatorSets: readonly OperatorSetIdProto[];
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/**
 * Whether row i of every output depends on row i of the inputs alone, for any number of rows, so that several calls'
 * rows may run as one. "The batch is axis k" is carried from the inputs through every node; a node without a rule, or
 * whose rows may meet, ends the proof, and its reason is the verdict's.
 *
 * What is proven is about values: a run that fails for one row fails for all rows of it, and sums may differ in their
 * last bits, since the runtime adds up in another order for another number of rows.
 */
export function proveBatchAxis(given: ProvenGraph): BatchingVerdict {
  try {
    const layouts = inputLayouts(given.inputs);
    for (const tensor of given.graph.initializer) layouts.set(tensor.name, tensorLayout(tensor));
    for (const { values } of given.graph.sparseInitializer) layouts.set(values?.name ?? "", fixed(undefined));
    for (const node of given.graph.node) inferOutputs(layouts, node, given.operatorSets);
    for (const output of given.outputs) requireRows(output, layouts.get(output.name));
    return { provenSafe: true, reason: `rows stay apart through every node (${given.graph.node.length})` };
  } catch (error) {
    if (error instanceof Refusal) return { provenSafe: false, reason: error.message };
    throw error;
  }
}

function inputLayouts(inputs: readonly TensorSpec[]): Map<string, Layout> {
  const [first] = inputs;
  if (first === undefined) throw new Refusal("the graph has no inputs");
  const layouts = new Map<string, Layout>();
  for (const { name, shape } of inputs) {
    const label = `input "${name}"`;
    if (shape === undefined) throw new Refusal(`${label} may have any rank`);
    if (shape.length === 0) throw new Refusal(`${label} is a scalar, without a batch axis`);
    const [rows] = shape;
    if (typeof rows === "number") throw new Refusal(`${label} has the fixed size ${rows} on axis 0`);
    if (rows !== first.shape?.[0]) throw new Refusal(`${label} names axis 0 differently than input "${first.name}"`);
    if (rows !== undefined && shape.includes(rows, 1)) throw new Refusal(`${label} has two axes named "${rows}"`);
    layouts.set(name, { ...fixed(shape.map((size, axis) => sizeOf(name, size, axis))), axis: 0 });
  }
  return layouts;
}

/** Open sizes get a name for each place, since nobody holds a request to sizes of one name being equal. */
function sizeOf(input: string, size: Dimension, axis: number): Size {
  if (axis === 0) return batch;
  return typeof size === "number" ? size : `?${input}:${axis}`;
}

function requireRows({ name, shape }: TensorSpec, layout: Layout | undefined): void {
  const label = `output "${name}"`;
  if (layout === undefined) throw new Refusal(`${label} is made by no node`);
  if (layout.axis === undefined) throw new Refusal(`${label} does not follow the rows`);
  if (layout.axis !== 0) throw new Refusal(`${label} has the batch on axis ${layout.axis}`);
  const declared = shape?.[0];
  if (typeof declared === "number") throw new Refusal(`${label} has the fixed size ${declared} on axis 0`);
}
