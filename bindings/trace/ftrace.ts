import { Cursor, SPACE } from "./cursor.js";
import { TraceSyntaxError } from "./errors.js";
import type { TraceEvent } from "./events.js";
import { FORMS, type Form } from "./forms.js";
import { Interner } from "./intern.js";

/*
 * A line is one of
 *
 *   TASK-PID [CPU] FLAGS TIME: event: text          /sys/kernel/tracing/trace
 *   TASK-PID (TGID) [CPU] FLAGS TIME: event: text   the same with record-tgid
 *   TASK-PID [CPU] TIME: event: text                trace-cmd report
 *   TASK TID [CPU] TIME: group:event: text          perf script, or PID/TID
 *
 * TASK may hold anything, so the way in is "[digits]" followed by a time and a colon.
 */

const HASH = 35;
const BRACKET_END = 93;
const PARENTHESIS_END = 41;
const PARENTHESIS = 40;
const COLON = 58;
const DOT = 46;
const DASH = 45;
const SLASH = 47;
const RETURN = 13;
const ZERO = 48;

/** Negative powers would round twice; dividing by an exact power of ten rounds once. */
const TENS: readonly number[] = Array.from({ length: 16 }, (_, n) => 10 ** n);

/**
 * The bracket of the CPU stands no further in than this. A task's name has 15 characters, some
 * recorders allow more; without a bound, a hostile line could make us try a million brackets.
 */
const MAX_OPENING = 256;
/** No line begins with this. */
const NOTHING = "\n";

/** Errors that a lenient parser keeps to show; the rest are counted only. */
const KEPT_ERRORS = 10;

/** ftrace and trace-cmd each spell it their way, with or without the number. */
const LOST = /^\s*CPU:\s*(\d{1,9}) \[(?:LOST )?(?:(\d{1,15}) )?EVENTS(?: DROPPED)?\]\s*$/;
const PERF_LOST = /\[(\d{1,9})\].*\bPERF_RECORD_LOST(?:_SAMPLES)?\b(?: lost (\d{1,15}))?/;
/** Lines that trace-cmd writes before the events. */
const PREAMBLE = /^\s*(?:cpus=\d+|version = \S+|CPU \d+ is empty)\s*$/;

interface EventName {
  readonly name: string;
  readonly form: Form | undefined;
  count: number;
}

function isDigit(c: number): boolean {
  return c >= 48 && c <= 57;
}

function unknown(c: Cursor): TraceEvent {
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "unknown" };
}

/** How a trace is parsed. */
export interface TraceOptions {
  /**
   * True: a line that cannot be read is counted in {@link TraceStats.malformed} and skipped.
   * False, the default: it throws.
   */
  readonly lenient?: boolean;
  /** Number of the first line, 1 unless the text is a part of a file. */
  readonly firstLine?: number;
}

/** What a parser has seen so far. */
export interface TraceStats {
  /** Lines, comments included. */
  readonly lines: number;
  /** Events read, by name, as the manifest of a capture counts them. */
  readonly events: ReadonlyMap<string, number>;
  /** Those of them that granule does not read, by name. */
  readonly unknown: ReadonlyMap<string, number>;
  /** Lines that a lenient parser skipped, and the first ten errors. */
  readonly malformed: number;
  readonly errors: readonly TraceSyntaxError[];
  /** Places where events were lost; any at all means that no replay of the trace is exact. */
  readonly lostPlaces: number;
  /** Events lost, as far as the recorder knew. */
  readonly lostEvents: number;
}

/**
 * Parses KVM event text of all three spellings (`/sys/kernel/tracing/trace`, `trace-cmd report`,
 * `perf script`), line by line; line numbers and counts run on from block to block. The formats of
 * the KVM events are SPEC TRC-1..13, with TRC-20 for the width of their numbers.
 *
 * @example
 * ```ts
 * import { TraceParser } from "granule/trace";
 *
 * const parser = new TraceParser({ lenient: true });
 * const events = parser.parse("kvmt-7 [000] ..... 1.5: kvm_access_fault: IPA: 420b6000\n?\n");
 * console.log(events.length, parser.stats.malformed); // 1 1
 * ```
 */
