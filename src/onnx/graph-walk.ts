// Everywhere a model may hold a graph or a tensor: besides the main graph's initializers there are attributes of nodes,
// bodies of If, Loop and Scan, functions and training graphs.
import type {
  AttributeProto,
  FunctionProto,
  GraphProto,
  ModelProto,
  NodeProto,
  SparseTensorProto,
  TensorProto,
} from "../gen/onnx/onnx.js";

/** Every tensor stored in the model, wherever it stands. The decoder has bounded the nesting. */
export function* tensorsOfModel(model: ModelProto): Generator<TensorProto> {
  if (model.graph !== undefined) yield* tensorsOfGraph(model.graph);
  for (const { initialization, algorithm } of model.trainingInfo) {
    if (initialization !== undefined) yield* tensorsOfGraph(initialization);
    if (algorithm !== undefined) yield* tensorsOfGraph(algorithm);
  }
  for (const body of model.functions) yield* tensorsOfFunction(body);
}

/** The nodes of every subgraph below the graph, at any depth; not its own. */
export function* nodesOfSubgraphs(graph: GraphProto): Generator<NodeProto> {
  for (const node of graph.node) {
    for (const body of subgraphsOfNode(node)) {
      yield* body.node;
      yield* nodesOfSubgraphs(body);
    }
  }
}

/** What every node computes, in subgraphs and functions too: "MatMul", "ai.onnx.ml:Scaler". With repetitions. */
export function* operatorsOfModel(model: ModelProto): Generator<string> {
  const bodies = [...(model.graph === undefined ? [] : [model.graph]), ...model.functions];
  for (const { node } of bodies) yield* operatorsOfNodes(node);
}

function* operatorsOfNodes(nodes: readonly NodeProto[]): Generator<string> {
  for (const node of nodes) {
    yield node.domain === "" || node.domain === "ai.onnx" ? node.opType : `${node.domain}:${node.opType}`;
    for (const { node: inner } of subgraphsOfNode(node)) yield* operatorsOfNodes(inner);
  }
}

/** The graphs that a node holds as attributes. */
export function* subgraphsOfNode(node: NodeProto): Generator<GraphProto> {
  for (const { g, graphs } of node.attribute) {
    if (g !== undefined) yield g;
    yield* graphs;
  }
}

/** "Reshape_12", or "norm1 (LayerNormalization)": what errors and reasons call a node. Many have no name of their own. */
export function nodeLabel(node: NodeProto): string {
  const name = node.name || node.output.find((output) => output !== "");
  if (name === undefined) return node.opType;
  return name.includes(node.opType) ? name : `${name} (${node.opType})`;
}

function* tensorsOfGraph(graph: GraphProto): Generator<TensorProto> {
  yield* graph.initializer;
  for (const sparse of graph.sparseInitializer) yield* tensorsOfSparse(sparse);
  yield* tensorsOfNodes(graph.node);
}

function* tensorsOfFunction(body: FunctionProto): Generator<TensorProto> {
  for (const attribute of body.attributeProto) yield* tensorsOfAttribute(attribute);
  yield* tensorsOfNodes(body.node);
}

function* tensorsOfNodes(nodes: readonly NodeProto[]): Generator<TensorProto> {
  for (const node of nodes) for (const attribute of node.attribute) yield* tensorsOfAttribute(attribute);
}

function* tensorsOfAttribute(attribute: AttributeProto): Generator<TensorProto> {
  if (attribute.t !== undefined) yield attribute.t;
  yield* attribute.tensors;
  if (attribute.sparseTensor !== undefined) yield* tensorsOfSparse(attribute.sparseTensor);
  for (const sparse of attribute.sparseTensors) yield* tensorsOfSparse(sparse);
  if (attribute.g !== undefined) yield* tensorsOfGraph(attribute.g);
  for (const graph of attribute.graphs) yield* tensorsOfGraph(graph);
}

function* tensorsOfSparse({ values, indices }: SparseTensorProto): Generator<TensorProto> {
  if (values !== undefined) yield values;
  if (indices !== undefined) yield indices;
}
