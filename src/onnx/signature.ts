import type { ElementType, Tensor } from "../tensor/index.js";

/** A dimension as a graph declares it: a size, the name of an open one, or undefined for open without a name. */
export type Dimension = number | string | undefined;

/** What a graph says of one of its inputs or outputs. */
export interface TensorSpec {
  /** The tensor's name in the graph. */
  readonly name: string;
  readonly dtype: ElementType;
  /** undefined: any rank. */
  readonly shape: readonly Dimension[] | undefined;
}

export const predictMethodName = "tensorflow/serving/predict";
export const classifyMethodName = "tensorflow/serving/classify";
export const regressMethodName = "tensorflow/serving/regress";
export const defaultSignatureKey = "serving_default";

/** A feature of the tf.Examples that a signature takes. */
export interface Feature {
  /** The input of the graph that it fills: the batch first, then the shape of one example's values. */
  readonly spec: TensorSpec;
  /** One example's values, for examples that have none of their own. */
  readonly defaultValue: Tensor | undefined;
  /**
   * The one value that rows are filled up with when examples have different numbers of values; they may have none then.
   * Only where the first dimension behind the batch is open. Without it, examples of different length are refused.
   */
  readonly padding?: Tensor;
}

/** One way to call a model: clients' aliases for tensors of the graph. */
export interface Signature {
  readonly key: string;
  readonly methodName: string;
  /** By alias, in the model's order. */
  readonly inputs: ReadonlyMap<string, TensorSpec>;
  readonly outputs: ReadonlyMap<string, TensorSpec>;
  /** What an input is when a request leaves it out, by alias. */
  readonly defaults?: ReadonlyMap<string, Tensor>;
  /**
   * What is read out of tf.Examples, by the features' names. Such a signature has the one input `inputs`, of serialized
   * Examples, which is no tensor of the graph.
   */
  readonly features?: ReadonlyMap<string, Feature>;
  /** The output `classes` is no tensor of the graph, but these labels for every row. */
  readonly classLabels?: readonly string[];
}
