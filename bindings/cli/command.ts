import type { ParseArgsConfig } from "node:util";
import type { Granule } from "../model/granule.js";
import { printableJson } from "../report/printable.js";
import type { Progress } from "./progress.js";

/** Exit codes of the command line. */
export const Exit = {
  /** Done, and nothing to report. */
  OK: 0,
  /** Done, and something was found: a failure, a difference, a violation. */
  FINDING: 1,
  /** The command line makes no sense. */
  USAGE: 2,
  /** An input cannot be read: absent, or not of its format. */
  UNREADABLE: 3,
  /** Stopped by SIGINT. */
  INTERRUPTED: 130,
} as const;

/**
 * Where a command reads and writes. Data goes to `out`, progress and notes to standard error. Text that came from an input,
 * file names too, goes to `out` through `printable` of report/printable.ts, and JSON through `writeJson`; `note` and
 * `progress` see to that themselves.
 */
export interface CommandIo {
  /**
   * Writes data to standard output; resolves when more may be written, so that big output does not pile up. Throws
   * Interrupted once a command that looks at `signal` was interrupted.
   */
  out(text: string): Promise<void>;
  /** Writes one line for a person to standard error, in printable form. */
  note(line: string): void;
  /**
   * Shows how far a task is that takes more than a second, with its rate and the time left, on standard error if that is a
   * terminal, ten times a second at most; `undefined` ends the task. Call it as often as is convenient.
   */
  progress(progress: Progress | undefined): void;
  /** The bytes of standard input, for a path of `-`. Throws Interrupted on SIGINT, also while nothing comes. */
  stdin(): AsyncIterable<Uint8Array>;
  /** Fires on SIGINT; the command stops soon after and its exit code becomes 130. */
  readonly signal: AbortSignal;
  /** Marks text for a terminal; the text itself where colours are off. */
  style(format: "bold" | "dim" | "red" | "green" | "yellow" | "cyan", text: string): string;
}

/** One option of a command: what parseArgs needs, and how help shows it. */
export interface CommandOption {
  type: "boolean" | "string";
  short?: string;
  multiple?: boolean;
  default?: string | boolean;
  /** Name of the value in help: `FILE` in `--html FILE`. */
  value?: string;
  /** One line of help; an option without one is not shown. */
  help?: string;
}

/** Options that every command has. */
export const COMMON_OPTIONS: Readonly<Record<string, CommandOption>> = {
  json: { type: "boolean", help: "print JSON" },
  help: { type: "boolean", short: "h", help: "print this text" },
};

/** The values of the options of a command, as parseArgs gives them. */
export type OptionValues = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;

/** What follows the name of the command on the command line. */
export interface CommandArgs {
  /** Everything that is not an option, in order. */
  readonly operands: readonly string[];
  readonly options: OptionValues;
  /** True with `--json`, which every command has. */
  readonly json: boolean;
}

/** A command line that can be tried, and what it shows. */
export interface CommandExample {
  /** The whole line, as a shell takes it. */
  readonly line: string;
  /** What it does, in a few words. */
  readonly shows: string;
}

/** What an exit code means. */
export interface CommandExit {
  readonly code: number;
  readonly meaning: string;
}

/**
 * One command of `granule`, as data: `--help` and the command's page in the documentation are both made from it. What every
 * command has is not repeated: `COMMON_OPTIONS` and `COMMON_EXITS`, which `exitsOf` adds.
 */
export interface Command {
  readonly name: string;
  /** Operands and options in short, after the name: `PATH... [--json]`. Each line is a form of its own. */
  readonly usage: string;
  /** One line for the overview. */
  readonly summary: string;
  /** Paragraphs for `--help`, below the usage line. */
  readonly help: string;
  readonly options: Readonly<Record<string, CommandOption>>;
  /** What 0 and 1 mean here, where the common words do not say it. */
  readonly exits?: readonly CommandExit[];
  readonly examples?: readonly CommandExample[];
  /** Runs the command; resolves to an exit code of `Exit`. Throws UsageError and InputError for these cases. */
  run(args: CommandArgs, io: CommandIo): Promise<number>;
}

