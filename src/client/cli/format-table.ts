/** Columns as wide as their widest cell; a column without content is left out. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  const columns = head.map((_, index) => index).filter((index) => rows.length === 1 || body.some((row) => row[index]));
  const widths = columns.map((index) => Math.max(...rows.map((row) => row[index]!.length)));
  return rows
    .map(
      (row) =>
        `${columns
          .map((index, at) => row[index]!.padEnd(widths[at]!))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}
