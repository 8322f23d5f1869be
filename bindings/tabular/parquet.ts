// Parquet, by hyparquet-writer and hyparquet. The rest of the room loads this file only when somebody asks for Parquet.

import { type DecodedArray, parquetReadObjects, type SchemaElement } from "hyparquet";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import { type Cell, type ColumnType, checkRow, type Row, type TableColumn } from "./column.js";
import type { ByteSink, TableWriter } from "./writer.js";

/** Rows of a row group: what is kept in memory at once. */
const GROUP_ROWS = 1 << 16;

const ELEMENTS: Readonly<Record<ColumnType, Omit<SchemaElement, "name">>> = {
  text: { type: "BYTE_ARRAY", converted_type: "UTF8" },
  whole: { type: "INT64" },
  word: { type: "INT64", converted_type: "UINT_64" },
  real: { type: "DOUBLE" },
  truth: { type: "BOOLEAN" },
};

function schemaOf(columns: readonly TableColumn[]): SchemaElement[] {
  const elements = columns.map(({ name, type }): SchemaElement => {
    return { name, repetition_type: "OPTIONAL", ...ELEMENTS[type] };
  });
  return [{ name: "granule", num_children: columns.length }, ...elements];
}

/** Writes a table as Parquet, a row group at a time. */
export class ParquetTable implements TableWriter {
  readonly #columns: readonly TableColumn[];
  readonly #sink: ByteSink;
  readonly #bytes = new ByteWriter();
  readonly #writer: ParquetWriter;
  #cells: Cell[][];
  #rows = 0;

  constructor(columns: readonly TableColumn[], sink: ByteSink) {
    this.#columns = columns;
    this.#sink = sink;
    this.#writer = new ParquetWriter({ writer: this.#bytes, schema: schemaOf(columns), createdBy: "granule" });
    this.#cells = columns.map(() => []);
  }

  row(row: Row): void {
    checkRow(this.#columns, row);
    for (const [i, { type }] of this.#columns.entries()) {
      const cell = row[i] as Cell;
      this.#cells[i]?.push(type === "whole" && cell !== null ? BigInt(cell as number) : cell);
    }
    if (++this.#rows === GROUP_ROWS) this.#group();
  }

  #group(): void {
    const columnData = this.#columns.map(({ name }, i) => ({ name, data: this.#cells[i] as DecodedArray }));
    this.#writer.write({ columnData, rowGroupSize: GROUP_ROWS });
    this.#cells = this.#columns.map(() => []);
    this.#rows = 0;
    this.#drain();
  }

  /** Hands on what the library has written. */
  #drain(): void {
    this.#sink.write(this.#bytes.getBytes());
    this.#bytes.index = 0;
  }

  finish(): void {
    if (this.#rows > 0) this.#group();
    this.#writer.finish();
    this.#drain();
  }
}

/** The rows of a Parquet file as objects; whole numbers are bigints. Throws what the library throws for what is no Parquet. */
export function parquetRows(bytes: Uint8Array): Promise<Record<string, unknown>[]> {
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  return parquetReadObjects({ file });
}
