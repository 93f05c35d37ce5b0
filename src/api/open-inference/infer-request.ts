// An inference of the Open Inference Protocol as plain values, whichever door it came through.
import type { ServableId } from "../../serving/index.js";
import type { ElementTypeInfo, Shape, Tensor } from "../../tensor/index.js";

export type InferParameter = boolean | bigint | number | string;
export type InferParameters = ReadonlyMap<string, InferParameter>;

export interface InferRequest {
  readonly modelName: string;
  /** A number in decimal; "" stands for the newest version that is ready. */
  readonly modelVersion: string;
  /** Given back as it is; "" when there is none. */
  readonly id: string;
  readonly parameters: InferParameters;
  readonly inputs: readonly InferInput[];
  /** None asks for all. */
  readonly outputs: readonly RequestedOutput[];
}

export interface InferInput {
  readonly name: string;
  /** As the request words it. */
  readonly datatype: string;
  readonly shape: Shape;
  readonly parameters: InferParameters;
  readonly contents: InferContents;
}

export interface RequestedOutput {
  readonly name: string;
  readonly parameters: InferParameters;
}

/** The elements of an input, not yet looked at. */
export interface InferContents {
  /**
   * Why the elements are not there, or are not of the datatype that the input says, in Triton's words; undefined when
   * they are.
   */
  fault(input: string, model: string): string | undefined;
  /** Bytes of the elements in memory, for types of a fixed size. */
  byteLength(type: ElementTypeInfo): number;
  /**
   * The elements, of which there must be `count`; for types of a fixed size, byteLength has been compared before.
   * @throws INVALID_ARGUMENT for what only reading every element shows
   */
  decode(type: ElementTypeInfo, count: number, input: string, model: string): Tensor["data"];
}

export interface InferResponse {
  readonly servableId: ServableId;
  readonly id: string;
  /** In the order they were asked for, or the model's. */
  readonly outputs: readonly InferOutput[];
}

export interface InferOutput {
  readonly name: string;
  readonly tensor: Tensor;
}
