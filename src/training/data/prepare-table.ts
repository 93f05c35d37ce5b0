// From a table to what can be trained on: which columns there are and what they hold, what is to be predicted, which
// rows are set aside, and what the training rows teach about each column.
import { invalidArgument } from "../../status.js";
import { asBoolean, asNumber, asText, isMissing } from "./cells.js";
import { type ColumnKind, type ColumnSpec, validateColumnSpec } from "./column-spec.js";
import { columnFitter } from "./fit-column.js";
import { type FittedTarget, TargetReader } from "./fit-target.js";
import type { FittedColumn, Preparation } from "./preparation.js";
import { type Split, splitRows } from "./split-rows.js";
import { type Cell, rowName, type Table } from "./table.js";

export interface TableOptions {
  /** The column to be predicted. */
  readonly target: string;
  readonly task: "classification" | "regression";
  /** How columns are to be used; those not named are used as they look. */
  readonly columns?: readonly ColumnSpec[];
  /** How columns of numbers are to be filled and scaled that are not named. */
  readonly numbers?: Pick<ColumnSpec, "impute" | "fill" | "scale">;
  /** Whether columns that are not named are left out. Default false. */
  readonly onlyNamed?: boolean;
  /** A column of numbers that says what each row counts. */
  readonly weight?: string | undefined;
  /** The share of rows set aside to validate on. Default 0.2. */
  readonly validationSplit?: number;
  readonly seed: number;
  /** What was learned before, to be kept as it is: then the table is only read, not learned from. */
  readonly fitted?: { readonly preparation: Preparation; readonly target: FittedTarget } | undefined;
}

export interface PreparedTable {
  readonly preparation: Preparation;
  readonly target: FittedTarget;
  /** Of each row: its class number, or its scaled number. */
  readonly targets: Float64Array;
  readonly weights: Float32Array | undefined;
  readonly split: Split;
  /** What a person should know: columns left out, cells missing. */
  readonly notices: readonly string[];
}

/** Reads the table twice, or once where nothing is to be learned. Throws INVALID_ARGUMENT naming row and column. */
export function prepareTable(table: Table, options: TableOptions): PreparedTable {
  requireColumns(table, options);
  const specs = (options.columns ?? []).map(validateColumnSpec);
  if (options.numbers !== undefined) validateColumnSpec({ name: "numbers", ...options.numbers });
  const survey = surveyTable(table, options);
  const { target: reader, weights } = survey;
  if (reader.count === 0) throw invalidArgument("the table has no rows");
  if (options.fitted === undefined) reader.requireFewClasses();
  const split = splitRows(reader.count, options.validationSplit ?? 0.2, options.seed, reader.classes);
  if (options.fitted !== undefined) {
    const { preparation, target } = options.fitted;
    return { preparation, target, targets: reader.values(target), weights, split, notices: [] };
  }
  const target = reader.fit(split.train);
  const kinds = kindsOf(table, options, specs, survey);
  const { columns, notices: fitted } = fitColumns(table, kinds, options, specs, split);
  const notices = [...doubtfulKinds(table, kinds, specs, survey), ...fitted];
  if (columns.length === 0) throw invalidArgument(["there is no column to learn from", ...notices].join("; "));
  return { preparation: { columns }, target, targets: reader.values(target), weights, split, notices };
}

function requireColumns(table: Table, options: TableOptions): void {
  const named = [
    options.target,
    ...(options.weight === undefined ? [] : [options.weight]),
    ...(options.columns ?? []).map(({ name }) => name),
    ...(options.fitted?.preparation.columns ?? []).map(({ name }) => name),
  ];
  for (const name of named) {
    if (!table.columns.includes(name)) {
      throw invalidArgument(`the table has no column "${name}"; it has ${table.columns.join(", ")}`);
    }
  }
  const features = (options.columns ?? []).filter(({ kind }) => kind !== "ignore");
  for (const { name } of features) {
    if (name === options.target)
      throw invalidArgument(`column "${name}" is to be predicted; it cannot be a feature too`);
  }
}

/** What the cells of a column look like. */
interface Look {
  present: number;
  missing: number;
  numbers: number;
  booleans: number;
  /** Words, over all cells that are neither numbers nor booleans. */
  words: number;
  texts: number;
  /** The first cell that is neither missing nor a number. */
  oddOne: { readonly row: number; readonly cell: Cell } | undefined;
}

interface Survey {
  readonly looks: readonly Look[];
  readonly target: TargetReader;
  readonly weights: Float32Array | undefined;
}

