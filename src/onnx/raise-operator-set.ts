// Raises a graph to one operator set, so that whoever works on it needs to know one form of each operator. Between
// versions, operators mostly moved attributes into inputs.
import { failedPrecondition } from "../status.js";
import type { Tensor } from "../tensor/index.js";
import { Graph, type GraphAttribute, type GraphNode } from "./graph.js";

/** The operator set graphs are raised to; those already above it stay where they are. */
export const commonOperatorSet = 21;

/**
 * Raises the graph in place from one of ONNX's operator sets; returns the one it is in now.
 * @param shapeOf the shape of a value, as far as its rank and static sizes go; asked for a few operators of sets
 * before 13 only
 */
export function raiseOperatorSet(graph: Graph, from: number, shapeOf: (value: string) => readonly number[]): number {
  if (from >= commonOperatorSet) return from;
  if (from < 7) throw failedPrecondition(`the model is written for operator set ${from}; onnxruntime runs 7 and later`);
  raiseGraph(graph, from, shapeOf);
  return commonOperatorSet;
}

function raiseGraph(graph: Graph, from: number, shapeOf: (value: string) => readonly number[]): void {
  const nodes = graph.nodes;
  graph.nodes = [];
  for (const node of nodes) {
    for (const body of node.attributes.values()) if (body instanceof Graph) raiseGraph(body, from, shapeOf);
    const adapter = node.domain === "" ? adapters[node.opType] : undefined;
    if (adapter === undefined || from >= adapter.before) graph.nodes.push(node);
    else adapter.adapt(new Adaptation(graph, node, from, shapeOf));
  }
}

interface Adapter {
  /** The version from which on the operator has its present form. */
  readonly before: number;
  /** Puts what stands for the node at the end of the graph. */
  adapt(adaptation: Adaptation): void;
}

/** A node on its way: its attributes are taken off and become inputs. */
class Adaptation {
  readonly graph: Graph;
  readonly node: GraphNode;
  readonly from: number;
  readonly shapeOf: (value: string) => readonly number[];

  constructor(graph: Graph, node: GraphNode, from: number, shapeOf: (value: string) => readonly number[]) {
    this.graph = graph;
    this.node = node;
    this.from = from;
    this.shapeOf = shapeOf;
  }

  take(name: string): GraphAttribute | undefined {
    const value = this.node.attributes.get(name);
    this.node.attributes.delete(name);
    return value;
  }
  takeInts(name: string): readonly number[] | undefined {
    return this.take(name) as readonly number[] | undefined;
  }
  takeFloat(name: string): number | undefined {
    const value = this.take(name);
    return value === undefined ? undefined : ((value as { floats: number }).floats as number);
  }

  constant(tensor: Tensor): string {
    return this.graph.initializer(this.graph.fresh("adapted"), tensor);
  }
  ints(values: readonly number[]): string {
    return this.constant({ dtype: "int64", shape: [values.length], data: BigInt64Array.from(values, BigInt) });
  }
  float(value: number): string {
    return this.constant({ dtype: "float32", shape: [], data: Float32Array.of(value) });
  }
  /** Operators before 13 have constants of the type of their data, which must be floats to be trained. */
  floats(values: readonly number[]): string {
    return this.constant({ dtype: "float32", shape: [values.length], data: Float32Array.from(values) });
  }

  setInput(index: number, value: string): void {
    while (this.node.inputs.length < index) this.node.inputs.push("");
    this.node.inputs[index] = value;
  }

  keep(): void {
    this.graph.nodes.push(this.node);
  }
  /** Puts another node in this one's place, with its name and outputs. */
  replace(opType: string, inputs: readonly string[], attributes: Readonly<Record<string, GraphAttribute>> = {}): void {
    this.graph.node(opType, inputs, attributes, { name: this.node.name, outputs: this.node.outputs.slice(0, 1) });
  }
}

/** An attribute that became an input. */
const intsToInput = (before: number, name: string, index: number): Adapter => ({
  before,
  adapt(a) {
    const values = a.takeInts(name);
    if (values !== undefined) a.setInput(index, a.ints(values));
    a.keep();
  },
});

const reduction = intsToInput(18, "axes", 1);

// Before 13 these worked on a matrix: all axes from the given one on were one.
const alongFlattened: Adapter = {
  before: 13,
  adapt(a) {
    const shape = a.shapeOf(a.node.inputs[0]!);
    const given = (a.take("axis") as number | undefined) ?? 1;
    const axis = given < 0 ? given + shape.length : given;
    if (axis === shape.length - 1) {
      a.node.attributes.set("axis", -1);
      a.keep();
      return;
    }
    const [matrix] = a.graph.node("Flatten", a.node.inputs, { axis });
    const [result] = a.graph.node(a.node.opType, [matrix!], { axis: -1 });
    const [sizes] = a.graph.node("Shape", a.node.inputs.slice(0, 1));
    a.replace("Reshape", [result!, sizes!]);
  },
};