export class TraceParser {
  readonly #cursor = new Cursor();
  readonly #lenient: boolean;
  readonly #names: EventName[] = [];
  readonly #eventNames = new Interner((name): EventName => {
    const entry = { name, form: FORMS.get(name), count: 0 };
    this.#names.push(entry);
    return entry;
  });
  readonly #errors: TraceSyntaxError[] = [];
  readonly #firstLine: number;
  #lines = 0;
  #malformed = 0;
  #lostPlaces = 0;
  #lostEvents = 0;
  /** What the last line had up to its bracket, which is what gave `task` and `pid`. */
  #opening = NOTHING;

  constructor(options: TraceOptions = {}) {
    this.#lenient = options.lenient ?? false;
    this.#firstLine = options.firstLine ?? 1;
  }

  /** A snapshot of the counts. */
  get stats(): TraceStats {
    const seen = new Map<string, number>();
    const unknown = new Map<string, number>();
    for (const { name, form, count } of this.#names) {
      if (count > 0) seen.set(name, (seen.get(name) ?? 0) + count);
      if (count > 0 && form === undefined) unknown.set(name, seen.get(name) as number);
    }
    return {
      lines: this.#lines,
      events: seen,
      unknown,
      malformed: this.#malformed,
      errors: [...this.#errors],
      lostPlaces: this.#lostPlaces,
      lostEvents: this.#lostEvents,
    };
  }

  /**
   * Parses whole lines, ended by LF or CRLF; the last one needs no end.
   *
   * @returns the events, in order; comments and blank lines give none
   * @throws {@link TraceSyntaxError} at the first line that cannot be read, unless lenient
   */
  parse(block: string): TraceEvent[] {
    const events: TraceEvent[] = [];
    for (let start = 0; start < block.length; ) {
      const newline = block.indexOf("\n", start);
      const end = newline < 0 ? block.length : newline;
      this.#cursor.line = this.#firstLine + this.#lines++;
      const event = this.#lenient ? this.#tryLine(block, start, end) : this.#parseLine(block, start, end);
      if (event !== undefined) events.push(event);
      start = end + 1;
    }
    return events;
  }

  #tryLine(text: string, start: number, end: number): TraceEvent | undefined {
    try {
      return this.#parseLine(text, start, end);
    } catch (error) {
      if (!(error instanceof TraceSyntaxError)) throw error;
      this.#malformed++;
      if (this.#errors.length < KEPT_ERRORS) this.#errors.push(error);
      return undefined;
    }
  }

  #parseLine(text: string, start: number, end: number): TraceEvent | undefined {
    const c = this.#cursor;
    c.text = text;
    c.start = c.pos = start;
    c.end = end > start && text.charCodeAt(end - 1) === RETURN ? end - 1 : end;
    c.skipBlanks();
    const first = c.char();
    if (first === -1 || first === HASH) return undefined;
    const entry = this.#readHead();
    if (entry === undefined) return this.#headless();
    const event = (entry.form ?? unknown)(c);
    entry.count++;
    return event;
  }

  /**
   * Reads the columns before the text into the cursor, and stands at the text.
   *
   * @returns the event's name, or `undefined` when the line has no such columns
   */
  #readHead(): EventName | undefined {
    const c = this.#cursor;
    const { text, end } = c;
    const first = c.pos;
    // Most lines begin as the one before did: then task and thread are known.
    if (text.startsWith(this.#opening, first)) {
      const entry = this.#readColumns(first + this.#opening.length);
      if (entry !== undefined) return entry;
    }
    this.#opening = NOTHING;
    const limit = Math.min(end, first + MAX_OPENING);
    let at = text.indexOf("[", first);
    for (; at >= 0 && at < limit; at = text.indexOf("[", at + 1)) {
      // A task may itself be called "[7]": then the next bracket is the CPU's.
      if (!this.#readTask(first, at)) continue;
      const entry = this.#readColumns(at + 1);
      if (entry === undefined) continue;
      this.#opening = text.slice(first, at + 1);
      return entry;
    }
    return undefined;
  }

  /** The columns from the digits of the CPU on. */
  #readColumns(from: number): EventName | undefined {
    const cpu = this.#cpu(from);
    const time = cpu < 0 ? -1 : this.#time();
    return time < 0 ? undefined : this.#readEvent(cpu, time);
  }

  /** The digits of "[003] ", or -1. */
  #cpu(from: number): number {
    const c = this.#cursor;
    let cpu = 0;
    let pos = from;
    for (; isDigit(c.text.charCodeAt(pos)) && pos - from < 9; pos++) {
      cpu = cpu * 10 + (c.text.charCodeAt(pos) - ZERO);
    }
    c.pos = pos + 2;
    const closed = c.text.charCodeAt(pos) === BRACKET_END;
    return pos > from && closed && c.text.charCodeAt(pos + 1) === SPACE && c.pos < c.end ? cpu : -1;
  }

  /** "d.... 25.892344:" or "25.892344:" in seconds, or -1. Stands behind the colon. */
  #time(): number {
    const c = this.#cursor;
    c.skipBlanks();
    const time = this.#stamp();
    if (time >= 0) return time;
    while (c.pos < c.end && c.text.charCodeAt(c.pos) !== SPACE) c.pos++;
    c.skipBlanks();
    return this.#stamp();
  }

  /** One timestamp with its colon, or -1 without moving. */
  #stamp(): number {
    const c = this.#cursor;
    const { text, end } = c;
    let value = 0;
    let fraction = -1;
    let pos = c.pos;
    for (; pos < end; pos++) {
      const char = text.charCodeAt(pos);
      if (char === DOT && fraction < 0 && pos > c.pos) fraction = pos + 1;
      else if (isDigit(char)) value = value * 10 + (char - ZERO);
      else break;
    }
    const digits = fraction < 0 ? 0 : pos - fraction;
    const colon = pos < end && text.charCodeAt(pos) === COLON;
    if (pos === c.pos || !colon || digits > 15 || value > Number.MAX_SAFE_INTEGER) return -1;
    c.pos = pos + 1;
    return value / (TENS[digits] as number);
  }

  /** "TASK-PID", "TASK-PID (TGID)", "TASK TID" or "TASK PID/TID" before the bracket. */
  #readTask(first: number, bracket: number): boolean {
    const c = this.#cursor;
    const { text } = c;
    let last = this.#trim(first, bracket);
    if (last > first && text.charCodeAt(last - 1) === PARENTHESIS_END) {
      while (last > first && text.charCodeAt(last) !== PARENTHESIS) last--;
      last = this.#trim(first, last);
    }
    let digits = this.#digits(first, last);
    if (digits === last || last - digits > 15) return false;
    c.pid = 0;
    for (let i = digits; i < last; i++) {
      c.pid = c.pid * 10 + (text.charCodeAt(i) - ZERO);
    }
    if (text.charCodeAt(digits - 1) === SLASH) digits = this.#digits(first, digits - 1);
    const separator = digits > first ? text.charCodeAt(digits - 1) : -1;
    if (separator !== DASH && separator !== SPACE) return false;
    c.task = c.word(first, this.#trim(first, digits - 1));
    return true;
  }

  /** Goes back over blanks. */
  #trim(first: number, from: number): number {
    let last = from;
    while (last > first && this.#cursor.text.charCodeAt(last - 1) === SPACE) last--;
    return last;
  }

  /** Goes back over digits. */
  #digits(first: number, from: number): number {
    let last = from;
    while (last > first && isDigit(this.#cursor.text.charCodeAt(last - 1))) last--;
    return last;
  }

  /** "kvm_guest_fault: " or "kvm:kvm_guest_fault: ": the colon that ends it has a blank behind. */
  #readEvent(cpu: number, time: number): EventName | undefined {
    const c = this.#cursor;
    const { text, end } = c;
    c.skipBlanks();
    let from = c.pos;
    let pos = from;
    for (; pos < end; pos++) {
      const char = text.charCodeAt(pos);
      if (char === SPACE) return undefined;
      if (char !== COLON) continue;
      if (pos + 1 >= end || text.charCodeAt(pos + 1) === SPACE) break;
      from = pos + 1;
    }
    if (pos >= end || pos === from) return undefined;
    const entry = this.#eventNames.get(text, from, pos);
    c.pos = pos + 1;
    c.skipBlanks();
    c.time = time;
    c.cpu = cpu;
    c.event = entry.name;
    return entry;
  }

  /** A line without an event: a note of loss, a preamble, or nothing that belongs here. */
  #headless(): TraceEvent | undefined {
    const c = this.#cursor;
    const line = c.text.slice(c.start, c.end);
    const lost = LOST.exec(line) ?? PERF_LOST.exec(line);
    if (lost) return this.#lost(Number(lost[1]), lost[2]);
    if (PREAMBLE.test(line)) return undefined;
    return c.fail("a comment or TASK-PID [CPU] TIME: event:");
  }

  #lost(cpu: number, digits: string | undefined): TraceEvent {
    const count = digits === undefined ? undefined : Number(digits);
    this.#lostPlaces++;
    this.#lostEvents += count ?? 0;
    const { line, time, task, pid } = this.#cursor;
    return { line, time, cpu, task, pid, event: "lost", kind: "lost", count };
  }
}

/**
 * Parses one line.
 *
 * @param text - the line, without its end
 * @param line - its number, for errors
 * @returns `undefined` for a comment or a blank line
 * @throws {@link TraceSyntaxError} when it cannot be read
 * @example
 * ```ts
 * import { parseTraceLine } from "granule/trace";
 *
 * const event = parseTraceLine("kvmt-7 [000] d.... 1.5: s2_destroy: (f+0x0/0xe8) pgt=0xfff0");
 * if (event?.kind === "s2_destroy") console.log(event.pgt); // "0xfff0"
 * ```
 */
export function parseTraceLine(text: string, line = 1): TraceEvent | undefined {
  if (text.includes("\n")) throw new TraceSyntaxError(line, text, "one line");
  return new TraceParser({ firstLine: line }).parse(text)[0];
}
