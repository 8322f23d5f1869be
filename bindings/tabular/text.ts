// Rows as lines of text: RFC 4180, and one JSON object a line.

import { type Cell, checkRow, type Row, type TableColumn, wordText } from "./column.js";

/** An empty text is quoted, too: nothing between two commas is null. */
const QUOTED = /^$|[",\r\n]/;

function csvCell(cell: Cell): string {
  if (cell === null) return "";
  if (typeof cell === "bigint") return wordText(cell);
  const text = String(cell);
  return QUOTED.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A line of CSV, its end included; with `columns` the row is checked. Nothing between two commas stands for null. */
export function csvLine(row: Row, columns?: readonly TableColumn[]): string {
  if (columns !== undefined) checkRow(columns, row);
  return `${row.map(csvCell).join(",")}\n`;
}

/** A line of NDJSON, its end included. */
export function ndjsonLine(columns: readonly TableColumn[], row: Row): string {
  checkRow(columns, row);
  const fields = columns.map(({ name }, i) => {
    const cell = row[i] as Cell;
    return `${JSON.stringify(name)}:${JSON.stringify(typeof cell === "bigint" ? wordText(cell) : cell)}`;
  });
  return `{${fields.join(",")}}\n`;
}
