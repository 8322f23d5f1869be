import { GranuleError } from "../../core/errors.js";
import { hex } from "../../model/address.js";
import { type PtdumpFormat, type PtdumpOptions, ptdumpLines, ptdumpRuns } from "../../report/ptdump.js";
import type { Table } from "../../tables/table.js";
import {
  booleanOption,
  type Command,
  type CommandArgs,
  type CommandIo,
  choiceOption,
  Exit,
  InputError,
  UsageError,
  writeJson,
} from "../command.js";
import { BOUNDS_HELP } from "../input.js";
import { writeLines } from "../output.js";
import { runScript, SCRIPT_OPTIONS } from "../script.js";

const FORMATS: readonly PtdumpFormat[] = ["6.12", "7.x"];
async function writeRuns(table: Table, options: PtdumpOptions, io: CommandIo): Promise<void> {
  const { granule, inputBits, startLevel } = table.info();
  const head = {
    schemaVersion: 1,
    stage: table.isHyp ? "hyp" : "2",
    format: table.isHyp ? "el2" : (options.format ?? "6.12"),
    kernelCompat: options.kernelCompat ?? false,
    granule,
    ipaBits: inputBits,
    startLevel,
  };
  const runs = [...ptdumpRuns(table, options)].map(({ start, end, level, columns }) => ({
    start: hex(start),
    end: hex(end),
    level,
    columns,
  }));
  await writeJson(io, { ...head, runs });
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const format = choiceOption(args, "format", FORMATS);
  const options: PtdumpOptions = {
    ...(format === undefined ? {} : { format }),
    kernelCompat: booleanOption(args, "kernel-compat"),
  };
  const { scenario, name } = await runScript(args, io);
  using engine = scenario.engine;
  const { table } = scenario;
  if (table.isHyp && (format !== undefined || options.kernelCompat))
    throw new UsageError("--format and --kernel-compat are for stage-2 tables: no kernel dumps a hypervisor's table");
  if (engine.closed || table.info().rootPa === 0n)
    throw new InputError(`${name}: the table is destroyed at the end: nothing to dump`);
  try {
    if (args.json) await writeRuns(table, options, io);
    else await writeLines(ptdumpLines(table, options), io);
  } catch (error) {
    // An operation may poke what no table can hold.
    if (error instanceof GranuleError) throw new InputError(`${name}: ${error.hint}`);
    throw error;
  }
  return Exit.OK;
}

/** `granule dump OPS`. */
export const dump: Command = {
  name: "dump",
  usage: "OPS [--format 6.12|7.x] [--kernel-compat]",
  summary: "run an operations file and print the table as the kernel's ptdump does",
  help: `Runs an operations file (vectors/FORMAT.md: a header line, then operations; recorded results in it are ignored) and
prints the table it leaves. A stage-2 table has the text of /sys/kernel/debug/kvm/<vm>/stage2_page_tables, to diff with a
live host. A hypervisor's own table (EL2) has the columns of the kernel's stage-1 dump.

OPS is a file, gzipped or not, or - for standard input. ${BOUNDS_HELP}

In the 6.12 form an X marks what must NOT be executed: the kernel prints it that way round.`,
  options: {
    format: { type: "string", value: "6.12|7.x", help: "stage 2: the columns of that kernel (default 6.12)" },
    "kernel-compat": { type: "boolean", help: "stage 2: leave out the last run, as kernels do" },
    ...SCRIPT_OPTIONS,
  },
  examples: [
    { line: "granule dump ops.jsonl", shows: "the table that the operations leave" },
    {
      line: "granule dump ops.jsonl --until 40 --format 7.x",
      shows: "the table after line 40, in the columns of Linux 7.x",
    },
  ],
  run,
};
