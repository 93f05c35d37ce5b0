import { type GraphProto, type ModelProto, OperatorSetIdProto } from "../../gen/onnx/onnx.js";
import type { ClassLabels } from "../model-description.js";
import type { ModelPatch } from "../patch-model.js";
import { guardDivisions } from "./guard-divisions.js";
import { adaptOperators } from "./opset-adapters.js";
import { rewriteZipMaps } from "./zip-map.js";

export interface RewrittenModel {
  /** As it will run. */
  readonly graph: GraphProto;
  readonly operatorSets: readonly OperatorSetIdProto[];
  /** undefined when the file stays as it is. */
  readonly patch: ModelPatch | undefined;
  /** What was changed, a sentence each, for the operator. */
  readonly sentences: readonly string[];
  /** By the name of an output that was a sequence of maps. */
  readonly classLabels: ReadonlyMap<string, ClassLabels>;
}

/** Changes what the runtime here cannot serve, or would die of, into what it can, where that can be done exactly. */
export function rewriteModel(model: ModelProto, graph: GraphProto): RewrittenModel {
  const zipMaps = rewriteZipMaps(graph);
  const adapted = adaptOperators(graph, model.opsetImport);
  const { outputs, classLabels } = zipMaps;
  const operatorSets = adapted?.operatorSets ?? model.opsetImport;
  // One takes nodes of ai.onnx.ml, the other of ONNX's own operators: no node has two replacements.
  const replaced = new Map([...zipMaps.nodes, ...(adapted?.nodes ?? [])]);
  const guarded = guardDivisions(model, graph, replaced, operatorSets);
  if (replaced.size === 0 && guarded === undefined) {
    return { graph, operatorSets, patch: undefined, sentences: [], classLabels };
  }
  const { nodes = replaced, subgraphs } = guarded?.graph ?? {};
  const patch: ModelPatch = {
    nodes,
    outputs,
    operatorSets: withOnnxOperators(operatorSets),
    ...(subgraphs !== undefined && { subgraphs }),
    ...(guarded !== undefined && { functions: guarded.functions }),
  };
  const rewritten: GraphProto = {
    ...graph,
    node: graph.node.flatMap((node, index) => nodes.get(index) ?? [node]),
    output: graph.output.map((output, index) => outputs.get(index) ?? output),
  };
  const sentences = [...zipMaps.sentences, ...(adapted?.sentences ?? []), ...(guarded?.sentences ?? [])];
  return { graph: rewritten, operatorSets: patch.operatorSets ?? operatorSets, patch, sentences, classLabels };
}

/** New nodes are of ONNX's own operators, which a model need not import when all of its nodes are of another domain. */
function withOnnxOperators(operatorSets: readonly OperatorSetIdProto[]): readonly OperatorSetIdProto[] {
  if (operatorSets.some(({ domain }) => domain === "" || domain === "ai.onnx")) return operatorSets;
  return [...operatorSets, OperatorSetIdProto.create({ version: 15n })];
}