function surveyTable(table: Table, options: TableOptions): Survey {
  const looks = table.columns.map(
    (): Look => ({ present: 0, missing: 0, numbers: 0, booleans: 0, words: 0, texts: 0, oddOne: undefined }),
  );
  const target = new TargetReader(options.target, options.task);
  const targetPlace = table.columns.indexOf(options.target);
  const weightPlace = options.weight === undefined ? -1 : table.columns.indexOf(options.weight);
  const weights: number[] = [];
  let row = 0;
  for (const cells of table.rows()) {
    target.add(cells[targetPlace]!, row);
    if (weightPlace >= 0) weights.push(requireWeight(cells[weightPlace]!, row, options.weight!));
    for (let place = 0; place < looks.length; place++) look(looks[place]!, cells[place]!, row);
    row += 1;
  }
  return { looks, target, weights: weightPlace >= 0 ? Float32Array.from(weights) : undefined };
}

function requireWeight(cell: Cell, row: number, column: string): number {
  const weight = asNumber(cell);
  if (weight === undefined || weight < 0) {
    throw invalidArgument(
      `${rowName(row)}, column "${column}": a weight is a number from 0 on; got ${JSON.stringify(cell)}`,
    );
  }
  return weight;
}

function look(seen: Look, cell: Cell, row: number): void {
  if (isMissing(cell)) {
    seen.missing += 1;
    return;
  }
  seen.present += 1;
  if (asNumber(cell) !== undefined) {
    seen.numbers += 1;
    return;
  }
  seen.oddOne ??= { row, cell };
  if (asBoolean(cell) !== undefined) seen.booleans += 1;
  else {
    seen.texts += 1;
    seen.words += asText(cell).split(/\s+/).length;
  }
}

type UsedKind = Exclude<ColumnKind, "ignore">;

/** By the column's place in the table. */
function kindsOf(
  table: Table,
  options: TableOptions,
  specs: readonly ColumnSpec[],
  { looks }: Survey,
): (UsedKind | undefined)[] {
  return table.columns.map((name, place) => {
    if (name === options.target || name === options.weight) return undefined;
    const spec = specs.find((each) => each.name === name);
    if (spec === undefined && options.onlyNamed) return undefined;
    const kind = spec?.kind ?? kindByLook(looks[place]!);
    if (kind === "ignore") return undefined;
    // The one name that no model that is served may have for an input.
    if (name === "__proto__")
      throw invalidArgument(`column "${name}" cannot be an input of a model; ignore or rename it`);
    return kind;
  });
}

function kindByLook({ present, missing, numbers, booleans, words, texts }: Look): UsedKind {
  if (numbers === present) return "number";
  if (booleans === present && missing === 0) return "boolean";
  // Few words name something; many say something.
  return texts > 0 && words / texts >= 3 ? "text" : "category";
}

/** A slip of the pen makes words of a column of numbers: better said than found out later. */
function doubtfulKinds(
  table: Table,
  kinds: readonly (UsedKind | undefined)[],
  specs: readonly ColumnSpec[],
  { looks }: Survey,
): string[] {
  return table.columns.flatMap((name, place) => {
    const { numbers, present, oddOne } = looks[place]!;
    const kind = kinds[place];
    const said = specs.find((each) => each.name === name)?.kind !== undefined;
    if (kind === undefined || kind === "number" || said || oddOne === undefined || numbers <= present / 2) return [];
    const { row, cell } = oddOne;
    return [
      `column "${name}" holds numbers in ${numbers} of ${present} rows, but ${JSON.stringify(cell)} in ${rowName(row)}: it is used as a ${kind}; with kind number, such a row is refused`,
    ];
  });
}

function fitColumns(
  table: Table,
  kinds: readonly (UsedKind | undefined)[],
  { numbers }: TableOptions,
  specs: readonly ColumnSpec[],
  split: Split,
): { readonly columns: FittedColumn[]; readonly notices: string[] } {
  const fitters = table.columns.flatMap((name, place) => {
    const kind = kinds[place];
    if (kind === undefined) return [];
    const spec = specs.find((each) => each.name === name) ?? { name, ...numbers };
    return [{ place, fitter: columnFitter(spec, kind) }];
  });
  let row = 0;
  let next = 0;
  for (const cells of table.rows()) {
    if (split.train[next] === row) {
      for (const { place, fitter } of fitters) fitter.add(cells[place]!, row);
      next += 1;
    }
    row += 1;
  }
  const columns = fitters.map(({ fitter }) => fitter.finish()).filter((column) => column !== undefined);
  return { columns, notices: fitters.flatMap(({ fitter }) => fitter.notice ?? []) };
}
