import { hex } from "../../model/address.js";
import { type ExplainOptions, explain as explainDescriptor, type Reading } from "../../report/explain.js";
import { digits, draw, type Field, range } from "../../report/fields.js";
import { columns } from "../../report/text.js";
import {
  booleanOption,
  type Command,
  type CommandArgs,
  type CommandIo,
  choiceOption,
  Exit,
  granuleOption,
  integerOption,
  UsageError,
  writeJson,
} from "../command.js";
import { readWords } from "../numbers.js";

function optionsOf(args: CommandArgs): ExplainOptions {
  const granule = granuleOption(args) ?? 4096;
  const stage = choiceOption(args, "stage", ["2", "el1", "el2", "hyp"]) ?? "2";
  const level = integerOption(args, "level", -1, 3);
  const fwb = args.options.fwb;
  const options: ExplainOptions = {
    stage: stage === "el2" ? "hyp" : stage,
    granule,
    lpa2: booleanOption(args, "lpa2"),
    hvhe: booleanOption(args, "hvhe"),
    xnx: booleanOption(args, "xnx"),
  };
  if (options.lpa2 && granule === 65536)
    throw new UsageError("--lpa2 is for 4K and 16K pages: 64K pages have 52-bit addresses without it");
  if (options.hvhe && options.stage !== "hyp")
    throw new UsageError("--hvhe is for the hypervisor's own table: add --stage el2");
  if (level !== undefined) options.level = level;
  if (typeof fwb === "boolean") options.fwb = fwb;
  return options;
}

function fieldJson(field: Field): Record<string, unknown> {
  const { name, high, low, value, meaning } = field;
  return { name, high, low, bits: range(field), value: hex(value), meaning };
}

function readingJson({ kind, levels, summary, fields, notes, pa }: Reading): Record<string, unknown> {
  return { kind, levels, summary, pa: pa === undefined ? null : hex(pa), fields: fields.map(fieldJson), notes };
}

function readingText(reading: Reading, io: CommandIo): string {
  const rows = reading.fields
    .filter((f) => f.name !== "-" || f.value !== 0n)
    .map((f) => [`  ${range(f)}`, f.name, digits(f), f.meaning]);
  const notes = reading.notes.map((note) => `  ${io.style("dim", note)}`);
  return [
    io.style("bold", reading.summary),
    "",
    ...draw(reading.fields),
    "",
    ...columns(rows),
    ...(notes.length ? ["", ...notes] : []),
  ].join("\n");
}

/** Both readings under headings that say when each holds. */
function readingsText(readings: readonly Reading[], io: CommandIo): string {
  if (readings.length === 1) return readingText(readings[0] as Reading, io);
  const parts = readings.map(
    (r) => `${io.style("cyan", `Read at level ${r.levels}: a ${r.kind}.`)} ${readingText(r, io)}`,
  );
  return [
    "Bits 1:0 are 11: a page at level 3, a table at any other level. --level N chooses; here are both, the likelier first.",
    ...parts,
  ].join("\n\n");
}

interface Explained {
  descriptor: bigint;
  readings: readonly Reading[];
}

function documentOf({ descriptor, readings }: Explained, options: ExplainOptions): Record<string, unknown> {
  const [first, ...others] = readings.map(readingJson);
  return {
    descriptor: hex(descriptor, 16),
    stage: options.stage,
    granule: options.granule,
    level: options.level ?? null,
    ...first,
    alternatives: others,
  };
}

function textOf({ descriptor, readings }: Explained, io: CommandIo): string {
  return `${hex(descriptor, 16)}\n${readingsText(readings, io)}\n`;
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  if (args.operands.length === 0) throw new UsageError("DESCRIPTOR is missing");
  const options = optionsOf(args);
  const words = await readWords(args.operands, io, "descriptor");
  const all = words.map((descriptor) => ({ descriptor, readings: explainDescriptor(descriptor, options) }));
  const [first] = all;
  if (!args.json) await io.out(all.map((one) => textOf(one, io)).join("\n"));
  // One descriptor is the document itself; several are a list in it.
  else if (all.length === 1 && first) await writeJson(io, { schemaVersion: 1, ...documentOf(first, options) });
  else await writeJson(io, { schemaVersion: 1, descriptors: all.map((one) => documentOf(one, options)) });
  return Exit.OK;
}

/** `granule explain DESCRIPTOR`. */
export const explain: Command = {
  name: "explain",
  usage: "DESCRIPTOR... [--stage 2|el1|el2] [--granule 4k|16k|64k] [--level N]",
  summary: "decode 64-bit descriptors, field by field",
  help: `Decodes page-table descriptors: what each is, where it points, and what each field says. The same value can be a page
or a table, which depends on the level it was found at: without --level, both are shown.

DESCRIPTOR is hex, with 0x or without; digits alone are decimal, unless they are 16 or begin with 0. With - descriptors are
read from standard input, any number on a line.`,
  options: {
    stage: {
      type: "string",
      value: "2|el1|el2",
      help: "2: a guest's stage 2; el1: stage 1 of EL1&0; el2: EL2's own stage 1 (default 2)",
    },
    granule: { type: "string", value: "SIZE", help: "4k, 16k or 64k (default 4k)" },
    level: {
      type: "string",
      short: "l",
      value: "N",
      help: "level at which the entry was found, -1 to 3 (write --level=-1)",
    },
    lpa2: { type: "boolean", help: "the table has 52-bit addresses in 4K or 16K pages (FEAT_LPA2)" },
    fwb: {
      type: "boolean",
      help: "the CPU has forced write-back (FEAT_S2FWB), --no-fwb: it has not (default: guessed from the bits)",
    },
    hvhe: { type: "boolean", help: "EL2 runs with VHE's permission bits (hVHE)" },
    xnx: { type: "boolean", help: "stage 2 has separate execute rights for EL1 and EL0 (FEAT_XNX)" },
  },
  examples: [
    { line: "granule explain 00400000400007ff --level 3", shows: "a page of a guest's stage 2" },
    { line: "granule explain --stage el1 0x00e8000081234f43", shows: "an entry of a process's own table" },
    {
      line: "granule explain --stage el2 --granule 64k 0x00600000400f0783",
      shows: "an entry of the hypervisor's table",
    },
  ],
  run,
};
