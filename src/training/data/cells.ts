// What a cell says, whichever way it is written.
import { invalidArgument } from "../../status.js";
import { type Cell, rowName } from "./table.js";

const missingWords = new Set(["", "na", "n/a", "nan", "null", "none", "?"]);

/** Whether a cell holds nothing, in a column of numbers or booleans; in text, a word may be any word. */
export function isMissing(cell: Cell): boolean {
  if (cell === null) return true;
  if (typeof cell === "number") return Number.isNaN(cell);
  return typeof cell === "string" && missingWords.has(cell.trim().toLowerCase());
}

/** The number a cell holds; undefined when it holds something else. */
export function asNumber(cell: Cell): number | undefined {
  if (typeof cell === "number") return Number.isFinite(cell) ? cell : undefined;
  if (typeof cell !== "string" || !/^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$/.test(cell)) return undefined;
  const value = Number(cell);
  return Number.isFinite(value) ? value : undefined;
}

export function asBoolean(cell: Cell): boolean | undefined {
  if (typeof cell === "boolean") return cell;
  const word = typeof cell === "string" ? cell.trim().toLowerCase() : undefined;
  return word === "true" ? true : word === "false" ? false : undefined;
}

/**
 * The cell as a category; "" where it is missing. Throws INVALID_ARGUMENT naming row and column for a number of so many
 * digits that JSON makes one of several.
 */
export function asCategory(cell: Cell, row: number, column: string): string {
  if (typeof cell === "number" && Number.isInteger(cell) && !Number.isSafeInteger(cell)) {
    throw invalidArgument(
      `${rowName(row)}, column "${column}": ${cell} has more digits than a JSON number keeps; give it as a string`,
    );
  }
  return asText(cell);
}

/** The cell as a text; "" where it is missing. */
export function asText(cell: Cell): string {
  return cell === null ? "" : String(cell).trim();
}
