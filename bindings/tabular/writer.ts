import type { Row, TableColumn } from "./column.js";
import { csvLine, ndjsonLine } from "./text.js";

/** How a table lies in a file. */
export type TableFormat = "parquet" | "csv" | "ndjson";

/** Where the bytes of a file go, in order. */
export interface ByteSink {
  write(bytes: Uint8Array): void;
}

/** Takes the rows of a table. */
export interface TableWriter {
  /** Throws TypeError for a row that does not fit the columns. */
  row(row: Row): void;
  /** Writes what is left, and the end of the file. The sink stays open. */
  finish(): void;
}

/** The format that a file name asks for; undefined for any other ending. */
export function tableFormat(path: string): TableFormat | undefined {
  const ending = /\.(parquet|csv|ndjson)$/.exec(path)?.[1];
  return ending as TableFormat | undefined;
}

/** Text that is handed on at once. */
const PIECE_CHARACTERS = 1 << 16;

class TextWriter implements TableWriter {
  readonly #sink: ByteSink;
  readonly #line: (row: Row) => string;
  readonly #encoder = new TextEncoder();
  #text: string;

  constructor(sink: ByteSink, head: string, line: (row: Row) => string) {
    this.#sink = sink;
    this.#text = head;
    this.#line = line;
  }

  row(row: Row): void {
    this.#text += this.#line(row);
    if (this.#text.length >= PIECE_CHARACTERS) this.finish();
  }

  finish(): void {
    if (this.#text !== "") this.#sink.write(this.#encoder.encode(this.#text));
    this.#text = "";
  }
}

/** Makes the writer of a table. Preconditions: the names of the columns differ; there is at least one. */
export type MakeWriter = (columns: readonly TableColumn[], sink: ByteSink) => TableWriter;

/** What makes tables of a format that DuckDB, pandas and Spark read. The Parquet library is loaded only for Parquet. */
export async function tableWriters(format: TableFormat): Promise<MakeWriter> {
  if (format === "csv") {
    return (columns, sink) => {
      const head = csvLine(columns.map(({ name }) => name));
      return new TextWriter(sink, head, (row) => csvLine(row, columns));
    };
  }
  if (format === "ndjson") return (columns, sink) => new TextWriter(sink, "", (row) => ndjsonLine(columns, row));
  const { ParquetTable } = await import("./parquet.js");
  return (columns, sink) => new ParquetTable(columns, sink);
}
