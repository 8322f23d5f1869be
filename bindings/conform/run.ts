import { GranuleError } from "../core/errors.js";
import { type Header, type Line, parseHeader, parseObject, VectorSyntaxError } from "./format.js";
import { type Actual, Scenario, type Surroundings } from "./scenario.js";

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
  return keys.every((key) => same((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]));
}

/** Compares the result fields of a line with what came; a field only one side has differs too. */
function compare(expected: Line, actual: Actual): { field: string; expected: unknown; actual: unknown }[] {
  const results = expected.op === "get_leaf" ? LEAF_RESULTS : [];
  const isResult = (field: string) => !ARGUMENTS.has(field) || results.includes(field);
  const fields = new Set([...Object.keys(expected).filter(isResult), ...Object.keys(actual)]);
  return [...fields]
    .filter((field) => !same(expected[field], actual[field]))
    .map((field) => ({ field, expected: expected[field], actual: actual[field] }));
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

function checkHeader(file: string, header: Header, scenario: Scenario): Failure[] {
  const actual = scenario.geometry();
  return GEOMETRY.filter((field) => header[field] !== undefined && header[field] !== actual[field]).map((field) => ({
    file,
    line: 1,
    op: "header",
    field,
    expected: header[field],
    actual: actual[field],
  }));
}

/**
 * Performs every line of a vectors file and compares what it gives with what was recorded.
 * Throws VectorSyntaxError for a line that is not of the format.
 */
export function runVectors(file: string, text: string, surroundings: Surroundings): FileResult {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  if (lines.length === 0) throw new VectorSyntaxError(1, "the file is empty");
  const header = parseHeader(lines[0] as string);
  using scenario = makeScenario(header, surroundings);
  const result: FileResult = { file, ops: 0, passed: 0, failed: 0, failures: checkHeader(file, header, scenario) };
  result.failed = result.failures.length > 0 ? 1 : 0;
  for (let n = 2; n <= lines.length; n++) {
    const line = parseObject(lines[n - 1] as string, n) as Line;
    const op = line.op ?? "dump";
    const actual = line.op === undefined ? { dump: scenario.dump() } : attempt(() => scenario.perform(line, n));
    if (line.op !== undefined) result.ops++;
    const differences = compare(line, actual);
    if (line.op !== undefined && differences.length === 0) result.passed++;
    if (differences.length > 0) result.failed++;
    for (const d of differences) result.failures.push({ file, line: n, op, ...d });
  }
  return result;
}

/** What `performScript` leaves: the table as it then is, and how it came about. */
export interface Script {
  scenario: Scenario;
  ops: number;
  /** Operations that the table refused, by a negative errno. */
  refused: number;
}

/**
 * Performs the lines of an operations file, up to line `until`, without comparing; the caller closes the scenario's
 * engine. Empty lines are skipped.
 */
export function performScript(text: string, surroundings: Surroundings, until?: number): Script {
  const lines = text.split("\n").slice(0, until);
  const scenario = makeScenario(parseHeader(lines[0] ?? ""), { ...surroundings, observe: false });
  const script: Script = { scenario, ops: 0, refused: 0 };
  for (let n = 2; n <= lines.length; n++) {
    const content = lines[n - 1] as string;
    if (content.trim() === "") continue;
    const line = parseObject(content, n) as Line;
    if (line.op === undefined) continue;
    const { ret } = attempt(() => scenario.apply(line, n));
    surroundings.afterEach?.(n);
    script.ops++;
    if (typeof ret === "number" ? ret < 0 : typeof ret === "string" && !ret.startsWith("0x")) script.refused++;
  }
  return script;
}
