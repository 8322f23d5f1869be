import { once } from "node:events";
import { parseArgs } from "node:util";
import { GranuleError } from "../core/errors.js";
import { nearest } from "../core/suggest.js";
import { printable } from "../report/printable.js";
import { columns, styler, wantsColour, wrap } from "../report/text.js";
import {
  COMMON_EXITS,
  type Command,
  type CommandArgs,
  type CommandIo,
  type CommandOption,
  Exit,
  exitsOf,
  InputError,
  Interrupted,
  optionsOf,
  parseArgsOptions,
  UsageError,
  writeJson,
} from "./command.js";
import { unreadable } from "./input.js";
import { ProgressLine } from "./progress.js";
import { COMMANDS } from "./registry.js";
import { version } from "./version.js";

/** The process as a command sees it, so that tests can stand in for it. */
export interface Surroundings {
  /** `destroy` ends a read that waits: its iteration then throws the error. */
  stdin: AsyncIterable<Uint8Array> & { destroy?(error: Error): unknown };
  stdout: NodeJS.WritableStream & { isTTY?: boolean };
  stderr: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds on a clock that never goes back. Default: performance.now. */
  now?(): number;
  /** Calls `listener` on the first SIGINT; a second one ends the process as usual. */
  onInterrupt(listener: () => void): void;
}

/** Commands that look at `signal` end on their own; for the others SIGINT keeps its usual, immediate effect. */
class LazySignal {
  readonly #surroundings: Surroundings;
  #controller: AbortController | undefined;

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      const made = new AbortController();
      this.#surroundings.onInterrupt(() => made.abort());
      this.#controller = made;
    }
    return this.#controller.signal;
  }

  get aborted(): boolean {
    return this.#controller?.signal.aborted ?? false;
  }
}

/** Standard input, whose reading ends when SIGINT comes. */
async function* interruptible(
  stdin: Surroundings["stdin"],
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (signal.aborted) throw new Interrupted();
  const stop = () => stdin.destroy?.(new Interrupted());
  signal.addEventListener("abort", stop);
  try {
    yield* stdin;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

function makeIo(s: Surroundings): CommandIo {
  const interrupt = new LazySignal(s);
  const isDumb = s.env.TERM === "dumb";
  const line = new ProgressLine(s.stderr, { isDumb, now: () => s.now?.() ?? performance.now() });
  return {
    out: async (text) => {
      if (interrupt.aborted) throw new Interrupted();
      line.clear();
      if (!s.stdout.write(text)) await once(s.stdout, "drain");
    },
    note: (text) => {
      line.clear();
      s.stderr.write(`${printable(text)}\n`);
    },
    progress: (progress) => (progress === undefined ? line.end() : line.show(progress)),
    stdin: () => interruptible(s.stdin, interrupt.signal),
    get signal() {
      return interrupt.signal;
    },
    style: styler(wantsColour(s.stdout, s.env)),
  };
}

const OVERVIEW = `usage: granule <command> [options] [operands]

Arm64 page tables as KVM keeps them: build, check, dump, explain, replay.
`;

const EPILOGUE = `
Every command has --help and --json. Data goes to stdout, notes and progress to stderr.
The files that commands read and write are described in the package's docs/formats/.
Exit code: ${COMMON_EXITS.map(({ code, meaning }) => `${code} ${meaning}`).join(", ")}.
NO_COLOR=1 turns colours off.
`;

/** The text of `granule --help`. */
export function overview(): string {
  const rows = COMMANDS.map(({ name, summary }) => [`  ${name}`, summary]);
  return `${OVERVIEW}\ncommands:\n${columns(rows).join("\n")}\n${EPILOGUE}`;
}

/** Columns that help takes of a terminal. */
const HELP_WIDTH = 100;

/** Paragraphs as lines of the width of help; one with indented lines is a list, which stays as it is. */
function paragraphs(text: string): string[] {
  return text
    .trim()
    .split(/\n{2,}/)
    .flatMap((paragraph, i) => {
      const lines = /^ /m.test(paragraph) ? paragraph.split("\n") : wrap(paragraph, HELP_WIDTH);
      return i === 0 ? lines : ["", ...lines];
    });
}

/** Two columns: names, and what each means, over as many lines as it takes. */
function definitions(rows: readonly (readonly [name: string, meaning: string])[]): string[] {
  const width = Math.max(...rows.map(([name]) => name.length));
  return columns(
    rows.flatMap(([name, meaning]) =>
      wrap(meaning, HELP_WIDTH - width - 2).map((line, i) => [i === 0 ? name : "", line]),
    ),
  );
}

function optionRow(name: string, { short, value, help = "", default: fallback }: CommandOption): [string, string] {
  const flag = `  ${short ? `-${short}, ` : ""}--${name}${value ? ` ${value}` : ""}`;
  return [flag, `${help}${typeof fallback === "string" ? ` (default ${fallback})` : ""}`];
}

/** The text of `granule COMMAND --help`. */
export function commandHelp(command: Command): string {
  const { name, usage, help, examples = [] } = command;
  const forms = usage.split("\n").map((form, i) => `${i === 0 ? "usage:" : "      "} granule ${name} ${form}`);
  const shown = Object.entries(optionsOf(command)).filter(([, option]) => option.help !== undefined);
  const tried = examples.flatMap(({ line, shows }) => [`  ${line}`, `      ${shows}`]);
  const exits = exitsOf(command).map(({ code, meaning }) => `${code} ${meaning}`);
  return [
    ...forms,
    "",
    ...paragraphs(help),
    ...(tried.length > 0 ? ["", "examples:", ...tried] : []),
    "",
    "options:",
    ...definitions(shown.map(([option, about]) => optionRow(option, about))),
    "",
    ...wrap(`exit code: ${exits.join("; ")}`, HELP_WIDTH),
    "",
  ].join("\n");
}

/** A question behind what is not known: the name that was meant, if that can be told. */
function meant(written: string, names: readonly string[], before = ""): string {
  const name = nearest(written, names);
  return name === undefined ? "" : `: did you mean ${before}${name}?`;
}

/** Splits the command line of `command`; parseArgs's own complaints become usage errors of one line. */
function parse(command: Command, argv: readonly string[]): CommandArgs & { help: boolean } {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: parseArgsOptions(command),
      allowPositionals: true,
      allowNegative: true,
    });
    const options = values as CommandArgs["options"];
    return { operands: positionals, options, json: options.json === true, help: options.help === true };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const [, unknown] = /^Unknown option '--(?:no-)?([^']*)'/.exec(message) ?? [];
    if (unknown !== undefined) {
      throw new UsageError(`no option --${unknown}${meant(unknown, Object.keys(parseArgsOptions(command)), "--")}`);
    }
    // The first sentence names the option; the rest of it is advice on quoting.
    throw new UsageError((message.split(". ")[0] ?? message).replace(/\.$/, "").replace(/\s*\n\s*/g, " "));
  }
}

