import { EFAULT, T_LPA2 } from "../core/constants.generated.js";
import { GranuleError } from "../core/errors.js";
import { shift } from "../core/granule.js";
import type { Table } from "../tables/table.js";

const LINE_BYTES = 64;
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
/** The two digits of every byte, one after the other. */
const DIGITS = ascii(Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0")).join(""));
const KINDS = ["I", "P", "B", "T"];
/** ` L<level> <kind> ` by (level + 1) * 4 + kind. */
const MIDDLES = [-1, 0, 1, 2, 3].flatMap((level) => KINDS.map((kind) => ascii(` L${level} ${kind} `)));
const NO_COUNT = ascii(" -\n");
const INVALID = 0;
const PAGE = 1;
const BLOCK = 2;
const TABLE = 3;
const HIGH = 2 ** 32;

/** Entries that are formatted together: every page is a whole number of such pieces. */
const PIECE_ENTRIES = 512;
const PIECE_WORDS = PIECE_ENTRIES * 2;

/** Consecutive lines, and the table page whose lines come after them, if any. */
interface Part {
  text: Uint8Array;
  /** Pointer of the child page; 0 for none. */
  child: number;
  childBase: number;
  /** The child's references, which the last line of `text` shows. */
  references: number;
}

/** A piece of a table page as it was when it was last formatted. */
interface Piece {
  level: number;
  base: number;
  words: Uint32Array;
  parts: Part[];
}

function putWord(out: Uint8Array, at: number, word: number): number {
  for (let shift = 24; shift >= 0; shift -= 8) {
    const digit = ((word >>> shift) & 255) * 2;
    out[at] = DIGITS[digit] as number;
    out[at + 1] = DIGITS[digit + 1] as number;
    at += 2;
  }
  return at;
}

function putText(out: Uint8Array, at: number, text: Uint8Array): number {
  for (let i = 0; i < text.length; i++) out[at + i] = text[i] as number;
  return at + text.length;
}

function kindOf(low: number, level: number): number {
  if (!(low & 1)) return INVALID;
  if (level === 3) return PAGE;
  return low & 2 ? TABLE : BLOCK;
}

function sameWords(piece: Uint32Array, memory: Uint32Array, first: number): boolean {
  let differ = 0;
  for (let i = 0; i < PIECE_WORDS && differ === 0; i += 8) {
    const at = first + i;
    // Eight words a test: this loop is what remains of a dump where nothing changed.
    differ =
      (piece[i]! ^ memory[at]!) |
      (piece[i + 1]! ^ memory[at + 1]!) |
      (piece[i + 2]! ^ memory[at + 2]!) |
      (piece[i + 3]! ^ memory[at + 3]!) |
      (piece[i + 4]! ^ memory[at + 4]!) |
      (piece[i + 5]! ^ memory[at + 5]!) |
      (piece[i + 6]! ^ memory[at + 6]!) |
      (piece[i + 7]! ^ memory[at + 7]!);
  }
  return differ === 0;
}

/** A detached page, and the level of its entries. */
export interface DetachedPage {
  pointer: number;
  level: number;
}

/**
 * Makes canonical dumps of docs/formats/operations.md: one line per entry that is not zero, parents first. Reads the table memory
 * itself, entry by entry, each time. Between dumps it keeps the text of pieces of pages, and reuses a text only if every
 * word of the piece, its level, its address and its children's reference counts are unchanged: a conformance run dumps
 * after each operation, and an operation changes little.
 */
export class CanonicalDumper {
  readonly #table: Table;
  readonly #pieces: Map<number, Piece> = new Map();
  readonly #keepLow: number;
  readonly #keepHigh: number;
  readonly #scratch: Uint8Array = new Uint8Array(PIECE_ENTRIES * LINE_BYTES);
  /** The texts of the last dump, in order, and of the one being made. */
  #texts: Uint8Array[] = [];
  #count = 0;
  /** Table pages that this dump has come to: in a tree each of them once. */
  #visited = 0;
  /** Table pages of the engine when they were last counted. */
  #tables = 0;
  /** Do the texts differ from what `#dump` holds? Stays so if a dump ends early, by a damaged table. */
  #changed = false;
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(1 << 16);
  #dump: Uint8Array<ArrayBuffer> = this.#buffer.subarray(0, 0);

  constructor(table: Table) {
    this.#table = table;
    const mask = table.engine.core.outputMask(table.format.ps, this.#lpa2);
    this.#keepLow = ~Number(BigInt.asUintN(32, mask));
    this.#keepHigh = ~Number(BigInt.asUintN(32, mask >> 32n));
  }

  get #lpa2(): number {
    return this.#table.format.flags & T_LPA2 ? 1 : 0;
  }

  /**
   * The dump of the table, or of a detached page, as bytes that are good until the next call. Twice the same array
   * means twice the same bytes.
   */
  dump(detached?: DetachedPage): Uint8Array<ArrayBuffer> {
    this.#count = 0;
    this.#visited = 0;
    this.#tables = 0;
    if (detached) this.#page(detached.pointer, this.#table.granule, detached.level, 0);
    else this.#roots();
    if (!this.#changed && this.#count === this.#texts.length) return this.#dump;
    this.#texts.length = this.#count;
    this.#dump = this.#join();
    this.#changed = false;
    return this.#dump;
  }

  #roots(): void {
    const { rootPa, rootPages, granule, startLevel } = this.#table.info();
    if (rootPa !== 0n) this.#page(this.#pointer(rootPa), rootPages * granule, startLevel, 0);
  }

  #join(): Uint8Array<ArrayBuffer> {
    let bytes = 0;
    for (const text of this.#texts) bytes += text.length;
    if (bytes > this.#buffer.length) this.#buffer = new Uint8Array(bytes * 2);
    let at = 0;
    for (const text of this.#texts) {
      this.#buffer.set(text, at);
      at += text.length;
    }
    return this.#buffer.subarray(0, bytes);
  }

  #push(text: Uint8Array): void {
    if (this.#texts[this.#count] !== text) {
      this.#texts[this.#count] = text;
      this.#changed = true;
    }
    this.#count++;
  }

  /** Dumps `bytes` of table at `pointer`, whose first entry covers `base`. */
  #page(pointer: number, bytes: number, level: number, base: number): void {
    if (++this.#visited > this.#tables) this.#countTables(level, base);
    const span = this.#span(level) * PIECE_ENTRIES;
    for (let i = 0; i * PIECE_WORDS * 4 < bytes; i++)
      this.#piece(pointer + i * PIECE_WORDS * 4, level, base + i * span);
  }

  /** More pages than the engine has taken for tables are no tree; a dump of them may have no end that anybody sees. */
  #countTables(level: number, base: number): void {
    const { tablesTaken, tablesFreed } = this.#table.engine.counters();
    this.#tables = tablesTaken - tablesFreed;
    if (this.#visited <= this.#tables) return;
    const hint = "a table lies under itself or under several entries: the table memory was damaged";
    throw new GranuleError(EFAULT, { operation: "canonicalDump", address: BigInt(base), level, hint });
  }

  #span(level: number): number {
    return 2 ** shift(this.#table.format.ps, level);
  }

  #piece(pointer: number, level: number, base: number): void {
    const memory = this.#table.engine.u32;
    const first = pointer / 4;
    let piece = this.#pieces.get(pointer);
    if (!piece || piece.level !== level || piece.base !== base || !sameWords(piece.words, memory, first)) {
      const words = piece?.words ?? new Uint32Array(PIECE_WORDS);
      words.set(memory.subarray(first, first + PIECE_WORDS));
      piece = { level, base, words, parts: this.#format(words, level, base) };
      this.#pieces.set(pointer, piece);
    }
    for (const part of piece.parts) {
      if (part.child !== 0) this.#countReferences(part);
      this.#push(part.text);
      if (part.child !== 0) this.#page(part.child, this.#table.granule, level + 1, part.childBase);
    }
  }

  /** Rewrites the child's reference count if it has changed. */
  #countReferences(part: Part): void {
    const references = this.#table.engine.core.pageReferences(part.child);
    if (references === part.references) return;
    const end = part.text.lastIndexOf(0x20) + 1;
    const digits = ascii(`${references}\n`);
    const text = new Uint8Array(end + digits.length);
    text.set(part.text.subarray(0, end));
    text.set(digits, end);
    part.text = text;
    part.references = references;
  }

  #format(words: Uint32Array, level: number, base: number): Part[] {
    const span = this.#span(level);
    const out = this.#scratch;
    const parts: Part[] = [];
    let at = 0;
    for (let i = 0; i < PIECE_ENTRIES; i++) {
      const low = words[2 * i] as number;
      const high = words[2 * i + 1] as number;
      if ((low | high) === 0) continue;
      const kind = kindOf(low, level);
      const address = base + i * span;
      at = putWord(out, putWord(out, at, Math.floor(address / HIGH)), address >>> 0);
      at = putText(out, at, MIDDLES[(level + 1) * 4 + kind] as Uint8Array);
      if (kind !== TABLE) {
        at = putText(out, putWord(out, putWord(out, at, high), low), NO_COUNT);
        continue;
      }
      at = putWord(out, putWord(out, at, high & this.#keepHigh), low & this.#keepLow);
      out[at++] = 0x20;
      const child = this.#child(low, high, level, address);
      // No count of a page is -1: the first visit writes the right one.
      parts.push({ text: out.slice(0, at), child, childBase: address, references: -1 });
      at = 0;
    }
    if (at > 0) parts.push({ text: out.slice(0, at), child: 0, childBase: 0, references: 0 });
    return parts;
  }

  #child(low: number, high: number, level: number, address: number): number {
    const descriptor = (BigInt(high) << 32n) | BigInt(low);
    const { engine, format, granule } = this.#table;
    const pointer = this.#pointer(BigInt.asUintN(64, engine.core.outputAddress(format.ps, this.#lpa2, descriptor)));
    const offset = pointer - engine.arenaPointer;
    if (offset >= 0 && offset + granule <= engine.arenaBytes && offset % granule === 0) return pointer;
    throw new GranuleError(EFAULT, {
      operation: "canonicalDump",
      address: BigInt(address),
      level,
      oldValue: descriptor,
    });
  }

  #pointer(pa: bigint): number {
    return Number(pa - this.#table.engine.physBase) + this.#table.engine.arenaPointer;
  }
}

/** One canonical dump. Keep a `CanonicalDumper` to make many. */
export function canonicalDump(table: Table, detached?: DetachedPage): Uint8Array<ArrayBuffer> {
  return new CanonicalDumper(table).dump(detached);
}
