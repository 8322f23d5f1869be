// The tables of `granule check` as files: NAME.parquet becomes NAME.logs.parquet, with a row for each log, and
// NAME.violations.parquet, with a row for each violation.

import type { Verdict, Violation } from "../../audit/index.js";
import type { TableColumn } from "../../tabular/column.js";
import { tableWriters } from "../../tabular/writer.js";
import { formatOf, TableFile } from "../table-file.js";
import { columnsOf } from "./columns.js";
import { tableFileName } from "./replay-tables.js";

/** The columns of both. */
export const CHECK_COLUMNS = {
  logs: columnsOf([
    ["file", "text", "the log"],
    ["verdict", "text", "ok, violation or unreadable"],
    ["violations", "whole", "broken rules; null where it cannot be judged"],
    ["records", "whole", "records that were judged"],
    ["open", "whole", "translations that were still to be flushed when it ended"],
    ["message", "text", "what is wrong first, or why it cannot be judged"],
  ]),
  violations: columnsOf([
    ["file", "text", "the log"],
    ["number", "whole", "in the order of the log, from 0; the first 256 are there"],
    ["kind", "text", "which rule was broken, as in docs/audit.md"],
    ["missing", "text", "the step that was missing, as tlbi or dsb-after-tlbi"],
    ["record", "whole", "the record that broke the rule, from 0"],
    ["because", "whole", "the record of the write that needed a flush"],
    ["cause", "text", "how the old translation came to be stale: break, downgrade, age or control"],
    ["cpu", "whole", "thread of the record, in order of appearance"],
    ["level", "whole", "level of the entry, -1 to 3"],
    ["address", "word", "physical address of the descriptor, page, lock or table"],
    ["ipa", "word", "input address of the translation; null where none is concerned"],
    ["old", "word", "the descriptor that was there"],
    ["new", "word", "the descriptor that was written"],
    ["message", "text", "why, and what would have been right"],
  ]),
} satisfies Readonly<Record<string, readonly TableColumn[]>>;

/** The tables while logs are judged. */
export class CheckTables {
  readonly #logs: TableFile;
  readonly #violations: TableFile;

  private constructor(logs: TableFile, violations: TableFile) {
    this.#logs = logs;
    this.#violations = violations;
  }

  /** UsageError for a name of another ending. */
  static async create(path: string): Promise<CheckTables> {
    const make = await tableWriters(formatOf("out", path));
    const logs = new TableFile(tableFileName(path, "logs"), make, CHECK_COLUMNS.logs);
    return new CheckTables(logs, new TableFile(tableFileName(path, "violations"), make, CHECK_COLUMNS.violations));
  }

  /** A log was judged. */
  log(file: string, { verdict, count, records, open, violations }: Verdict): void {
    this.#logs.row([file, verdict, count, records, open, violations[0]?.message ?? null]);
    for (const [number, violation] of violations.entries()) this.#violation(file, number, violation);
  }

  #violation(file: string, number: number, v: Violation): void {
    const place = [v.cpu, v.level, v.address, v.ipa ?? null, v.oldValue, v.newValue] as const;
    const why = [v.kind, v.missing ?? null, v.record, v.because[0] ?? null, v.cause ?? null] as const;
    this.#violations.row([file, number, ...why, ...place, v.message]);
  }

  /** A log cannot be judged. */
  unreadable(file: string, message: string): void {
    this.#logs.row([file, "unreadable", null, null, null, message]);
  }

  /** Puts the complete files in their places; what was written, in words. */
  finish(): string[] {
    return [this.#logs, this.#violations].map((file) => {
      file.finish();
      return `${file.path}: ${file.rows} rows`;
    });
  }

  /** Leaves nothing behind. */
  abandon(): void {
    this.#logs.abandon();
    this.#violations.abandon();
  }
}
