// The files of docs/formats/operations.md: a header line, then operations with what they should give.

import { printableShort, printableValue } from "../report/printable.js";

/** Line 1 of a file: the table, its CPU, and its memory operations. Numbers as hex strings where 64 bits matter. */
export interface Header {
  format: string;
  oracle?: string;
  stage: "stage2" | "hyp";
  granule: 4096 | 16384 | 65536;
  lpa2: boolean;
  fwb: boolean;
  tlbi_range: boolean;
  bti: boolean;
  hvhe: boolean;
  pa_bits52: boolean;
  ac03: boolean;
  mm_ops: { dcache: boolean; icache: boolean; page_count: boolean };
  mmfr0?: string;
  mmfr1?: string;
  phys_shift?: number;
  vtcr?: string;
  va_bits?: number;
  ia_bits?: number;
  start_level?: number;
  pgd_pages?: number;
  arena_base: string;
  flags: string[];
  force_pte: "none" | "all" | { below: string };
  note?: string;
}

/** One further line: an operation with its results, or a dump to compare with. */
export type Line = Record<string, unknown> & { op?: string; dump?: string[] };

/** A line that is not what the format says. */
export class VectorSyntaxError extends Error {
  override readonly name = "VectorSyntaxError";
  readonly line: number;
  /** What is wrong, without the line number. */
  readonly problem: string;

  constructor(line: number, problem: string) {
    super(`line ${line}: ${problem}`);
    this.line = line;
    this.problem = problem;
  }
}

/** The format needs four; functions that follow a value down may recurse this far. */
const MAX_NESTING = 32;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SHOWN = 60;

/** Does JSON text nest arrays and objects deeper than `MAX_NESTING`? Looks at brackets outside strings. */
function nestsTooDeeply(text: string): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === QUOTE) inString = !inString;
    else if (inString) i += c === BACKSLASH ? 1 : 0;
    // [ and { differ in one bit, as ] and } do.
    else if ((c | 0x20) === 0x7b && ++depth > MAX_NESTING) return true;
    else if ((c | 0x20) === 0x7d) depth--;
  }
  return false;
}

/** The JSON object on a line. */
export function parseObject(text: string, line: number): Record<string, unknown> {
  if (nestsTooDeeply(text)) throw new VectorSyntaxError(line, `nested deeper than ${MAX_NESTING} levels`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new VectorSyntaxError(line, `no JSON: ${printableShort(text, SHOWN)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new VectorSyntaxError(line, "a line holds one JSON object");
  }
  return value as Record<string, unknown>;
}

const STAGES: readonly unknown[] = ["stage2", "hyp"];
const PAGE_SIZES: readonly unknown[] = [4096, 16384, 65536];
const SWITCHES = ["lpa2", "fwb", "tlbi_range", "bti", "hvhe", "pa_bits52", "ac03"];

const HOOKS = ["dcache", "icache", "page_count"];
const FLAGS = ["NOFWB", "IDMAP"];

function checkHooks(hooks: unknown): void {
  for (const name of HOOKS) {
    if (typeof (hooks as Line | null | undefined)?.[name] === "boolean") continue;
    throw new VectorSyntaxError(1, "mm_ops says of dcache, icache and page_count whether they exist: true or false");
  }
}

/** Checks line 1. */
export function parseHeader(text: string): Header {
  const h = parseObject(text, 1);
  const refuse = (problem: string) => new VectorSyntaxError(1, problem);
  if (h.format !== "pgtable-vectors/1")
    throw refuse(`format "pgtable-vectors/1" expected, not ${printableValue(h.format)}`);
  if (!STAGES.includes(h.stage)) throw refuse('stage is "stage2" or "hyp"');
  if (!PAGE_SIZES.includes(h.granule)) throw refuse("granule is 4096, 16384 or 65536");
  for (const name of SWITCHES) if (typeof h[name] !== "boolean") throw refuse(`${name} is true or false`);
  checkHooks(h.mm_ops);
  if (h.stage === "hyp" ? typeof h.va_bits !== "number" : typeof h.phys_shift !== "number") {
    throw refuse("stage2 needs phys_shift, hyp needs va_bits");
  }
  const flag = names(h, "flags", 1).find((name) => !FLAGS.includes(name));
  if (flag !== undefined) throw refuse(`unknown flag ${printableValue(flag)}`);
  for (const name of ["phys_shift", "va_bits"]) if (h[name] !== undefined) integer(h, name, 1);
  number64(h, "arena_base", 1);
  for (const name of ["mmfr0", "mmfr1", "vtcr"]) if (h[name] !== undefined) number64(h, name, 1);
  if (typeof h.force_pte === "object" && h.force_pte !== null) number64(h.force_pte as Line, "below", 1);
  else if (h.force_pte !== "none" && h.force_pte !== "all") throw refuse('force_pte is "none", "all" or {below}');
  return h as unknown as Header;
}

/** A 64-bit argument, written as a hex string. */
export function number64(object: Record<string, unknown>, name: string, line: number): bigint {
  const text = object[name];
  if (typeof text === "string" && /^0x[0-9a-f]{1,16}$/.test(text)) return BigInt(text);
  throw new VectorSyntaxError(line, `${name} is a hex string of up to 16 digits, not ${printableValue(text)}`);
}

/** A small integer argument. */
export function integer(object: Record<string, unknown>, name: string, line: number): number {
  const value = object[name];
  if (typeof value === "number" && Number.isInteger(value)) return value;
  throw new VectorSyntaxError(line, `${name} is an integer, not ${printableValue(value)}`);
}

/** A list of names. */
export function names(object: Record<string, unknown>, name: string, line: number): string[] {
  const value = object[name];
  if (Array.isArray(value) && value.every((v) => typeof v === "string")) return value as string[];
  throw new VectorSyntaxError(line, `${name} is a list of names, not ${printableValue(value)}`);
}
