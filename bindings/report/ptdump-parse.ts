// ptdump text as data: what a live host's debugfs prints, of Linux 6.12 to 7.x, and what granule prints.

import { invalid } from "../core/errors.js";
import type { LeafRun, LeafTable } from "./leaf-runs.js";
import { printableShort } from "./printable.js";
import {
  columnsText,
  FORMS,
  type Form,
  INVALID,
  type PtdumpEntryOptions,
  type PtdumpRun,
  runLine,
  spread,
} from "./ptdump.js";

/** A line of a dump. */
export interface ParsedRun extends PtdumpRun {
  /** The bits of each entry's descriptor that its columns tell; 0n for a hole. */
  attributes: bigint;
}

/** A dump as text has it. */
export interface Ptdump {
  /** First line: `---[ Guest IPA ]---`. */
  title: string;
  /** A guest's stage 2, or EL2's own stage 1. */
  stage: "2" | "hyp";
  /** Which kernel's columns a stage-2 dump has. A dump of holes alone does not tell: "6.12". */
  format: "6.12" | "7.x";
  /** EL2 with separate execute rights of EL2 and EL0. */
  hvhe: boolean;
  /** In order of address; holes are among them. */
  runs: ParsedRun[];
}

const TITLE = /^---\[ .* \]---$/;
const LINE = /^0x([0-9a-f]{1,16})-0x([0-9a-f]{1,16}) +(\d+)([KMGTPE]) (-?\d)( .*)?$/i;
const UNITS = "KMGTPE";
const STAGE2_TITLE = "---[ Guest IPA ]---";
const EL2_TITLE = /EL2/;
/** Every attribute that columns can tell. */
const EVERYTHING = (1 << 20) - 1;

/** The attributes of which a form prints these columns; undefined if it never prints them. Blanks at the end may be lost. */
function attributesOf(form: Form, columns: string): number | undefined {
  if (columns === "") return 0;
  let rest = columns,
    attributes = 0,
    done = 0;
  for (const [column, { mask, value, set, clear }] of form.columns.entries()) {
    if (mask === done) continue; // of columns with one mask, one is printed
    // What needs a valid entry is not looked for once "F" was seen; the first column tells.
    const possible = value & 1 && column > 0 && !(attributes & 1) ? [clear] : [set, clear];
    const taken = possible.find((text) => text !== "" && isNext(rest, text));
    if (taken === undefined) continue;
    done = mask;
    attributes |= taken === set ? value : mask & ~value;
    rest = rest.slice(1 + taken.length);
  }
  // Columns stand for an entry that is not zero: of EL2's form " F" is all that is seen of one that is not valid.
  attributes = attributes & EVERYTHING || INVALID;
  return columnsText(form, attributes).trimEnd() === columns.trimEnd() ? attributes : undefined;
}

/** Is the next column this one? Blanks at the end may be lost. */
function isNext(rest: string, column: string): boolean {
  const text = ` ${column}`;
  if (rest.length < text.length) return rest.padEnd(text.length) === text;
  return rest.startsWith(text) && " ".startsWith(rest.charAt(text.length));
}

/** A form that all lines so far can have, and the attributes of these lines by it. */
interface Candidate {
  readonly options: PtdumpEntryOptions;
  readonly form: Form;
  readonly attributes: number[];
}

/** Reads a dump line by line. */
class Parser {
  title = "";
  readonly runs: PtdumpRun[] = [];
  #forms: Candidate[] = [];
  #line = 0;

