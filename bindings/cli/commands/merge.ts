import { type Command, type CommandArgs, type CommandIo, Interrupted, stringOption, UsageError } from "../command.js";
import { mergedRows } from "../comparison/merge.js";
import { RESULT_OPTIONS, wantedOf, writeResult } from "../comparison/result.js";
import { type ReadRow, readRows, writeRows } from "../comparison/rows.js";
import { refuseOverwrite } from "../input.js";
import { formatOf } from "../table-file.js";

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  if (args.operands.length === 0) throw new UsageError("FILE is missing: what granule compare --out wrote");
  const out = stringOption(args, "out");
  if (out !== undefined) {
    formatOf("out", out);
    await refuseOverwrite(out, args.operands);
  }
  const rows: ReadRow[] = [];
  for (const file of args.operands) {
    if (io.signal.aborted) throw new Interrupted();
    rows.push(...(await readRows(file)));
  }
  const { comparison, version, done } = mergedRows(rows);
  const wanted = wantedOf(comparison.kind, args);
  if (out !== undefined) await writeRows(out, comparison, version, done);
  return writeResult(comparison, done, wanted, io);
}

/** `granule merge`. */
export const merge: Command = {
  name: "merge",
  usage: "FILE... [--sort MEASURE] [--csv | --json] [--out FILE]",
  summary: "puts the parts of a comparison together that several machines ran",
  help: `Reads the files that granule compare --shard I/N --out FILE wrote (.parquet or .ndjson, see docs/formats/tables.md), in any
order, and prints what granule compare would have printed on one machine, apart from the time that runs took. It refuses files
in which rows are missing or there twice, and rows of different versions, settings, seeds or traces.`,
  options: {
    ...RESULT_OPTIONS,
    out: { type: "string", value: "FILE", help: "write all rows to one file: .parquet, .ndjson or .csv" },
  },
  exits: [
    { code: 0, meaning: "every run is there, and every store was logged" },
    { code: 1, meaning: "a store went unlogged in one of them" },
    { code: 3, meaning: "a file cannot be read, or the files are not one comparison" },
  ],
  examples: [{ line: "granule merge rows-*.parquet --sort cycles", shows: "one table of all parts" }],
  run,
};
