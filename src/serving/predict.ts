import type { Signature } from "../onnx/index.js";
import type { ElementType, Shape, Tensor } from "../tensor/index.js";
import type { ModelSpec, ServableId } from "./servable.js";

/**
 * A tensor as a door received it: type and shape are known, nothing has been allocated. Its type and shape are compared
 * with the signature first; only then is it decoded.
 */
export interface TensorSource {
  /** Why it cannot be a tensor ("tensor_content holds 3 bytes; float [1] takes 4"); undefined when it can. */
  readonly invalid: string | undefined;
  /** Meaningless when invalid. */
  readonly dtype: ElementType;
  readonly shape: Shape;
  /** Allocates. May throw INVALID_ARGUMENT where only reading every element shows a fault (strings, bool bytes). */
  decode(): Tensor;
}

export interface PredictRequest {
  readonly modelSpec: ModelSpec;
  /**
   * The inputs by alias. Called once the signature is known, since JSON has no types of its own. Throws a StatusError
   * in the door's own words when the request does not fit the signature.
   */
  readonly inputs: (signature: Signature) => ReadonlyMap<string, TensorSource>;
  /** Output aliases; empty asks for all. */
  readonly outputFilter: readonly string[];
}

export interface PredictResponse {
  readonly servableId: ServableId;
  readonly signature: Signature;
  /** By alias, in the signature's order. */
  readonly outputs: ReadonlyMap<string, Tensor>;
}
