export {
  capturesOf,
  decodeGraphModel,
  type EncodeGraphOptions,
  encodeGraphModel,
  Graph,
  type GraphAttribute,
  type GraphModel,
  type GraphNode,
  type GraphValue,
} from "./graph.js";
export {
  type AttributeValue,
  encodeModel,
  floats,
  GraphBuilder,
  type ModelOptions,
  type NodeOptions,
} from "./graph-builder.js";
export type { BatchingVerdict, ClassLabels, ModelDescription } from "./model-description.js";
export { describeOrtModel, type SessionValueMetadata } from "./ort-model.js";
export { patchWeights, type WeightsPatch } from "./patch-weights.js";
export { commonOperatorSet, raiseOperatorSet } from "./raise-operator-set.js";
export { type ReadLimits, type ReadModel, readModel } from "./read-model.js";
export { readSelfContained, rewriteForRuntime, type SelfContainedModel } from "./self-contained.js";
export {
  classifyMethodName,
  type Dimension,
  defaultSignatureKey,
  type Feature,
  predictMethodName,
  regressMethodName,
  type Signature,
  type TensorSpec,
} from "./signature.js";
export type { ReadExternalData } from "./tensor-data.js";
