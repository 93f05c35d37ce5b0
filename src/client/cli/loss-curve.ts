import { formatNumber } from "./format-numbers.js";

const maxSpread = 6;

export interface Curve {
  /** A character, drawn for each point. */
  readonly mark: string;
  readonly name: string;
  /** By epoch, from the first; undefined where there is none. */
  readonly values: readonly (number | undefined)[];
}

/**
 * A chart in plain characters: epochs from left to right, values upwards, by logarithm where the highest is more
 * than 30 times the lowest. Where curves meet, the first one is seen. "" with fewer than two epochs.
 */
export function drawCurves(curves: readonly Curve[], { width = 60, height = 10 } = {}): string {
  const epochs = Math.max(...curves.map(({ values }) => values.length));
  const finite = curves.flatMap(({ values }) =>
    values.filter((value) => value !== undefined && Number.isFinite(value)),
  );
  if (epochs < 2 || finite.length === 0) return "";
  const [low, high] = [Math.min(...(finite as number[])), Math.max(...(finite as number[]))];
  const logarithmic = low > 0 && high / low > 30;
  const scale = logarithmic ? Math.log : (value: number) => value;
  const span = scale(high) - scale(low);
  // A few epochs are spread, so that a shape can be seen.
  const spread = Math.min(maxSpread, Math.max(1, Math.floor((width - 1) / (epochs - 1))));
  const points = Math.min(width, epochs);
  const columns = (points - 1) * spread + 1;
  const grid = Array.from({ length: height }, () => new Array<string>(columns).fill(" "));
  // From the last to the first, so that the first lies on top.
  for (const { mark, values } of curves.toReversed()) {
    for (let point = 0; point < points; point++) {
      const value = values[Math.round((point * (epochs - 1)) / (points - 1))];
      if (value === undefined || !Number.isFinite(value)) continue;
      const share = span === 0 ? 0 : (scale(value) - scale(low)) / span;
      grid[height - 1 - Math.round(share * (height - 1))]![point * spread] = mark;
    }
  }
  const labels = grid.map((_, row) => (row === 0 ? formatNumber(high) : row === height - 1 ? formatNumber(low) : ""));
  const margin = Math.max("epoch".length, ...labels.map((label) => label.length));
  const lines = grid.map((row, index) => `${labels[index]!.padStart(margin)} |${row.join("").trimEnd()}`);
  const legend = curves.map(({ mark, name }) => `${mark} ${name}`).join("   ");
  return [
    `${" ".repeat(margin)}  ${legend}${logarithmic ? "   (logarithmic)" : ""}`,
    ...lines,
    `${" ".repeat(margin)} +${"-".repeat(columns)}`,
    `${"epoch".padStart(margin)}  1${`${epochs}`.padStart(columns - 1)}`,
    "",
  ].join("\n");
}
