import { requireInteger, requireOneOf } from "../../options.js";
import { invalidArgument } from "../../status.js";

export const columnKinds = ["number", "category", "boolean", "text", "ignore"] as const;
export type ColumnKind = (typeof columnKinds)[number];

/** How a column is to be used; what is left out is chosen by what its cells hold. */
export interface ColumnSpec {
  readonly name: string;
  readonly kind?: ColumnKind;
  /** number: what stands in for missing ones. Default mean. */
  readonly impute?: "mean" | "median" | "constant";
  /** number: the constant that stands in. Default 0. */
  readonly fill?: number;
  /** number: standard (mean 0, deviation 1; the default), min_max (from 0 to 1) or none. */
  readonly scale?: "standard" | "min_max" | "none";
  /**
   * category: one_hot (the default up to 100 categories), ordinal, or hashing (the default beyond).
   * text: tf_idf (the default), or tokens: a sequence of token numbers for an embedding.
   */
  readonly encoding?: "one_hot" | "ordinal" | "hashing" | "tf_idf" | "tokens";
  /** hashing: default 256. */
  readonly buckets?: number;
  /** text: words in a term, at most. Default 1. */
  readonly ngrams?: number;
  /** text: how many terms or tokens are told apart, the most frequent ones. Default 1000. */
  readonly vocabulary?: number;
  /** tokens: the length of the sequence. Default 32. */
  readonly length?: number;
}

export const oneHotUpTo = 100;

/** Throws INVALID_ARGUMENT naming the column. */
export function validateColumnSpec(spec: ColumnSpec): ColumnSpec {
  const of = (option: string) => `column "${spec.name}": ${option}`;
  const { kind, encoding, impute, scale } = spec;
  if (kind !== undefined) requireOneOf(of("kind"), kind, columnKinds);
  if (impute !== undefined) requireOneOf(of("impute"), impute, ["mean", "median", "constant"]);
  if (scale !== undefined) requireOneOf(of("scale"), scale, ["standard", "min_max", "none"]);
  if (spec.buckets !== undefined) requireInteger(of("buckets"), spec.buckets, { min: 2, max: 1_000_000 });
  if (spec.ngrams !== undefined) requireInteger(of("ngrams"), spec.ngrams, { min: 1, max: 3 });
  if (spec.vocabulary !== undefined) requireInteger(of("vocabulary"), spec.vocabulary, { min: 1, max: 1_000_000 });
  if (spec.length !== undefined) requireInteger(of("length"), spec.length, { min: 1, max: 100_000 });
  if (encoding !== undefined) {
    const allowed = kind === "category" ? categoryEncodings : kind === "text" ? textEncodings : [];
    if (allowed.length === 0) {
      throw invalidArgument(`${of("encoding")} belongs to kinds category and text; say which the column is`);
    }
    requireOneOf(of("encoding"), encoding, allowed);
  }
  return spec;
}

const categoryEncodings = ["one_hot", "ordinal", "hashing"] as const;
const textEncodings = ["tf_idf", "tokens"] as const;
