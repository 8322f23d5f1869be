// What a table for other tools is: columns with types that Parquet, CSV and NDJSON keep, and rows.

/**
 * What a column holds, in JavaScript and in a file:
 *
 * - `text`: a string.
 * - `whole`: a whole number below 2^53, of either sign; also an address, since Arm translates none of more than 52 bits. INT64 in
 *   Parquet.
 * - `word`: 64 bits, such as a descriptor or a register. UINT64 in Parquet; in text `0x` and 16 digits, since readers of text would
 *   make a rounded double of a large number.
 * - `real`: a finite double.
 * - `truth`: a boolean.
 */
export type ColumnType = "text" | "whole" | "word" | "real" | "truth";

/** A column: its name, what it holds, and what that means. */
export interface TableColumn {
  readonly name: string;
  readonly type: ColumnType;
  /** One line for the documentation, with the unit. */
  readonly about: string;
}

/** One value; null where there is none. */
export type Cell = string | number | bigint | boolean | null;

/** The values of a row, in the order of the columns. */
export type Row = readonly Cell[];

const WORD_DIGITS = 16;

/** `0x` and 16 digits. */
export function wordText(value: bigint): string {
  return `0x${BigInt.asUintN(64, value).toString(16).padStart(WORD_DIGITS, "0")}`;
}

function isOf(type: ColumnType, cell: Cell): boolean {
  switch (type) {
    case "text":
      return typeof cell === "string";
    case "whole":
      return typeof cell === "number" && Number.isSafeInteger(cell);
    case "word":
      return typeof cell === "bigint";
    case "real":
      return typeof cell === "number" && Number.isFinite(cell);
    case "truth":
      return typeof cell === "boolean";
  }
}

/** Refuses a row that a reader would see changed: TypeError. */
export function checkRow(columns: readonly TableColumn[], row: Row): void {
  if (row.length !== columns.length) throw new TypeError(`a row of ${row.length} cells in ${columns.length} columns`);
  for (const [i, { name, type }] of columns.entries()) {
    const cell = row[i] as Cell;
    if (cell !== null && !isOf(type, cell)) throw new TypeError(`${name} is ${String(cell)}: no ${type}`);
  }
}