/** The command line makes no sense: exit 2. The message is one line. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** An input cannot be read or is not of its format: exit 3. The message is one line that begins with the input's name. */
export class InputError extends Error {
  override readonly name = "InputError";
}

/** SIGINT came while the command waited for input: exit 130. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";

  constructor(message = "interrupted") {
    super(message);
  }
}

/** Writes a JSON document to standard output. */
export function writeJson(io: CommandIo, document: object): Promise<void> {
  return io.out(`${printableJson(document, 2)}\n`);
}

/** The value of a string option, or undefined. */
export function stringOption(args: CommandArgs, name: string): string | undefined {
  const value = args.options[name];
  return typeof value === "string" ? value : undefined;
}

/** True if a boolean option was given. */
export function booleanOption(args: CommandArgs, name: string): boolean {
  return args.options[name] === true;
}

/** The value of an option that is one of `choices`; UsageError for another. */
export function choiceOption<T extends string>(args: CommandArgs, name: string, choices: readonly T[]): T | undefined {
  const value = stringOption(args, name);
  if (value === undefined) return undefined;
  const found = choices.find((choice) => choice === value);
  if (found === undefined) throw new UsageError(`--${name} is ${choices.join(" or ")}, not ${value}`);
  return found;
}

/** The value of an option that is a whole number in a range; UsageError for anything else. */
export function integerOption(args: CommandArgs, name: string, min: number, max: number): number | undefined {
  const value = stringOption(args, name);
  if (value === undefined) return undefined;
  const n = Number(value);
  if (!/^-?\d+$/.test(value) || n < min || n > max) {
    throw new UsageError(`--${name} is a whole number from ${min} to ${max}, not ${value}`);
  }
  return n;
}

const GRANULES: Readonly<Record<string, Granule>> = {
  "4k": 4096,
  "16k": 16384,
  "64k": 65536,
  "4096": 4096,
  "16384": 16384,
  "65536": 65536,
};

/** The value of `--granule`: a page size such as 4k, 4K or 4096. */
export function granuleOption(args: CommandArgs): Granule | undefined {
  const value = stringOption(args, "granule");
  if (value === undefined) return undefined;
  const found = Object.entries(GRANULES).find(([name]) => name === value.toLowerCase());
  if (found === undefined) throw new UsageError(`--granule is 4k, 16k or 64k, not ${value}`);
  return found[1];
}

/** The one operand of a command; UsageError for none or more. */
export function oneOperand(args: CommandArgs, name: string): string {
  const [operand, second] = args.operands;
  if (operand === undefined) throw new UsageError(`${name} is missing`);
  if (second !== undefined) throw new UsageError(`only one ${name} is allowed: ${second} is one too many`);
  return operand;
}

/** What the exit codes mean to most commands. */
export const COMMON_EXITS: readonly CommandExit[] = [
  { code: Exit.OK, meaning: "fine" },
  { code: Exit.FINDING, meaning: "something was found" },
  { code: Exit.USAGE, meaning: "usage" },
  { code: Exit.UNREADABLE, meaning: "unreadable input" },
  { code: Exit.INTERRUPTED, meaning: "interrupted" },
];

/** All exit codes of a command, in order. */
export function exitsOf(command: Command): readonly CommandExit[] {
  const own = command.exits ?? [],
    codes = new Set(COMMON_EXITS.map(({ code }) => code));
  const common = COMMON_EXITS.map((one) => own.find(({ code }) => code === one.code) ?? one);
  return [...common, ...own.filter(({ code }) => !codes.has(code))].sort((a, b) => a.code - b.code);
}

/** All options of a command, those that every command has last. */
export function optionsOf(command: Command): Readonly<Record<string, CommandOption>> {
  return { ...command.options, ...COMMON_OPTIONS };
}

/** The options of a command in the form of parseArgs. */
export function parseArgsOptions(command: Command): NonNullable<ParseArgsConfig["options"]> {
  const options: NonNullable<ParseArgsConfig["options"]> = {};
  for (const [name, { type, short, multiple, default: fallback }] of Object.entries(optionsOf(command))) {
    options[name] = {
      type,
      ...(short === undefined ? {} : { short }),
      ...(multiple === undefined ? {} : { multiple }),
      ...(fallback === undefined ? {} : { default: fallback }),
    };
  }
  return options;
}
