import type { Granule } from "../../model/granule.js";
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
  integerOption,
  oneOperand,
  UsageError,
  writeJson,
} from "../command.js";

const GRANULES: Readonly<Record<string, Granule>> = {
  "4k": 4096,
  "16k": 16384,
  "64k": 65536,
  "4096": 4096,
  "16384": 16384,
  "65536": 65536,
};

function descriptorOf(text: string): bigint {
  const plain = text.replaceAll("_", "");
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(plain))
    throw new UsageError(`${text} is not a number: write hex as 0x..., or decimal digits`);
  const value = BigInt(plain);
  if (value >> 64n) throw new UsageError(`${text} has more than 64 bits`);
  return value;
}

function optionsOf(args: CommandArgs): ExplainOptions {
  const name = choiceOption(args, "granule", Object.keys(GRANULES)) ?? "4k";
  const granule = GRANULES[name] as Granule;
  const level = integerOption(args, "level", -1, 3);
  const fwb = args.options.fwb;
  const options: ExplainOptions = {
    stage: choiceOption(args, "stage", ["2", "hyp"]) ?? "2",
    granule,
    lpa2: booleanOption(args, "lpa2"),
    hvhe: booleanOption(args, "hvhe"),
    xnx: booleanOption(args, "xnx"),
  };
  if (options.lpa2 && granule === 65536)
    throw new UsageError("--lpa2 is for 4K and 16K pages: 64K pages have 52-bit addresses without it");
  if (options.hvhe && options.stage === "2")
    throw new UsageError("--hvhe is for the hypervisor's own table: add --stage hyp");
  if (level !== undefined) options.level = level;
  if (typeof fwb === "boolean") options.fwb = fwb;
  return options;
}

const hex = (value: bigint) => `0x${value.toString(16)}`;

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
function text(readings: readonly Reading[], io: CommandIo): string {
  if (readings.length === 1) return readingText(readings[0] as Reading, io);
  const parts = readings.map(
    (r) => `${io.style("cyan", `Read at level ${r.levels}: a ${r.kind}.`)} ${readingText(r, io)}`,
  );
  return [
    "Bits 1:0 are 11: a page at level 3, a table at any other level. --level N chooses; here are both, the likelier first.",
    ...parts,
  ].join("\n\n");
}

function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const descriptor = descriptorOf(oneOperand(args, "DESCRIPTOR"));
  const options = optionsOf(args);
  const readings = explainDescriptor(descriptor, options);
  const [first, ...others] = readings.map(readingJson);
  const document = {
    schemaVersion: 1,
    descriptor: `0x${descriptor.toString(16).padStart(16, "0")}`,
    stage: options.stage,
    granule: options.granule,
    level: options.level ?? null,
    ...first,
    alternatives: others,
  };
  const written = args.json ? writeJson(io, document) : io.out(`${document.descriptor}\n${text(readings, io)}\n`);
  return written.then(() => Exit.OK);
}

/** `granule explain DESCRIPTOR`. */
export const explain: Command = {
  name: "explain",
  usage: "DESCRIPTOR [--stage 2|hyp] [--granule 4k|16k|64k] [--level N]",
  summary: "decode a 64-bit descriptor, field by field",
  help: `Decodes a page-table descriptor: what it is, where it points, and what each field says.
DESCRIPTOR is hex (0x...) or decimal. The same value can be a page or a table, which depends on the level it was found at:
without --level, both are shown.

  granule explain 0x00400000400007ff --level 3
  granule explain --stage hyp --granule 64k 0x00600000400f0783`,
  options: {
    stage: { type: "string", value: "2|hyp", help: "2: a guest's stage 2; hyp: EL2's own stage 1 (default 2)" },
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
  run,
};
