import { VectorSyntaxError } from "../conform/format.js";
import { performScript, type Script } from "../conform/run.js";
import { createEngine } from "../index.js";
import { plural } from "../report/text.js";
import {
  type CommandArgs,
  type CommandIo,
  type CommandOption,
  choiceOption,
  InputError,
  integerOption,
  oneOperand,
} from "./command.js";
import { inputName, readText } from "./input.js";

/** Options of every command that runs an operations file. */
export const SCRIPT_OPTIONS: Readonly<Record<string, CommandOption>> = {
  until: { type: "string", value: "LINE", help: "stop after that line of the file: recorded files end with destroy" },
  quirks: {
    type: "string",
    value: "linux-6.12|none",
    help: "behave as that kernel, oddities included, or right (default linux-6.12)",
  },
};

const MAX_LINE = 2 ** 31;

/** Runs the operations file that is the only operand; a bad line is an InputError that names file and line. */
export async function runScript(
  args: CommandArgs,
  io: CommandIo,
  physBase?: bigint,
): Promise<Script & { name: string }> {
  const path = oneOperand(args, "OPS");
  const quirks = choiceOption(args, "quirks", ["linux-6.12", "none"]) ?? "linux-6.12";
  const until = integerOption(args, "until", 1, MAX_LINE);
  const text = await readText(path, io);
  const name = inputName(path);
  try {
    const base = physBase === undefined ? {} : { physBase };
    const script = performScript(text, { createEngine, sha256: () => "", quirks, ...base }, until);
    if (script.refused > 0)
      io.note(`${name}: ${script.refused} of ${plural(script.ops, "operation")} refused by the table`);
    return { ...script, name };
  } catch (error) {
    if (error instanceof VectorSyntaxError) throw new InputError(`${name}: ${error.message}`);
    throw error;
  }
}