  #fail(problem: string): never {
    throw invalid("parsePtdump", `line ${this.#line}: ${problem}`);
  }

  read(text: string): void {
    this.#line++;
    const line = text.replace(/\r$/, "");
    if (line.trim() === "" || line.startsWith("#")) return;
    if (TITLE.test(line.trim())) this.#readTitle(line.trim());
    else this.#readRun(line);
  }

  #readTitle(title: string): void {
    // A kernel marks where an address space begins and ends.
    if (this.title !== "") return;
    this.title = title;
    const stage = EL2_TITLE.test(title) ? "hyp" : "2";
    const possible = FORMS.filter(([options]) => options.stage === stage);
    this.#forms = possible.map(([options, form]) => ({ options, form, attributes: [] }));
  }

  #readRun(line: string): void {
    // Somebody may have kept the lines alone.
    if (this.title === "") this.#readTitle(STAGE2_TITLE);
    const [whole, from = "", to = "", digits, unit = "", level, columns = ""] = LINE.exec(line) ?? [];
    if (whole === undefined) this.#fail(`${printableShort(line, 60)} is not a line of a dump`);
    const start = BigInt(`0x${from}`),
      end = BigInt(`0x${to}`);
    const size = BigInt(digits as string) << BigInt(10 * (UNITS.indexOf(unit.toUpperCase()) + 1));
    if (end - start !== size) this.#fail(`from 0x${from} to 0x${to} is not ${digits}${unit}`);
    const last = this.runs.at(-1);
    if (last && start < last.end) this.#fail(`0x${from} lies before the end of the line above`);
    this.#narrow(columns);
    this.runs.push({ start, end, level: Number(level), columns });
  }

  /** Keeps the forms that can print these columns. */
  #narrow(columns: string): void {
    this.#forms = this.#forms.filter(({ form, attributes }) => {
      const found = attributesOf(form, columns);
      if (found !== undefined) attributes.push(found);
      return found !== undefined;
    });
    if (this.#forms.length === 0)
      this.#fail(`no kernel from 6.12 on prints the columns "${printableShort(columns, 60)}"`);
  }

  finish(): Ptdump {
    if (this.title === "") this.#fail(`there is no dump, which begins with ${STAGE2_TITLE}`);
    // A line that no form fits was refused.
    const { options, form, attributes } = this.#forms[0] as Candidate;
    const runs = this.runs.map((run, i) => {
      const bits = attributes[i] ?? 0;
      return { ...run, columns: columnsText(form, bits), attributes: spread(bits) };
    });
    const { stage = "2", format = "6.12", hvhe = false } = options;
    return { title: this.title, stage, format, hvhe, runs };
  }
}

/**
 * Reads ptdump text: `stage2_page_tables` of debugfs, of Linux 6.12 to 7.x [DMP-10..15], or granule's own, EL2's too. Lines
 * without trailing blanks, with CRLF, or that begin with `#` are taken. EINVAL names the first line that does not fit.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { formatPtdump, parsePtdump, ptdump } from "granule/report";
 * using engine = createEngine();
 * const table = engine.createStage2();
 * table.map(0x4000_0000, 4096, 0x8000_0000, "rw");
 * const dump = parsePtdump(ptdump(table));
 * console.log(dump.format, dump.runs[1]?.level); // 6.12 3
 * console.log(formatPtdump(dump) === ptdump(table)); // true
 * ```
 */
export function parsePtdump(text: string): Ptdump {
  const parser = new Parser();
  for (const line of text.split("\n")) parser.read(line);
  return parser.finish();
}

/**
 * The text of a dump: the inverse of `parsePtdump`.
 *
 * @example
 * ```ts
 * import { formatPtdump, parsePtdump } from "granule/report";
 * const dump = parsePtdump("---[ Guest IPA ]---\n0x0-0x40000000 1G 1\n");
 * console.log(formatPtdump(dump).split("\n")[1]?.slice(0, 22)); // 0x0000000000000000-0x0
 * ```
 */
export function formatPtdump({ title, runs }: Pick<Ptdump, "title" | "runs">): string {
  return [title, ...runs.map(runLine), ""].join("\n");
}

/** The bits of a valid entry that the columns of a form tell. */
function knownBits(dump: Ptdump): bigint {
  const form = FORMS.find(
    ([{ stage, format, hvhe }]) =>
      stage === dump.stage && (stage === "2" ? format === dump.format : hvhe === dump.hvhe),
  )?.[1];
  const masks = form?.columns.map(({ mask }) => mask) ?? [];
  return spread(masks.reduce((all, mask) => all | mask, 0)) & ~VALID_AND_TYPE;
}

const VALID_AND_TYPE = 3n;

/**
 * What a dump tells of a table's mappings: no output addresses, and of a stage-2 table no memory types. Lines of a kernel
 * lack the last run of the address space [DMP-17].
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { parsePtdump, ptdump, ptdumpLeaves } from "granule/report";
 * using engine = createEngine();
 * const table = engine.createStage2();
 * table.map(0x4000_0000, 3 * 4096, 0x8000_0000, "rw");
 * const { runs } = ptdumpLeaves(parsePtdump(ptdump(table)));
 * console.log(runs.length, runs[0]?.pa); // 1 undefined
 * ```
 */
export function ptdumpLeaves(dump: Ptdump): LeafTable {
  const known = knownBits(dump);
  const runs: LeafRun[] = [];
  for (const { start, end, level, attributes } of dump.runs) {
    if (attributes & 1n) runs.push({ start, end, level, pa: undefined, attributes: attributes & known });
  }
  return { stage: dump.stage, granule: undefined, hvhe: dump.hvhe, known, runs };
}
