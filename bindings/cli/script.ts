import { VectorSyntaxError } from "../conform/format.js";
import { type Script, ScriptRun } from "../conform/run.js";
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
import { inputName, readLines } from "./input.js";

/** Options of every command that runs an operations file. */
export const SCRIPT_OPTIONS: Readonly<Record<string, CommandOption>> = {
  until: {
    type: "string",
    value: "LINE",
    help: "stop after that line of the file (recorded files end by destroying the table)",
  },
  quirks: {
    type: "string",
    value: "linux-6.12|none",
    help: "linux-6.12: with that kernel's bugs; none: without (default linux-6.12)",
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
  const name = inputName(path);
  const base = physBase === undefined ? {} : { physBase };
  const run = new ScriptRun({ createEngine, quirks, ...base }, until);
  try {
    for await (const lines of readLines(path, io)) {
      for (const line of lines) run.line(line);
      if (run.done) break;
    }
    const script = run.finish();
    if (script.refused > 0)
      io.note(`${name}: the table refused ${script.refused} of ${plural(script.ops, "operation")}`);
    return { ...script, name };
  } catch (error) {
    run.abandon();
    if (error instanceof VectorSyntaxError) throw new InputError(`${name}: ${error.message}`);
    throw error;
  }
}
