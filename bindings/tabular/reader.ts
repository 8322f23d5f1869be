import type { TableFormat } from "./writer.js";

/** Rows by the names of their columns, as the file has them: whole numbers of Parquet are bigints. */
export type TableRows = readonly Readonly<Record<string, unknown>>[];

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function ndjsonRows(text: string): TableRows {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines.map((line, i) => {
    const row: unknown = JSON.parse(line);
    if (!isObject(row)) throw new SyntaxError(`line ${i + 1} is no JSON object`);
    return row;
  });
}

/** The rows of a file that is all there. Throws an Error, with what is wrong in its message, for a file that cannot be read. */
export async function tableRows(format: Exclude<TableFormat, "csv">, bytes: Uint8Array): Promise<TableRows> {
  if (format === "ndjson") return ndjsonRows(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  const { parquetRows } = await import("./parquet.js");
  return parquetRows(bytes);
}
