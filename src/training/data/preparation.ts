// What was learned from the training rows about their columns: plain data, kept in the exported model, so that rows to
// come are treated as those were.

export interface NumberColumn {
  readonly kind: "number";
  readonly name: string;
  /** Stands in for a missing number. */
  readonly fill: number;
  /** A feature is (number - shift) / scale; a scale of 0 stands for a column that says nothing, and makes zeros. */
  readonly shift: number;
  readonly scale: number;
  readonly statistics: NumberStatistics;
}

export interface NumberStatistics {
  readonly rows: number;
  readonly missing: number;
  readonly mean: number;
  readonly deviation: number;
  readonly min: number;
  readonly max: number;
}

export interface BooleanColumn {
  readonly kind: "boolean";
  readonly name: string;
  readonly statistics: { readonly rows: number; readonly trues: number };
}

export interface CategoryColumn {
  readonly kind: "category";
  readonly name: string;
  /** int64 where all categories are whole numbers. */
  readonly valueType: "string" | "int64";
  readonly encoding: "one_hot" | "ordinal" | "hashing";
  /** Known ones, in order; "" is a missing one. Empty for hashing. */
  readonly categories: readonly string[];
  readonly buckets: number;
  /** counts: of the known categories, in their order. */
  readonly statistics: { readonly rows: number; readonly counts: readonly number[] };
}

export interface TextColumn {
  readonly kind: "text";
  readonly name: string;
  readonly encoding: "tf_idf" | "tokens";
  /** Runs of words that are told apart, in lower case. */
  readonly terms: readonly (readonly string[])[];
  /** tf_idf: what each term weighs. */
  readonly weights: readonly number[];
  /** tokens: the length of the sequence. */
  readonly length: number;
  readonly statistics: { readonly rows: number; readonly meanWords: number; readonly unknownShare: number };
}

export type FittedColumn = NumberColumn | BooleanColumn | CategoryColumn | TextColumn;

export interface Preparation {
  readonly columns: readonly FittedColumn[];
}

/** How many features a column makes. */
export function featureCount(column: FittedColumn): number {
  switch (column.kind) {
    case "number":
    case "boolean":
      return 1;
    case "category":
      if (column.encoding === "ordinal") return 1;
      return column.encoding === "hashing" ? column.buckets : column.categories.length;
    case "text":
      return column.encoding === "tokens" ? column.length : column.terms.length;
  }
}
