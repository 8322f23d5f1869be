import { Cursor, SPACE } from "./cursor.js";
import { TraceSyntaxError } from "./errors.js";
import type { TraceEvent } from "./events.js";
import { FORMS, type Form } from "./forms.js";
import { codesOf, Interner } from "./intern.js";
import { type EventName, EventTally, type TraceOptions, type TraceStats } from "./tally.js";

/*
 * A line that begins an event is one of
 *
 *   TASK-PID [CPU] FLAGS TIME: event: text          /sys/kernel/tracing/trace
 *   TASK-PID (TGID) [CPU] FLAGS TIME: event: text   the same with record-tgid
 *   TASK-PID [CPU] TIME: event: text                trace-cmd report
 *   NAME:  TASK-PID [CPU] TIME: event: text         trace-cmd report of a buffer instance
 *   TASK TID [CPU] TIME: group:event: text          perf script, or PID/TID
 *
 * TASK may hold anything, so the parser looks for "[digits]" with a time and a colon behind it.
 *
 * Other lines belong to the event before them: the rest of a marker with a line end inside, and the
 * frames of a kernel or user stack.
 */

const HASH = 35;
const BRACKET_END = 93;
const PARENTHESIS_END = 41;
const PARENTHESIS = 40;
const TAB = 9;
const LESS = 60;
const COLON = 58;
const DOT = 46;
const DASH = 45;
const SLASH = 47;
const RETURN = 13;
const ZERO = 48;

/** Multiplying by a negative power of ten would round twice; dividing by a power of ten rounds once. */
const TENS: readonly number[] = Array.from({ length: 16 }, (_, n) => 10 ** n);

/**
 * The bracket of the CPU is looked for in this many characters. A task's name has 15 characters,
 * some recorders allow more. Without a bound, a hostile line could offer a million brackets.
 */
const MAX_OPENING = 256;

/** ftrace and trace-cmd each spell it their way, with or without the number. */
const LOST = /^\s*(?:\S+:\s+)?CPU:\s*(\d{1,9}) \[(?:LOST )?(?:(\d{1,15}) )?EVENTS(?: DROPPED)?\]\s*$/;
const PERF_LOST = /\[(\d{1,9})\].*\bPERF_RECORD_LOST(?:_SAMPLES)?\b(?: lost (\d{1,15}))?/;
/** The header of /sys/kernel/tracing/trace: fewer events than were written means that the oldest are gone. */
const ENTRIES = /^# entries-in-buffer\/entries-written: (\d{1,15})\/(\d{1,15})\b/;
/** Lines that trace-cmd writes before the events, and between sub-buffers. */
const PREAMBLE = /^\s*(?:cpus=\d+|version = \S+|CPU \d+ is empty|(?:\S+:\s+)?CPU:\s*\d+ \[SUBBUFFER START\])\s*$/;
/** A frame of a stack: `=> function`, which ftrace and trace-cmd write below the line of the stack. */
const FRAME = /^ *=> /;
/** The text of events that have no name of their own. */
const STACK = /^<(user )?stack trace ?>/;
const FUNCTION = /^\S+ <-\S+\s*$/;
/** What they are counted as: the kernel's own names of these events. */
const NAMELESS = { kernel: "kernel_stack", user: "user_stack", function: "function" } as const;
function isDigit(c: number): boolean {
  return c >= 48 && c <= 57;
}

function unknown(c: Cursor): TraceEvent {
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "unknown" };
}

