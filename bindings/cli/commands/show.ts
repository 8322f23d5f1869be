import { picture } from "../../report/picture.js";
import { type Command, type CommandArgs, type CommandIo, Exit, InputError, UsageError } from "../command.js";
import { BOUNDS_HELP } from "../input.js";
import { writeLines } from "../output.js";
import { runScript, SCRIPT_OPTIONS } from "../script.js";

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  if (args.json) throw new UsageError("a picture is for people: dump has --json");
  const { scenario, name } = await runScript(args, io);
  using engine = scenario.engine;
  const { table } = scenario;
  if (engine.closed || table.info().rootPa === 0n)
    throw new InputError(`${name}: the table is destroyed at the end: stop before that with --until LINE`);
  await writeLines(picture(table), io);
  return Exit.OK;
}

/** `granule show OPS`. */
export const show: Command = {
  name: "show",
  usage: "OPS [--until LINE]",
  summary: "run an operations file and draw the table in the terminal",
  help: `Runs an operations file (docs/formats/operations.md) and draws its table level by level: # is a leaf, T a table below, . nothing.
Of many tables side by side the first few are drawn. granule report OPS --html FILE shows all of them, down to single bits. ${BOUNDS_HELP}`,
  options: SCRIPT_OPTIONS,
  examples: [{ line: "granule show ops.jsonl", shows: "the table's levels, in characters" }],
  run,
};
