// tf.Example as the doors hand it down: what a feature holds is known at once, its values are read when they are wanted.

/** The three kinds of list that a tf.Feature can be. */
export type FeatureKind = "bytes" | "float" | "int64";

/** The values of one feature. `numbers` is for float and int64, `texts` for bytes; both allocate. */
export interface FeatureValues {
  readonly kind: FeatureKind;
  readonly count: number;
  numbers(): Float32Array | Float64Array | BigInt64Array;
  /** @throws INVALID_ARGUMENT for bytes that are no text, which onnxruntime's strings are */
  texts(): readonly string[];
}

/** By name; undefined for a feature that is named and holds nothing. */
export type Example = ReadonlyMap<string, FeatureValues | undefined>;

/** Examples as a door received them. They are read one at a time, so that only their bytes are all in memory. */
export interface ExampleList {
  readonly count: number;
  /**
   * The features among those wanted that the example has.
   * @throws INVALID_ARGUMENT when it is no Example
   */
  read(index: number, wanted: ReadonlySet<string>): Example;
}

/** What tensorflow.serving.Input carries. */
export interface ExampleInput {
  readonly examples: ExampleList;
  /** Its features belong to every example that has none of that name. */
  readonly context?: { read(wanted: ReadonlySet<string>): Example };
  /** JSON writes 1 for 1.0: integers may fill inputs of floating point. Default false, as in TensorFlow. */
  readonly integersMayBeFloats?: boolean;
}
