// Tables in files: what is written is what DuckDB reads, in each format, and nothing of 64 bits is lost.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Row, TableColumn } from "../../bindings/tabular/column.js";
import { tableRows } from "../../bindings/tabular/reader.js";
import { type TableFormat, tableFormat, tableWriters } from "../../bindings/tabular/writer.js";
import { scratchFolder } from "../support/scratch.js";
import { duckdb, typesOf } from "./support.js";

const COLUMNS: readonly TableColumn[] = [
  { name: "name", type: "text", about: "" },
  { name: "address", type: "whole", about: "" },
  { name: "descriptor", type: "word", about: "" },
  { name: "share", type: "real", about: "" },
  { name: "valid", type: "truth", about: "" },
];
const HIGH = 0x8040_0000_ffff_f7ffn;
const ROWS: readonly Row[] = [
  ["plain", 0x4000_0000, 0x7ffn, 0.5, true],
  ['a "quote", a comma\nand a line', 2 ** 52 - 1, HIGH, -1e-9, false],
  ["", 2 ** 53 - 1, 2n ** 64n - 1n, 1 / 3, null],
  [null, null, null, null, null],
];

const folder = scratchFolder();

async function written(format: TableFormat, rows: Iterable<Row>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  const writer = (await tableWriters(format))(COLUMNS, { write: (bytes) => void pieces.push(bytes.slice()) });
  for (const row of rows) writer.row(row);
  writer.finish();
  return Buffer.concat(pieces);
}

async function fileOf(format: TableFormat, rows: Iterable<Row>): Promise<string> {
  const path = join(folder, `rows.${format}`);
  writeFileSync(path, await written(format, rows));
  return path;
}

const all = (cells: Record<string, unknown>[]) => cells.map((row) => COLUMNS.map(({ name }) => row[name]));
const hex = (word: unknown) => `0x${(word as bigint).toString(16).padStart(16, "0")}`;

describe("a table in a file", () => {
  it("is Parquet with the types that the columns have", async () => {
    const path = await fileOf("parquet", ROWS);
    expect(await typesOf(path)).toEqual({
      ...{ name: "VARCHAR", address: "BIGINT", descriptor: "UBIGINT", share: "DOUBLE", valid: "BOOLEAN" },
    });
    const big = ROWS.map((row) => row.map((cell, i) => (i === 1 && cell !== null ? BigInt(cell as number) : cell)));
    expect(all(await duckdb(`select * from '${path}'`))).toEqual(big);
    expect(await duckdb(`select count(*) n from '${path}' where descriptor >= ${HIGH}`)).toEqual([{ n: 2n }]);
    expect(all([...(await tableRows("parquet", await written("parquet", ROWS)))])).toEqual(big);
  });

  it.each(["csv", "ndjson"] as const)("is %s, with words in hex", async (format) => {
    const path = await fileOf(format, ROWS);
    const read = format === "csv" ? `read_csv('${path}', header = true, allow_quoted_nulls = false)` : `'${path}'`;
    const rows = await duckdb(`select * replace (descriptor::ubigint as descriptor) from ${read}`);
    const texts = ROWS.map(([name, address, word, ...rest]) => [
      name,
      address === null ? null : BigInt(address as number),
      word,
      ...rest,
    ]);
    expect(all(rows)).toEqual(texts);
  });

  it("has as many row groups as it needs, and none without rows", async () => {
    const many = (n: number) => Array.from({ length: n }, (_, i): Row => [`row ${i % 7}`, i, BigInt(i), i / 2, true]);
    const path = await fileOf("parquet", many(150_000));
    const sums = await duckdb(`select count(*) n, sum(address)::bigint s, max(descriptor) m from '${path}'`);
    expect(sums).toEqual([{ n: 150_000n, s: (150_000n * 149_999n) / 2n, m: 149_999n }]);
    const empty = await fileOf("parquet", []);
    expect(await duckdb(`select count(*) n from '${empty}'`)).toEqual([{ n: 0n }]);
    expect(Object.keys(await typesOf(empty))).toEqual(COLUMNS.map(({ name }) => name));
  });

  it("is the same twice", async () => {
    for (const format of ["parquet", "csv", "ndjson"] as const) {
      expect(await written(format, ROWS)).toEqual(await written(format, ROWS));
    }
    const text = (await written("csv", ROWS)).toString();
    expect(text).toContain(`,${hex(HIGH)},`);
    expect(text.split("\n")[0]).toBe("name,address,descriptor,share,valid");
  });

  it.each([
    [["a", 1, 1n, 1], "a row of 4 cells in 5 columns"],
    [[1, 1, 1n, 1, true], "name is 1: no text"],
    [["a", 1.5, 1n, 1, true], "address is 1.5: no whole"],
    [["a", 2 ** 53, 1n, 1, true], "no whole"],
    [["a", 1, 1, 1, true], "descriptor is 1: no word"],
    [["a", 1, 1n, "1", true], "share is 1: no real"],
    [["a", 1, 1n, 1, 1], "valid is 1: no truth"],
  ] as [Row, string][])("refuses %o", async (row, words) => {
    for (const format of ["parquet", "csv", "ndjson"] as const) {
      await expect(written(format, [row])).rejects.toThrow(words);
    }
  });

  it("has its format from its name", () => {
    expect(["a.parquet", "b.tar.csv", "c.ndjson", "d.json", "csv"].map(tableFormat)).toEqual([
      ...["parquet", "csv", "ndjson", undefined, undefined],
    ]);
  });

  it("is refused where it is something else", async () => {
    const bytes = new TextEncoder();
    await expect(tableRows("parquet", bytes.encode("PAR1 is not enough"))).rejects.toThrow();
    await expect(tableRows("ndjson", bytes.encode('{"a":1}\n[1]\n'))).rejects.toThrow("line 2 is no JSON object");
    await expect(tableRows("ndjson", bytes.encode("{"))).rejects.toThrow();
  });
});