const interpolation = {
  coordinate_transformation_mode: "asymmetric",
  nearest_mode: "floor",
} as const;

const adapters: Readonly<Record<string, Adapter>> = {
  Squeeze: intsToInput(13, "axes", 1),
  Unsqueeze: intsToInput(13, "axes", 1),
  ReduceSum: intsToInput(13, "axes", 1),
  ReduceMean: reduction,
  ReduceMax: reduction,
  ReduceMin: reduction,
  ReduceProd: reduction,
  ReduceL1: reduction,
  ReduceL2: reduction,
  ReduceSumSquare: reduction,
  ReduceLogSum: reduction,
  ReduceLogSumExp: reduction,
  Softmax: alongFlattened,
  LogSoftmax: alongFlattened,
  Hardmax: alongFlattened,
  Slice: {
    before: 10,
    adapt(a) {
      const [starts, ends] = [a.takeInts("starts")!, a.takeInts("ends")!];
      const axes = a.takeInts("axes") ?? starts.map((_, axis) => axis);
      [starts, ends, axes].forEach((values, i) => {
        a.setInput(i + 1, a.ints(values));
      });
      a.keep();
    },
  },
  Split: {
    before: 18,
    adapt(a) {
      const sizes = a.takeInts("split");
      if (sizes !== undefined) a.setInput(1, a.ints(sizes));
      else if (a.node.inputs[1] === undefined) a.node.attributes.set("num_outputs", a.node.outputs.length);
      a.keep();
    },
  },
  Clip: {
    before: 11,
    adapt(a) {
      const [low, high] = [a.takeFloat("min"), a.takeFloat("max")];
      if (low !== undefined) a.setInput(1, a.float(low));
      if (high !== undefined) a.setInput(2, a.float(high));
      a.keep();
    },
  },
  Pad: {
    before: 11,
    adapt(a) {
      a.setInput(1, a.ints(a.takeInts("pads")!));
      const value = a.takeFloat("value") ?? 0;
      if (value !== 0) a.setInput(2, a.float(value));
      a.keep();
    },
  },
  TopK: {
    before: 10,
    adapt(a) {
      a.setInput(1, a.ints([a.take("k") as number]));
      a.keep();
    },
  },
  Scatter: {
    before: 21,
    adapt(a) {
      a.replace("ScatterElements", a.node.inputs, { axis: (a.take("axis") as number | undefined) ?? 0 });
    },
  },
  // In a model to be served it does nothing; training turns it on by itself.
  Dropout: {
    before: 12,
    adapt(a) {
      a.replace("Identity", a.node.inputs.slice(0, 1));
    },
  },
  BatchNormalization: {
    before: 14,
    adapt(a) {
      for (const name of ["spatial", "is_test", "consumed_inputs", "momentum"]) a.take(name);
      a.node.outputs.length = 1;
      a.keep();
    },
  },
  // Scale and bias were one number a group.
  GroupNormalization: {
    before: 21,
    adapt(a) {
      const channels = a.shapeOf(a.node.inputs[0]!)[1]!;
      const groups = a.node.attributes.get("num_groups") as number;
      for (const index of [1, 2]) {
        const [column] = a.graph.node("Reshape", [a.node.inputs[index]!, a.ints([groups, 1])]);
        const [table] = a.graph.node("Expand", [column!, a.ints([groups, channels / groups])]);
        a.node.inputs[index] = a.graph.node("Reshape", [table!, a.ints([channels])])[0]!;
      }
      a.keep();
    },
  },
  Upsample: {
    before: 21,
    adapt(a) {
      const scales = a.take("scales") as { readonly floats: readonly number[] } | undefined;
      const given = scales === undefined ? a.node.inputs[1]! : a.floats(scales.floats);
      const mode = (a.take("mode") as string | undefined) ?? "nearest";
      a.replace("Resize", [a.node.inputs[0]!, "", given], { ...interpolation, mode });
    },
  },
  Resize: {
    before: 11,
    adapt(a) {
      const mode = (a.take("mode") as string | undefined) ?? "nearest";
      a.replace("Resize", [a.node.inputs[0]!, "", a.node.inputs[1]!], { ...interpolation, mode });
    },
  },
  Scan: {
    before: 9,
    adapt(a) {
      throw failedPrecondition(`node "${a.node.name}" (operator Scan) is in the form of operator set 8`);
    },
  },
};
