import { type GraphProto, type ModelProto, OperatorSetIdProto } from "../../gen/onnx/onnx.js";
import type { ClassLabels } from "../model-description.js";
import type { ModelPatch } from "../patch-model.js";
import { rewriteZipMaps } from "./zip-map.js";

export interface RewrittenModel {
  /** As it will run. */
  readonly graph: GraphProto;
  /** undefined when the file stays as it is. */
  readonly patch: ModelPatch | undefined;
  readonly sentences: readonly string[];
  readonly classLabels: ReadonlyMap<string, ClassLabels>;
}

/** Changes what the runtime here cannot serve into what it can, where that can be done exactly. */
export function rewriteModel(model: ModelProto, graph: GraphProto): RewrittenModel {
  const rewrite = rewriteZipMaps(graph);
  const { nodes, outputs, sentences, classLabels } = rewrite;
  if (nodes.size === 0) return { graph, patch: undefined, sentences, classLabels };
  const rewritten: GraphProto = {
    ...graph,
    node: graph.node.flatMap((node, index) => nodes.get(index) ?? [node]),
    output: graph.output.map((output, index) => outputs.get(index) ?? output),
  };
  const imported = model.opsetImport.some(({ domain }) => domain === "" || domain === "ai.onnx");
  const added = rewrite.needsOperatorSet && !imported ? [OperatorSetIdProto.create({ version: 15n })] : [];
  const patch = { nodes, outputs, operatorSets: [...model.opsetImport, ...added] };
  return { graph: rewritten, patch, sentences, classLabels };
}
