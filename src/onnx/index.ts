export type { ModelDescription } from "./model-description.js";
export {
  classifyMethodName,
  type Dimension,
  defaultSignatureKey,
  predictMethodName,
  regressMethodName,
  type Signature,
  type TensorSpec,
} from "./signature.js";