/**
 * Parses KVM event text of all three spellings (`/sys/kernel/tracing/trace`, `trace-cmd report`,
 * `perf script`), line by line; line numbers and counts run on from block to block. The formats of
 * the KVM events are [TRC-1..13], with [TRC-20] for the width of their numbers.
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
  readonly #tally: EventTally<Form>;
  readonly #eventNames = new Interner((name) => this.#tally.entry(name));
  /** What the last line had up to its bracket, and how much of it; `task` and `pid` were read from it. */
  readonly #opening = new Uint16Array(MAX_OPENING + 1);
  #openingLength = 0;
  /** Does the text of the last event go on, or may it, on lines of their own? */
  #open = false;

  /** EINVAL for options that there are not. */
  constructor(options: TraceOptions = {}) {
    this.#tally = new EventTally(options, FORMS);
  }

  /** A snapshot of the counts. */
  get stats(): TraceStats {
    return this.#tally.stats;
  }

  /**
   * Parses whole lines, ended by LF or CRLF; the last one needs no end.
   *
   * @returns the events, in order; comments and blank lines give none
   * @throws {@link TraceSyntaxError} at the first line that cannot be read, unless lenient
   */
  parse(block: string): TraceEvent[] {
    const events: TraceEvent[] = [];
    const c = this.#cursor;
    c.open(block);
    for (let start = 0; start < block.length; ) {
      const newline = block.indexOf("\n", start);
      const end = newline < 0 ? block.length : newline;
      c.line = this.#tally.nextLine();
      c.start = c.pos = start;
      c.end = end > start && block.charCodeAt(end - 1) === RETURN ? end - 1 : end;
      const event = this.#tally.lenient ? this.#tryLine() : this.#parseLine();
      if (event !== undefined) events.push(event);
      start = end + 1;
    }
    return events;
  }

  #tryLine(): TraceEvent | undefined {
    try {
      return this.#parseLine();
    } catch (error) {
      this.#tally.skipped(error);
      return undefined;
    }
  }

  /** The line that the cursor stands at. */
  #parseLine(): TraceEvent | undefined {
    const c = this.#cursor;
    c.skipBlanks();
    const first = c.char();
    if (first === -1) return undefined;
    if (first === HASH) return this.#comment();
    const entry = first === TAB ? undefined : this.#readHead();
    if (entry === undefined) return this.#headless();
    const event = this.#readText(entry);
    entry.count++;
    this.#open = event.kind === "marker" || event.kind === "unknown";
    return event.kind === "marker" ? this.#tally.marker(event) : event;
  }

  /** Reads the text of an event. One that nobody needs may have a text that cannot be read. */
  #readText(entry: EventName<Form>): TraceEvent {
    const c = this.#cursor;
    if (entry.form === undefined) return unknown(c);
    if (entry.strict) return entry.form.read(c);
    try {
      return entry.form.read(c);
    } catch (error) {
      this.#tally.unread(entry, error);
      return unknown(c);
    }
  }

  /**
   * Reads the columns before the text into the cursor, and stands at the text.
   *
   * @returns the event's name, or `undefined` when the line has no such columns
   */
  #readHead(): EventName<Form> | undefined {
    const c = this.#cursor;
    const { text, codes, end } = c;
    const first = c.pos;
    // Most lines begin as the one before did: then task and thread are known.
    if (this.#opensAlike(first)) {
      const entry = this.#readColumns(first + this.#openingLength);
      if (entry !== undefined) return entry;
    }
    this.#openingLength = 0;
    const limit = Math.min(end, first + MAX_OPENING);
    let at = text.indexOf("[", first);
    for (; at >= 0 && at < limit; at = text.indexOf("[", at + 1)) {
      // A task may itself be called "[7]": then the next bracket is the CPU's.
      if (!this.#readTask(first, at)) continue;
      const entry = this.#readColumns(at + 1);
      if (entry === undefined) continue;
      this.#openingLength = at + 1 - first;
      for (let i = 0; i < this.#openingLength; i++) this.#opening[i] = codes[first + i] as number;
      return entry;
    }
    return undefined;
  }

  #opensAlike(first: number): boolean {
    const opening = this.#opening;
    const length = this.#openingLength;
    const { codes } = this.#cursor;
    for (let i = 0; i < length; i++) if ((codes[first + i] as number) !== opening[i]) return false;
    return length > 0;
  }

  /** The columns from the digits of the CPU on. */
  #readColumns(from: number): EventName<Form> | undefined {
    const cpu = this.#cpu(from);
    const time = cpu < 0 ? -1 : this.#time();
    return time < 0 ? undefined : this.#readEvent(cpu, time);
  }

  /** The digits of "[003] ", or -1. */
  #cpu(from: number): number {
    const c = this.#cursor;
    let cpu = 0;
    let pos = from;
    for (; isDigit(c.codes[pos] as number) && pos - from < 9; pos++) {
      cpu = cpu * 10 + ((c.codes[pos] as number) - ZERO);
    }
    c.pos = pos + 2;
    const closed = (c.codes[pos] as number) === BRACKET_END;
    return pos > from && closed && (c.codes[pos + 1] as number) === SPACE && c.pos < c.end ? cpu : -1;
  }

  /** "d.... 25.892344:" or "25.892344:" in seconds, or -1. Stands behind the colon. */
  #time(): number {
    const c = this.#cursor;
    c.skipBlanks();
    const time = this.#stamp();
    if (time >= 0) return time;
    c.skipWord();
    c.skipBlanks();
    return this.#stamp();
  }

  /** One timestamp with its colon, or -1 without moving. */
  #stamp(): number {
    const c = this.#cursor;
    const { codes, end } = c;
    let value = 0;
    let fraction = -1;
    let pos = c.pos;
    for (; pos < end; pos++) {
      const char = codes[pos] as number;
      if (char === DOT && fraction < 0 && pos > c.pos) fraction = pos + 1;
      else if (isDigit(char)) value = value * 10 + (char - ZERO);
      else break;
    }
    const digits = fraction < 0 ? 0 : pos - fraction;
    const colon = pos < end && (codes[pos] as number) === COLON;
    if (pos === c.pos || !colon || digits > 15 || value > Number.MAX_SAFE_INTEGER) return -1;
    c.pos = pos + 1;
    return value / (TENS[digits] as number);
  }

  /** "TASK-PID", "TASK-PID (TGID)", "TASK TID" or "TASK PID/TID" before the bracket. */
  #readTask(first: number, bracket: number): boolean {
    const c = this.#cursor;
    const { codes } = c;
    const from = this.#pastInstance(first, bracket);
    let last = this.#trim(from, bracket);
    if (last > from && (codes[last - 1] as number) === PARENTHESIS_END) {
      while (last > from && (codes[last] as number) !== PARENTHESIS) last--;
      last = this.#trim(from, last);
    }
    let digits = this.#digits(from, last);
    if (digits === last || last - digits > 15) return false;
    let pid = 0;
    for (let i = digits; i < last; i++) pid = pid * 10 + ((codes[i] as number) - ZERO);
    if ((codes[digits - 1] as number) === SLASH) digits = this.#digits(from, digits - 1);
    const separator = digits > from ? (codes[digits - 1] as number) : -1;
    // The columns of the line before stay as they are until this line is known to have some: a note of loss takes them.
    if (separator !== DASH && separator !== SPACE) return false;
    c.pid = pid;
    c.task = c.word(from, this.#trim(from, digits - 1));
    return true;
  }

  /**
   * Goes past the name of a buffer instance or of a file, "kvmbuf:    kvmt-7": at least two blanks
   * follow it, since trace-cmd pads the task to 16 characters.
   */
  #pastInstance(first: number, bracket: number): number {
    const { codes } = this.#cursor;
    let pos = first;
    while (pos < bracket && (codes[pos] as number) !== SPACE) pos++;
    const named = pos > first + 1 && (codes[pos - 1] as number) === COLON && (codes[pos + 1] as number) === SPACE;
    if (!named) return first;
    while (pos < bracket && (codes[pos] as number) === SPACE) pos++;
    return pos;
  }

  /** Goes back over blanks. */
  #trim(first: number, from: number): number {
    let last = from;
    while (last > first && (this.#cursor.codes[last - 1] as number) === SPACE) last--;
    return last;
  }

  /** Goes back over digits. */
  #digits(first: number, from: number): number {
    let last = from;
    while (last > first && isDigit(this.#cursor.codes[last - 1] as number)) last--;
    return last;
  }

  /** "kvm_guest_fault: " or "kvm:kvm_guest_fault: ": the colon that ends it has a blank behind. */
  #readEvent(cpu: number, time: number): EventName<Form> | undefined {
    const c = this.#cursor;
    const { codes, end } = c;
    c.skipBlanks();
    const start = c.pos;
    let from = start;
    let pos = from;
    for (; pos < end; pos++) {
      const char = codes[pos] as number;
      if (char === SPACE) break;
      if (char !== COLON) continue;
      if (pos + 1 >= end || (codes[pos + 1] as number) === SPACE) break;
      from = pos + 1;
    }
    const named = pos < end && pos > from && (codes[pos] as number) === COLON;
    const entry = named ? this.#eventNames.get(codes, from, pos) : this.#nameless(start);
    if (entry === undefined) return undefined;
    if (named && from > start) this.#tally.grouped++;
    c.pos = named ? pos + 1 : end;
    c.skipBlanks();
    c.time = time;
    c.cpu = cpu;
    c.event = entry.name;
    return entry;
  }

  /** A stack, or a line of the function tracer: good columns, and no name of an event behind them. */
  #nameless(start: number): EventName<Form> | undefined {
    const { text, codes, end } = this.#cursor;
    const said = text.slice(start, Math.min(end, start + MAX_OPENING));
    const stack = (codes[start] as number) === LESS ? STACK.exec(said) : null;
    const name = stack ? (stack[1] ? NAMELESS.user : NAMELESS.kernel) : FUNCTION.test(said) && NAMELESS.function;
    return name ? this.#eventNames.get(codesOf(name), 0, name.length) : undefined;
  }

  /** A comment. That of tracefs tells how many events were overwritten before the first one here. */
  #comment(): TraceEvent | undefined {
    const c = this.#cursor;
    const entries = ENTRIES.exec(c.text.slice(c.pos, Math.min(c.end, c.pos + MAX_OPENING)));
    const gone = entries ? Number(entries[2]) - Number(entries[1]) : 0;
    return gone > 0 ? this.#lost(-1, String(gone)) : undefined;
  }

  /** A line without columns: a note of loss, a preamble, the rest of an event, or an error. */
  #headless(): TraceEvent | undefined {
    const c = this.#cursor;
    const line = c.text.slice(c.start, c.end);
    const lost = LOST.exec(line) ?? PERF_LOST.exec(line);
    if (lost) return this.#lost(Number(lost[1]), lost[2]);
    if (PREAMBLE.test(line)) return undefined;
    // perf begins each frame of a call chain with a tab.
    const frame = line.charCodeAt(0) === TAB || FRAME.test(line);
    if (frame || this.#open) {
      this.#tally.continuations++;
      return undefined;
    }
    return c.fail("a comment or TASK-PID [CPU] TIME: event:");
  }

  #lost(cpu: number, digits: string | undefined): TraceEvent {
    const count = digits === undefined ? undefined : Number(digits);
    this.#tally.lost(count);
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
