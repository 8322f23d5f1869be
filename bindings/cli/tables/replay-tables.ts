// The tables of a replay as files: NAME.parquet becomes NAME.events.parquet, NAME.faults.parquet and so on.

import type { FaultOutcome } from "../../replay/faults.js";
import type { Onlooker } from "../../replay/replay.js";
import type { JournalRecord } from "../../tables/journal.js";
import type { Stage2Table } from "../../tables/stage2.js";
import type { Row } from "../../tabular/column.js";
import { type MakeWriter, tableWriters } from "../../tabular/writer.js";
import type { GuestFaultEvent, TraceEvent } from "../../trace/index.js";
import { UsageError } from "../command.js";
import { formatOf, TableFile } from "../table-file.js";
import { TABLE_COLUMNS, TABLES, type TableName } from "./columns.js";
import { eventRow, faultRow, leafRows, pageRows, tlbiRow } from "./rows.js";

/** Reads `A,B,...` of `--tables`. */
export function tablesOf(text: string | undefined): readonly TableName[] {
  if (text === undefined) return TABLES;
  return text.split(",").map((name) => {
    const found = TABLES.find((table) => table === name);
    if (found === undefined) throw new UsageError(`--tables takes ${TABLES.join(", ")}, not ${JSON.stringify(name)}`);
    return found;
  });
}

/** The file of one table. */
export function tableFileName(path: string, table: TableName | "run" | "logs" | "violations"): string {
  return path.replace(/(\.[^./]+)$/, `.${table}$1`);
}

/** The tables that a replay writes while it runs. */
export class ReplayTables implements Onlooker {
  readonly #path: string;
  readonly #make: MakeWriter;
  readonly #from: "faults" | "ops";
  readonly #files = new Map<TableName, TableFile>();
  /** Records of faults that are written already, and that come again with the event under way. */
  #written = 0;

  private constructor(path: string, make: MakeWriter, tables: readonly TableName[], from: "faults" | "ops") {
    this.#path = path;
    this.#make = make;
    this.#from = from;
    for (const table of tables) this.#renew(table);
  }

  /** UsageError for a name of another ending. */
  static async create(path: string, tables: readonly TableName[], from: "faults" | "ops"): Promise<ReplayTables> {
    return new ReplayTables(path, await tableWriters(formatOf("out", path)), tables, from);
  }

  /** The files that will be there. */
  get paths(): string[] {
    return [...this.#files.values()].map(({ path }) => path);
  }

  before(e: TraceEvent): void {
    this.#files.get("events")?.row(eventRow(e));
    if (e.kind === "guest_fault" && this.#from === "ops") this.#files.get("faults")?.row(faultRow(e, undefined));
  }

  fault(e: GuestFaultEvent, outcome: FaultOutcome, done: readonly JournalRecord[]): void {
    this.#files.get("faults")?.row(faultRow(e, outcome));
    this.#tlbis(done, e.line);
    this.#written += done.length;
  }

  after(e: TraceEvent, done: readonly JournalRecord[]): void {
    this.#tlbis(done.slice(this.#written), e.line);
    this.#written = 0;
  }

  table(table: Stage2Table): void {
    this.#rewrite("leaves", () => leafRows(table));
    this.#rewrite("pages", () => pageRows(table));
  }

  end(done: readonly JournalRecord[]): void {
    this.#tlbis(done.slice(this.#written), undefined);
  }

  #tlbis(done: readonly JournalRecord[], line: number | undefined): void {
    const file = this.#files.get("tlbis");
    if (file === undefined) return;
    for (const record of done) {
      const row = tlbiRow(record, line, file.rows);
      if (row !== undefined) file.row(row);
    }
  }

  #renew(table: TableName): void {
    this.#files.get(table)?.abandon();
    this.#files.set(table, new TableFile(tableFileName(this.#path, table), this.#make, TABLE_COLUMNS[table]));
  }

  /** A table of which only the last state counts. */
  #rewrite(table: TableName, rows: () => Iterable<Row>): void {
    if (!this.#files.has(table)) return;
    this.#renew(table);
    for (const row of rows()) this.#files.get(table)?.row(row);
  }

  /** Puts the complete files in their places; what was written, in words. */
  finish(): string[] {
    return [...this.#files.values()].map((file) => {
      file.finish();
      return `${file.path}: ${file.rows} rows`;
    });
  }

  /** Leaves nothing behind of tables that were not finished. */
  abandon(): void {
    for (const file of this.#files.values()) file.abandon();
  }
}
