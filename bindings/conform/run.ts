import { GranuleError } from "../core/errors.js";
import { type Header, type Line, parseHeader, parseObject, VectorSyntaxError } from "./format.js";
import { type Actual, JOURNAL_RECORDS, JournalOverrun, Scenario, type Surroundings } from "./scenario.js";

/** One field of one operation that is not as recorded. */
export interface Failure {
  file: string;
  line: number;
  op: string;
  field: string;
  expected: unknown;
  actual: unknown;
}

/** How a file went. */
export interface FileResult {
  file: string;
  ops: number;
  passed: number;
  failed: number;
  failures: Failure[];
}

/** Fields of a line that are arguments, and so are not compared. */
const ARGUMENTS = new Set([
  "op",
  "addr",
  "size",
  "phys",
  "prot",
  "mc",
  "walk_flags",
  "owner",
  "mkold",
  "fail_at",
  "fail_ret",
  "level",
  "force_pte",
  "mmfr0",
  "mmfr1",
  "phys_shift",
  "va_bits",
  "pte",
]);
/** Results of get_leaf that elsewhere are arguments. */
const LEAF_RESULTS: readonly string[] = ["pte", "level"];

function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) => same(own(a as Actual, key), own(b as Actual, key)));
}

/** Compares the result fields of a line with what came; a field only one side has differs too. */
function compare(expected: Line, actual: Actual): { field: string; expected: unknown; actual: unknown }[] {
  const results = expected.op === "get_leaf" ? LEAF_RESULTS : [];
  const isResult = (field: string) => !ARGUMENTS.has(field) || results.includes(field);
  const fields = new Set([...Object.keys(expected).filter(isResult), ...Object.keys(actual)]);
  return [...fields]
    .map((field) => ({ field, expected: own(expected, field), actual: own(actual, field) }))
    .filter(({ expected, actual }) => !same(expected, actual));
}

/** A field that an object itself has: a line may name one `toString`. */
function own(object: Readonly<Record<string, unknown>>, field: string): unknown {
  return Object.hasOwn(object, field) ? object[field] : undefined;
}

/** What an operation gives; for one that is refused out of turn, the refusal as its `ret`. */
function attempt(operation: () => Actual): Actual {
  try {
    return operation();
  } catch (error) {
    if (error instanceof GranuleError) return { ret: error.message };
    throw error;
  }
}

/** The table that a header asks for; one that cannot be is the file's fault. */
function makeScenario(header: Header, surroundings: Surroundings): Scenario {
  try {
    return new Scenario(header, surroundings);
  } catch (error) {
    if (error instanceof GranuleError) throw new VectorSyntaxError(1, `no such table: ${error.message}`);
    throw error;
  }
}

const GEOMETRY = ["ia_bits", "start_level", "pgd_pages", "vtcr"] as const;

function compareGeometry(header: Header, scenario: Scenario): { field: string; expected: unknown; actual: unknown }[] {
  const actual = scenario.geometry();
  return GEOMETRY.filter((field) => header[field] !== undefined && header[field] !== actual[field]).map((field) => ({
    field,
    expected: header[field],
    actual: actual[field],
  }));
}

/** A vectors file, performed and compared line by line as it is read. */
export class VectorRun implements Disposable {
  readonly #result: FileResult;
  readonly #surroundings: Surroundings;
  readonly #draining: boolean;
  #scenario: Scenario | undefined;
  #n = 0;

  /** @param draining - read the journal during operations: needed where one makes more events than it holds */
  constructor(file: string, surroundings: Surroundings, draining = false) {
    this.#result = { file, ops: 0, passed: 0, failed: 0, failures: [] };
    this.#draining = draining;
    this.#surroundings = draining ? { ...surroundings, onDescent: () => this.#keepUp() } : surroundings;
  }

