// What --out writes: the ending of the file's name tells.

import { PerfettoWriter } from "../report/perfetto.js";
import { type CommandOption, UsageError } from "./command.js";
import { PartFile } from "./part-file.js";

/** What can be written. */
export type OutKind = "timeline" | "tables";

/** The kinds by the endings of file names. */
const KINDS: readonly (readonly [ending: string, kind: OutKind])[] = [
  [".perfetto", "timeline"],
  [".pftrace", "timeline"],
  [".parquet", "tables"],
  [".csv", "tables"],
  [".ndjson", "tables"],
];

/** The option, for the tables of commands. */
export const OUT_OPTION: CommandOption = {
  type: "string",
  value: "FILE",
  help: "write what happened: FILE.perfetto or .pftrace, a time line; FILE.parquet, .csv or .ndjson, tables, a file each",
};

/** What a file is to hold. UsageError for a name with another ending. */
export function outKind(path: string): OutKind {
  const found = KINDS.find(([ending]) => path.toLowerCase().endsWith(ending));
  if (found === undefined) {
    throw new UsageError(
      `--out takes a file that ends in ${KINDS.map(([ending]) => ending).join(" or ")}, not ${path}`,
    );
  }
  return found[1];
}

/** A time line that is written while a command goes on. */
export interface TimelineFile {
  readonly writer: PerfettoWriter;
  /** Writes what is left, and puts the complete file in its place. */
  finish(): void;
  /** Leaves nothing behind. */
  abandon(): void;
}

/** The time line that --out asks for. UsageError for a name with another ending. */
export function timelineTo(path: string | undefined): TimelineFile | undefined {
  if (path === undefined || outKind(path) !== "timeline") return undefined;
  const file = new PartFile(path);
  const writer = new PerfettoWriter(file);
  return {
    writer,
    finish: () => {
      writer.finish();
      file.finish();
    },
    abandon: () => file.abandon(),
  };
}
