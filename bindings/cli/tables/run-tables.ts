// The tables of one run as files: NAME.parquet becomes NAME.run.parquet, with the row that a comparison would have, and
// NAME.leaves.parquet and NAME.pages.parquet, with the guest's table in the end.

import type { RunReport } from "../../sim/run.js";
import type { Stage2Table } from "../../tables/stage2.js";
import { type MakeWriter, tableWriters } from "../../tabular/writer.js";
import type { Comparison } from "../comparison/comparison.js";
import { writeRows } from "../comparison/rows.js";
import { formatOf, TableFile } from "../table-file.js";
import { version } from "../version.js";
import { TABLE_COLUMNS } from "./columns.js";
import { tableFileName } from "./replay-tables.js";
import { leafRows, pageRows } from "./rows.js";

/** The tables that a run writes. */
export class RunTables {
  readonly #path: string;
  readonly #make: MakeWriter;

  private constructor(path: string, make: MakeWriter) {
    this.#path = path;
    this.#make = make;
  }

  /** UsageError for a name of another ending. */
  static async create(path: string): Promise<RunTables> {
    return new RunTables(path, await tableWriters(formatOf("out", path)));
  }

  /** Writes what the guest's table holds. */
  table(table: Stage2Table): void {
    this.#write("leaves", table);
    this.#write("pages", table);
  }

  #write(name: "leaves" | "pages", table: Stage2Table): void {
    const file = new TableFile(tableFileName(this.#path, name), this.#make, TABLE_COLUMNS[name]);
    try {
      for (const row of name === "leaves" ? leafRows(table) : pageRows(table)) file.row(row);
      file.finish();
    } catch (error) {
      file.abandon();
      throw error;
    }
  }

  /** Writes the row of the run, as of a comparison in which nothing varies. */
  async row(settings: Readonly<Record<string, string>>, cost: string, report: RunReport): Promise<void> {
    const comparison: Comparison = {
      ...{ kind: "workload", subject: report.workload, digest: "", settings, varied: [], cost },
    };
    const done = [{ number: 1, combination: {}, report }];
    await writeRows(tableFileName(this.#path, "run"), comparison, version(), done);
  }
}
