export { discardBytes } from "./discard-bytes.js";
export { discardedFromBytes, discardTensor, discardTensors } from "./discard-tensors.js";
export {
  type ElementType,
  type ElementTypeInfo,
  elementTypeInfo,
  elementTypeOfOnnx,
  elementTypeOfOpenInference,
  elementTypeOfTensorflow,
  elementTypes,
  type NumericData,
} from "./dtype.js";
export { bytesOf, copyBytes, readElements, writeElements } from "./element-bytes.js";
export { bfloat16ToNumber, float16ToNumber, numberToFloat16 } from "./float16.js";
export { keepFreedMemory } from "./keep-freed-memory.js";
export { decodeLengthPrefixed, encodeLengthPrefixed } from "./length-prefixed.js";
export { NamedValues } from "./named-values.js";
export { RawTensor } from "./raw-tensor.js";
export {
  byteLength,
  elementCount,
  formatShape,
  isNumeric,
  type NumericTensor,
  type Shape,
  type Tensor,
  viewAs,
} from "./tensor.js";
