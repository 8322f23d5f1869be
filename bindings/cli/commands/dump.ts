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
} from "../command.js";
import { runScript, SCRIPT_OPTIONS } from "../script.js";

const FORMATS: readonly PtdumpFormat[] = ["6.12", "7.x"];
/** Lines a write: a table of a million runs must not become one string. */
const LINES = 4096;

async function writeLines(lines: Iterable<string>, io: CommandIo): Promise<void> {
  let pending: string[] = [];
  for (const line of lines) {
    if (pending.push(line) < LINES) continue;
    await io.out(`${pending.join("\n")}\n`);
    pending = [];
  }
  if (pending.length > 0) await io.out(`${pending.join("\n")}\n`);
}

async function writeJson(table: Table, options: PtdumpOptions, io: CommandIo): Promise<void> {
  const { granule, inputBits, startLevel } = table.info();
  const format = options.format ?? "6.12";
  const head = {
    schemaVersion: 1,
    format,
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
  await io.out(`${JSON.stringify({ ...head, runs }, undefined, 2)}\n`);
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const options: PtdumpOptions = {
    format: choiceOption(args, "format", FORMATS) ?? "6.12",
    kernelCompat: booleanOption(args, "kernel-compat"),
  };
  const { scenario, name } = await runScript(args, io);
  using engine = scenario.engine;
  const { table } = scenario;
  if (table.isHyp) throw new InputError(`${name}: a hypervisor table; ptdump text is of stage-2 tables`);
  if (engine.closed || table.info().rootPa === 0n)
    throw new InputError(`${name}: the table is destroyed at the end: nothing to dump`);
  if (args.json) await writeJson(table, options, io);
  else await writeLines(ptdumpLines(table, options), io);
  return Exit.OK;
}

/** `granule dump OPS`. */
export const dump: Command = {
  name: "dump",
  usage: "OPS [--format 6.12|7.x] [--kernel-compat]",
  summary: "run an operations file and print the table as the kernel's ptdump does",
  help: `Runs an operations file (vectors/FORMAT.md: a header line, then operations; results in it are not looked at)
and prints the stage-2 table in the text of /sys/kernel/debug/kvm/<vm>/stage2_page_tables, to diff with a live host.
OPS is a file, gzipped or not, or - for standard input.

In the 6.12 form an X marks what must not be executed: the kernel's own inversion.`,
  options: {
    format: { type: "string", value: "6.12|7.x", help: "columns of that kernel (default 6.12)" },
    "kernel-compat": { type: "boolean", help: "leave out the last run, as kernels do" },
    ...SCRIPT_OPTIONS,
  },
  run,
};