async function dispatch(argv: readonly string[], io: CommandIo): Promise<number> {
  const [first, ...rest] = argv;
  if (first === undefined) throw new UsageError("which command?");
  if (first === "--help" || first === "-h" || first === "help") {
    const named = COMMANDS.find(({ name }) => name === rest[0]);
    await io.out(named ? commandHelp(named) : overview());
    return Exit.OK;
  }
  if (first === "--version" || first === "-V") {
    if (rest.includes("--json")) await writeJson(io, { schemaVersion: 1, version: version() });
    else await io.out(`${version()}\n`);
    return Exit.OK;
  }
  const command = COMMANDS.find(({ name }) => name === first);
  if (!command) {
    const names = COMMANDS.map(({ name }) => name);
    throw new UsageError(first.startsWith("-") ? `no option ${first}` : `no command ${first}${meant(first, names)}`);
  }
  const args = parse(command, rest);
  if (args.help) {
    await io.out(commandHelp(command));
    return Exit.OK;
  }
  return command.run(args, io);
}

/** An error of the operating system that names a call: a file that vanished, a full disk. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error && "code" in error;
}

/** One line on stderr for what went wrong, and its exit code. Only a defect of granule itself prints a stack. */
function report(error: unknown, argv: readonly string[], io: CommandIo): number {
  const known = COMMANDS.some(({ name }) => name === argv[0]);
  if (error instanceof UsageError) {
    io.note(`granule: ${error.message} (see granule ${known ? `${argv[0]} ` : ""}--help)`);
    return Exit.USAGE;
  }
  if (error instanceof Interrupted) {
    io.note(error.message);
    return Exit.INTERRUPTED;
  }
  if (error instanceof InputError) {
    io.note(`granule: ${error.message}`);
    return Exit.UNREADABLE;
  }
  if (error instanceof GranuleError) {
    io.note(`granule: ${error.message.replace(/\s*\n\s*/g, " ")}`);
    return Exit.FINDING;
  }
  if (isSystemError(error)) {
    io.note(`granule: ${unreadable(error.path ?? error.syscall ?? "a file", error).message}`);
    return Exit.UNREADABLE;
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  for (const line of `granule: a defect of granule itself: ${stack}`.split("\n")) io.note(line);
  return Exit.FINDING;
}

/** Runs a command line, without `node` and the script; resolves to the exit code. */
export async function runCli(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const io = makeIo(surroundings);
  try {
    return await dispatch(argv, io);
  } catch (error) {
    return report(error, argv, io);
  } finally {
    io.progress(undefined);
  }
}
