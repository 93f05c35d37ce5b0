import { invalidArgument } from "../../status.js";
import type { Tensor } from "../../tensor/index.js";
import { asCategory, asText } from "./cells.js";
import { isWholeNumber, requireBooleanCell, requireNumberCell } from "./fit-column.js";
import type { FittedColumn } from "./preparation.js";
import { type Cell, rowName } from "./table.js";

/**
 * Cells of a column as the model takes them: a vector, its missing numbers NaN and its missing strings "".
 * Throws INVALID_ARGUMENT naming row and column.
 * @param firstRow the number of the first cell's row in the table
 */
export function encodeCells(column: FittedColumn, cells: readonly Cell[], firstRow: number): Tensor {
  const shape = [cells.length];
  const { name } = column;
  switch (column.kind) {
    case "number": {
      const data = Float32Array.from(cells, (cell, i) => requireNumberCell(cell, firstRow + i, name) ?? Number.NaN);
      return { dtype: "float32", shape, data };
    }
    case "boolean": {
      const data = Uint8Array.from(cells, (cell, i) => Number(requireBooleanCell(cell, firstRow + i, name)));
      return { dtype: "bool", shape, data };
    }
    case "text":
      return { dtype: "string", shape, data: cells.map(asText) };
    case "category": {
      const texts = cells.map((cell, i) => asCategory(cell, firstRow + i, name));
      if (column.valueType === "string") return { dtype: "string", shape, data: texts };
      const data = BigInt64Array.from(texts, (text, i) => {
        if (isWholeNumber(text)) return BigInt(text);
        if (text === "") return neverSeen;
        throw invalidArgument(
          `${rowName(firstRow + i)}, column "${name}": ${JSON.stringify(text)} is no whole number; all its categories were`,
        );
      });
      return { dtype: "int64", shape, data };
    }
  }
}

/** Stands for a missing whole number: a category that no data have, so that it counts as unknown. */
const neverSeen = -(2n ** 63n);
