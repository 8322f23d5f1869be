import { join } from "node:path";
import { GranuleError } from "../../core/errors.js";
import { type TableImage, tableImage } from "../../report/image.js";
import { printable } from "../../report/printable.js";
import { bytes, plural } from "../../report/text.js";
import {
  type Command,
  type CommandArgs,
  type CommandIo,
  Exit,
  InputError,
  stringOption,
  UsageError,
  writeJson,
} from "../command.js";
import { IMAGE, MANIFEST, writeImageFolder } from "../image-folder.js";
import { BOUNDS_HELP, refuseOverwrite } from "../input.js";
import { runScript, SCRIPT_OPTIONS } from "../script.js";

function baseOf(args: CommandArgs): bigint | undefined {
  const text = stringOption(args, "base");
  if (text === undefined) return undefined;
  if (!/^0x[0-9a-f]{1,13}$/i.test(text) || BigInt(text) % (1n << 20n) !== 0n) {
    throw new UsageError(`--base is a hex address below 2^52 on a 1 MiB boundary, not ${text}`);
  }
  return BigInt(text);
}

const FILES = [IMAGE, MANIFEST];

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const folder = stringOption(args, "out");
  if (folder === undefined) throw new UsageError("--out DIR is missing");
  for (const name of FILES) await refuseOverwrite(join(folder, name), args.operands);
  const { scenario, name } = await runScript(args, io, baseOf(args));
  using _engine = scenario.engine;
  let made: TableImage;
  try {
    made = tableImage(scenario.table);
  } catch (error) {
    if (error instanceof GranuleError) throw new InputError(`${name}: ${error.hint}`);
    throw error;
  }
  await writeImageFolder(folder, made);
  const { manifest, image, pages } = made;
  if (args.json) {
    const document = { schemaVersion: 1, out: folder, bytes: image.length, pages, manifest };
    await writeJson(io, document);
  } else {
    await io.out(
      `${printable(join(folder, IMAGE))}: ${bytes(image.length)}, ${plural(pages, "table page")} from ${manifest.phys_base}\n`,
    );
  }
  return Exit.OK;
}

/** `granule image OPS --out DIR`. */
export const image: Command = {
  name: "image",
  usage: "OPS --out DIR [--base ADDRESS]",
  summary: "run an operations file and write the table memory for an independent MMU",
  help: `Runs an operations file (vectors/FORMAT.md) and writes what another MMU, in an emulator or in silicon, needs to walk
the table it leaves: DIR/image.bin holds the table pages at their places, with zeros between them; DIR/manifest.json says
(as mmu-vectors/FORMAT.md does) at which physical address the image begins and what the registers hold: VTCR_EL2 and
VTTBR_EL2, or TCR_EL2, TTBR0_EL2 and MAIR_EL2.

OPS is a file, gzipped or not, or - for standard input. ${BOUNDS_HELP}`,
  options: {
    out: { type: "string", short: "o", value: "DIR", help: "folder to write into; made if it is not there" },
    base: {
      type: "string",
      value: "ADDRESS",
      help: "physical address of the table memory, 1 MiB aligned (default: the header's)",
    },
    ...SCRIPT_OPTIONS,
  },
  examples: [{ line: "granule image ops.jsonl --out table", shows: "table/image.bin and table/manifest.json" }],
  run,
};
