// Absolute figures mean nothing on shared machines: all sides of a comparison are measured in turn, round after round, and
// the ratio of their medians is what counts.

export interface Lane {
  readonly name: string;
  readonly measure: () => number;
}

export interface Measured {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** One round of all lanes that does not count, then as many as asked for. */
export function inTurn(lanes: readonly Lane[], rounds: number): Map<string, Measured> {
  const values = new Map<string, number[]>(lanes.map(({ name }) => [name, []]));
  for (let round = -1; round < rounds; round++) {
    for (const { name, measure } of lanes) {
      const value = measure();
      if (round >= 0) values.get(name)!.push(value);
    }
  }
  return new Map([...values].map(([name, all]) => [name, summary(all)]));
}

export function summary(values: readonly number[]): Measured {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: sorted[sorted.length >> 1]!, least: sorted[0]!, most: sorted.at(-1)! };
}

/** "12 345 (11 000 to 13 000)" */
export function withSpread({ median, least, most }: Measured, digits = 0): string {
  return `${format(median, digits)} (${format(least, digits)} to ${format(most, digits)})`;
}

export function format(value: number, digits = 0): string {
  if (!Number.isFinite(value)) return "–";
  const [whole, fraction] = value.toFixed(digits).split(".") as [string, string | undefined];
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, " ");
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

/** A table as Markdown has it. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  console.log([line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n"));
}
