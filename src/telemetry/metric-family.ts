// Counters, gauges and histograms that cost a few nanoseconds to move: labels are resolved once, to a cell that its
// holder keeps. (prom-client sorts and joins the labels at each observation, 0.5 µs; a call moves ten cells.)

/** A number that a holder moves: add to it (counter) or set it (gauge). */
export interface Cell {
  value: number;
}

/** Labels and counts of a family's series, as plain data. */
export type SeriesSnapshot = readonly (readonly [values: readonly string[], counts: Counts])[];
type Counts = number | { readonly counts: Float64Array; readonly sum: number };

/** A metric with all its labelled series, as one block of a Prometheus text page. */
interface Family {
  readonly name: string;
  /** Appends the block to the page, or nothing while there is no series. */
  print(page: string[]): void;
  /** Drops the series whose labels hold all of these values. */
  forget(labels: Readonly<Record<string, string>>): void;
}

/** What one family prints above its series; without help text the line is left out, as TensorFlow Serving does. */
export interface FamilyOptions {
  readonly name: string;
  readonly help?: string;
  readonly labels?: readonly string[];
}

abstract class SeriesFamily<State> implements Family {
  readonly name: string;
  readonly #type: string;
  readonly #help: string | undefined;
  readonly #labels: readonly string[];
  readonly #series = new Map<string, { readonly values: readonly string[]; readonly state: State }>();

  constructor(type: string, { name, help, labels = [] }: FamilyOptions) {
    this.name = name;
    this.#type = type;
    this.#help = help;
    this.#labels = labels;
  }

  /** The series with these label values, in the order of the labels; made at first use. */
  with(...values: string[]): State {
    const key = this.#labels.map((label, index) => `${label}="${escapeLabel(values[index] ?? "")}"`).join(",");
    let series = this.#series.get(key);
    if (series === undefined) {
      series = { values, state: this.create() };
      this.#series.set(key, series);
    }
    return series.state;
  }

