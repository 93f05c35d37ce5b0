// Metrics and confusion matrices as people read them.
import type { ColumnDrift, Evaluation } from "../../gen/onnxd/v1/training.js";
import { formatCount, formatFixed, formatNumber } from "./format-numbers.js";
import { formatTable } from "./format-table.js";

/** All metrics, beside those of what they are compared with. */
export function formatMetrics(evaluation: Evaluation, base?: Evaluation): string {
  const rows = [...evaluation.metrics].map(([name, value]) => {
    const before = base?.metrics.get(name);
    return [`  ${name}`, formatFixed(value), before === undefined ? "" : `(before: ${formatFixed(before)})`];
  });
  return formatTable(rows.length > 0 ? [["", "", ""], ...rows] : []).replace(/^\n/, "");
}

/** The few that say most, for a line: "loss 0.21  accuracy 0.967". */
export function formatMainMetrics({ metrics }: Evaluation): string {
  const shown = ["loss", "accuracy", "f1", "f1_macro", "rmse", "r2"].filter((name) => metrics.has(name)).slice(0, 3);
  return shown.map((name) => `${name === "loss" ? "val_loss" : name} ${formatFixed(metrics.get(name)!)}`).join("  ");
}

/** "" for regression. Where the matrix would be too wide: the classes that are mistaken most often. */
export function formatConfusion({ confusion, classLabels }: Evaluation, columns = 100): string {
  if (confusion.length === 0) return "";
  const label = (index: number) => shorten(classLabels[index] ?? String(index));
  const cells = confusion.map(({ weights }) => weights.map((weight) => formatNumber(weight, 6)));
  const labels = confusion.map((_, index) => label(index));
  const widths = labels.map((text, column) => Math.max(text.length, ...cells.map((row) => row[column]!.length)));
  const margin = Math.max("true".length, ...labels.map((text) => text.length));
  if (widths.reduce((sum, width) => sum + width + 2, margin + 2) > columns) return formatMistakes(confusion, label);
  const line = (head: string, row: readonly string[]) =>
    `  ${head.padEnd(margin)}  ${row.map((cell, column) => cell.padStart(widths[column]!)).join("  ")}`.trimEnd();
  return [
    `  ${"".padEnd(margin)}  predicted`,
    line("true", labels),
    ...cells.map((row, index) => line(labels[index]!, row)),
    "",
  ].join("\n");
}

const mistakesShown = 10;

function formatMistakes(confusion: Evaluation["confusion"], label: (index: number) => string): string {
  const mistakes = confusion
    .flatMap(({ weights }, truth) => weights.map((weight, guess) => ({ truth, guess, weight })))
    .filter(({ truth, guess, weight }) => truth !== guess && weight > 0)
    .sort((a, b) => b.weight - a.weight);
  const lines = mistakes
    .slice(0, mistakesShown)
    .map(({ truth, guess, weight }) => `  ${formatNumber(weight, 6)} x ${label(truth)} taken for ${label(guess)}\n`);
  const head = mistakes.length === 0 ? "no mistakes" : `most frequent of ${formatCount(mistakes.length, "mistake")}`;
  return `  ${confusion.length} classes, ${head}\n${lines.join("")}`;
}

function shorten(label: string): string {
  return label.length <= 24 ? label : `${label.slice(0, 23)}…`;
}

/** Only columns that a person should look into. */
export function formatDrift(drift: readonly ColumnDrift[]): string {
  return drift.flatMap(({ warnings }) => warnings.map((warning) => `drift: ${warning}\n`)).join("");
}
