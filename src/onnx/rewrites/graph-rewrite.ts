import type { NodeProto, ValueInfoProto } from "../../gen/onnx/onnx.js";

/** What one rewrite changes in the main graph, by index as in ModelPatch, and what it tells the operator. */
export interface GraphRewrite {
  readonly nodes: ReadonlyMap<number, readonly NodeProto[]>;
  readonly outputs: ReadonlyMap<number, ValueInfoProto>;
  readonly sentences: readonly string[];
  /** Whether the new nodes are of ONNX's own operator set, which a model of another domain alone need not import. */
  readonly needsOperatorSet: boolean;
}
