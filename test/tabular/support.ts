// Files as the tools that people use read them.

import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";

/** A row by the names of its columns; 64-bit integers are bigints. */
export type Found = Record<string, unknown>;

let connection: DuckDBConnection | undefined;

/** What DuckDB answers. */
export async function duckdb(sql: string): Promise<Found[]> {
  connection ??= await (await DuckDBInstance.create(":memory:")).connect();
  return (await connection.runAndReadAll(sql)).getRowObjects();
}

/** Names and types of the columns of a file, as DuckDB sees them. */
export async function typesOf(path: string): Promise<Record<string, string>> {
  const rows = await duckdb(`describe select * from '${path}'`);
  return Object.fromEntries(rows.map(({ column_name, column_type }) => [String(column_name), String(column_type)]));
}