  forget(labels: Readonly<Record<string, string>>): void {
    const wanted = Object.entries(labels).map(([label, value]) => [this.#labels.indexOf(label), value] as const);
    if (wanted.some(([index]) => index === -1)) return;
    for (const [key, { values }] of this.#series) {
      if (wanted.every(([index, value]) => values[index] === value)) this.#series.delete(key);
    }
  }

  print(page: string[]): void {
    if (this.#series.size === 0) return;
    printHead(page, this.name, this.#type, this.#help);
    for (const [key, { state }] of this.#series) this.printSeries(page, key, state);
  }

  snapshot(): SeriesSnapshot {
    return Array.from(this.#series.values(), ({ values, state }) => [values, this.read(state)] as const);
  }

  /** Adds another process's series to those here. */
  absorb(snapshot: SeriesSnapshot): void {
    for (const [values, counts] of snapshot) this.add(this.with(...values), counts);
  }

  protected *states(): Iterable<State> {
    for (const { state } of this.#series.values()) yield state;
  }

  protected abstract create(): State;
  protected abstract read(state: State): Counts;
  protected abstract add(state: State, counts: Counts): void;
  protected abstract printSeries(page: string[], labels: string, state: State): void;
}

abstract class CellFamily extends SeriesFamily<Cell> {
  protected create(): Cell {
    return { value: 0 };
  }
  protected read({ value }: Cell): number {
    return value;
  }
  protected add(cell: Cell, counts: Counts): void {
    cell.value += counts as number;
  }
  protected printSeries(page: string[], labels: string, { value }: Cell): void {
    page.push(`${this.name}{${labels}} ${formatValue(value)}\n`);
  }
}

export class CounterFamily extends CellFamily {
  constructor(options: FamilyOptions) {
    super("counter", options);
  }
  /** Over all series. */
  total(): number {
    let total = 0;
    for (const { value } of this.states()) total += value;
    return total;
  }
}

export class GaugeFamily extends CellFamily {
  constructor(options: FamilyOptions) {
    super("gauge", options);
  }
  /** Of processes one has the word; the others do not add to it. */
  protected override add(cell: Cell, counts: Counts): void {
    cell.value = counts as number;
  }
}

/** Values that someone else keeps: asked for when the page is read. */
export class ReadFamily implements Family {
  readonly name: string;
  readonly #type: "gauge" | "counter";
  readonly #options: FamilyOptions;
  readonly #read: () => Iterable<readonly [labels: readonly string[], value: number]>;

  constructor(
    type: "gauge" | "counter",
    options: FamilyOptions,
    read: () => Iterable<readonly [labels: readonly string[], value: number]>,
  ) {
    this.name = options.name;
    this.#type = type;
    this.#options = options;
    this.#read = read;
  }

  forget(): void {}

  print(page: string[]): void {
    const { labels = [], help } = this.#options;
    let first = true;
    for (const [values, value] of this.#read()) {
      if (first) printHead(page, this.name, this.#type, help);
      first = false;
      const key = labels.map((label, index) => `${label}="${escapeLabel(values[index] ?? "")}"`).join(",");
      page.push(`${this.name}{${key}} ${formatValue(value)}\n`);
    }
  }
}

/** Counts of observations by size. */
export class Distribution {
  readonly #limits: Float64Array;
  readonly #inclusive: boolean;
  /** One more than there are limits: the last is beyond all of them. */
  readonly counts: Float64Array;
  sum = 0;

  constructor(limits: Float64Array, inclusive: boolean) {
    this.#limits = limits;
    this.#inclusive = inclusive;
    this.counts = new Float64Array(limits.length + 1);
  }

  observe(value: number): void {
    const limits = this.#limits;
    let low = 0;
    let high = limits.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const limit = limits[middle]!;
      if (value < limit || (this.#inclusive && value === limit)) high = middle;
      else low = middle + 1;
    }
    this.counts[low]! += 1;
    this.sum += value;
  }
}

export interface HistogramOptions extends FamilyOptions {
  /** Ascending, without +Inf. */
  readonly limits: readonly number[];
  /** Whether a value equal to a limit is counted under it. True for Prometheus; TensorFlow counts it above. */
  readonly inclusive: boolean;
  /** How limits are printed. */
  readonly formatLimit?: (limit: number) => string;
}

export class HistogramFamily extends SeriesFamily<Distribution> {
  readonly #limits: Float64Array;
  readonly #inclusive: boolean;
  readonly #limitTexts: readonly string[];

  constructor(options: HistogramOptions) {
    super("histogram", options);
    this.#limits = Float64Array.from(options.limits);
    this.#inclusive = options.inclusive;
    this.#limitTexts = [...options.limits.map(options.formatLimit ?? formatValue), "+Inf"];
  }

  protected create(): Distribution {
    return new Distribution(this.#limits, this.#inclusive);
  }

  protected read({ counts, sum }: Distribution): Counts {
    return { counts: counts.slice(), sum };
  }

  protected add(distribution: Distribution, counts: Counts): void {
    if (typeof counts === "number") return;
    counts.counts.forEach((count, index) => {
      distribution.counts[index]! += count;
    });
    distribution.sum += counts.sum;
  }

  protected printSeries(page: string[], labels: string, { counts, sum }: Distribution): void {
    const before = labels === "" ? "" : `${labels},`;
    let count = 0;
    this.#limitTexts.forEach((limit, index) => {
      count += counts[index]!;
      page.push(`${this.name}_bucket{${before}le="${limit}"} ${count}\n`);
    });
    page.push(`${this.name}_sum{${labels}} ${formatValue(sum)}\n${this.name}_count{${labels}} ${count}\n`);
  }
}

/** C's %g: six significant digits, as TensorFlow Serving prints bucket limits. */
export function formatSixDigits(value: number): string {
  const [digits, exponent] = value.toExponential(5).split("e") as [string, string];
  if (Number(exponent) >= -4 && Number(exponent) < 6) return String(Number(value.toPrecision(6)));
  return `${String(Number(digits))}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
}

function printHead(page: string[], name: string, type: string, help: string | undefined): void {
  if (help !== undefined) page.push(`# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}\n`);
  page.push(`# TYPE ${name} ${type}\n`);
}

function formatValue(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
