import type { Row, TableColumn } from "../tabular/column.js";
import { type MakeWriter, type TableFormat, type TableWriter, tableFormat } from "../tabular/writer.js";
import { UsageError } from "./command.js";
import { PartFile } from "./part-file.js";

/** The format of a file that an option names. UsageError for a name of another ending. */
export function formatOf(option: string, path: string): TableFormat {
  const format = tableFormat(path);
  if (format === undefined) throw new UsageError(`--${option} takes a file .parquet, .ndjson or .csv, not ${path}`);
  return format;
}

/** A table in a file, which takes its place only when the table is complete. */
export class TableFile {
  readonly path: string;
  rows = 0;
  readonly #file: PartFile;
  readonly #writer: TableWriter;

  constructor(path: string, make: MakeWriter, columns: readonly TableColumn[]) {
    this.path = path;
    this.#file = new PartFile(path);
    this.#writer = make(columns, this.#file);
  }

  row(row: Row): void {
    this.rows++;
    this.#writer.row(row);
  }

  finish(): void {
    this.#writer.finish();
    this.#file.finish();
  }

  /** Leaves nothing behind of a table that was not finished. */
  abandon(): void {
    this.#file.abandon();
  }
}