  #keepUp(): void {
    const scenario = this.#scenario;
    if (scenario !== undefined && scenario.unread >= JOURNAL_RECORDS / 2) scenario.readEvents();
  }

  #fail(op: string, differences: readonly { field: string; expected: unknown; actual: unknown }[]): void {
    if (differences.length === 0) return;
    const { file, failures } = this.#result;
    this.#result.failed++;
    for (const d of differences) failures.push({ file, line: this.#n, op, ...d });
  }

  #begin(text: string): Scenario {
    const header = parseHeader(text);
    const scenario = makeScenario(header, this.#surroundings);
    this.#fail("header", compareGeometry(header, scenario));
    return scenario;
  }

  #perform(scenario: Scenario, line: Line): Actual {
    try {
      return scenario.perform(line, this.#n);
    } catch (error) {
      if (!(error instanceof JournalOverrun) || !this.#draining) throw error;
      throw new VectorSyntaxError(this.#n, `${error.message}, though it was read at every table`);
    }
  }

  /**
   * Performs the next line; the first is the header. VectorSyntaxError for one that is not of the format, JournalOverrun
   * for an operation of more events than the journal holds where nobody drains it.
   */
  line(text: string): void {
    const n = ++this.#n;
    const scenario = this.#scenario;
    if (scenario === undefined) {
      this.#scenario = this.#begin(text);
      return;
    }
    const line = parseObject(text, n) as Line;
    const isDump = line.op === undefined;
    const actual = attempt(() => (isDump ? { dump: scenario.dump() } : this.#perform(scenario, line)));
    const differences = compare(line, actual);
    if (!isDump) this.#result.ops++;
    if (!isDump && differences.length === 0) this.#result.passed++;
    this.#fail(isDump ? "dump" : String(line.op), differences);
  }

  /** How it went. VectorSyntaxError if there was no line. */
  finish(): FileResult {
    if (this.#n === 0) throw new VectorSyntaxError(1, "the file is empty");
    return this.#result;
  }

  /** Differences found since the last call; they are taken out of the result, so that a long run keeps none. */
  takeFailures(): Failure[] {
    return this.#result.failures.splice(0);
  }

  [Symbol.dispose](): void {
    this.#scenario?.[Symbol.dispose]();
  }
}

function runOnce(file: string, text: string, surroundings: Surroundings, draining: boolean): FileResult {
  using run = new VectorRun(file, surroundings, draining);
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  for (const line of lines) run.line(line);
  return run.finish();
}

/**
 * Performs every line of a vectors file and compares what it gives with what was recorded. Surroundings need `createHash`.
 * Throws VectorSyntaxError for a line that is not of the format.
 */
export function runVectors(file: string, text: string, surroundings: Surroundings): FileResult {
  try {
    return runOnce(file, text, surroundings, false);
  } catch (error) {
    if (error instanceof JournalOverrun) return runOnce(file, text, surroundings, true);
    throw error;
  }
}

/** What performing an operations file leaves: the table as it then is, and how it came about. */
export interface Script {
  scenario: Scenario;
  ops: number;
  /** Operations that the table refused, by a negative errno. */
  refused: number;
}

/** An operations file, performed line by line as it is read, without comparing. Empty lines are skipped. */
export class ScriptRun {
  readonly #surroundings: Surroundings;
  readonly #until: number;
  #script: Script | undefined;
  #n = 0;

  /** @param until - the last line that is performed; further ones are ignored */
  constructor(surroundings: Surroundings, until = Number.POSITIVE_INFINITY) {
    const { createHash: _, ...rest } = surroundings;
    this.#surroundings = rest;
    this.#until = until;
  }

  /** True once nothing that follows matters. */
  get done(): boolean {
    return this.#n >= this.#until;
  }

  /** Performs the next line; the first is the header. VectorSyntaxError for one that is not of the format. */
  line(text: string): void {
    if (this.done) return;
    const n = ++this.#n;
    const script = this.#script;
    if (script === undefined) {
      this.#script = { scenario: makeScenario(parseHeader(text), this.#surroundings), ops: 0, refused: 0 };
      return;
    }
    if (text.trim() === "") return;
    const line = parseObject(text, n) as Line;
    if (line.op === undefined) return;
    const { ret } = attempt(() => script.scenario.apply(line, n));
    this.#surroundings.afterEach?.(n);
    script.ops++;
    if (typeof ret === "number" ? ret < 0 : typeof ret === "string" && !ret.startsWith("0x")) script.refused++;
  }

  /** The table; the caller closes the scenario's engine. VectorSyntaxError if there was no line. */
  finish(): Script {
    if (this.#script === undefined) throw new VectorSyntaxError(1, "the file is empty");
    return this.#script;
  }

  /** Closes the engine of a run that will not be finished. */
  abandon(): void {
    this.#script?.scenario[Symbol.dispose]();
  }
}

/** Performs an operations file that is in memory, up to line `until`; the caller closes the scenario's engine. */
export function performScript(text: string, surroundings: Surroundings, until?: number): Script {
  const run = new ScriptRun(surroundings, until);
  try {
    for (const line of text.split("\n")) run.line(line);
    return run.finish();
  } catch (error) {
    run.abandon();
    throw error;
  }
}
