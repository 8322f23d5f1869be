import * as K from "../core/constants.generated.js";
import { JournalRecordView } from "../core/record-views.generated.js";
import { Words as MemoryWords } from "../core/view.js";
import { TraceSyntaxError } from "./errors.js";

// Logs of casemate 3.0.2, as its own binary reads them: one s-expression a record, fields in fixed order, each keyed or
// bare, `id` and `tid` decimal and every other number hexadecimal, `src` last. Read as bytes: no string, no bigint and
// no regular expression for a record.

const PAGE_BITS = 12;
const PAGE_BYTES = 2 ** PAGE_BITS;
/** Most pages that one record may name: 1 GiB. */
const MAX_PAGES = 2 ** 18;
/** Longest record; a hostile one must not be kept for ever. */
const MAX_RECORD = 1 << 16;

const OPEN = 0x28;
const CLOSE = 0x29;
const QUOTE = 0x22;
const COLON = 0x3a;
const NEWLINE = 0x0a;
const SPACE = 0x20;
/** TAB to RETURN are the other white space: tab, line ends, form feed. */
const TAB = 0x09;
const RETURN = 0x0d;

/** Value of a hexadecimal digit by its code; 16 for any other byte. */
const DIGIT = Uint8Array.from({ length: 256 }, (_, code) => {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  return code >= 0x61 && code <= 0x66 ? code - 0x57 : 16;
});
/** Bytes that end a word. */
const ENDS_WORD = Uint8Array.from({ length: 256 }, (_, code) =>
  code <= SPACE || code === OPEN || code === CLOSE ? 1 : 0,
);

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Words of one place, found by their bytes. */
class Words {
  readonly #byHash: Map<number, { text: Uint8Array; value: number }> = new Map();
  readonly names: string;

  constructor(values: Readonly<Record<string, number>>) {
    for (const [word, value] of Object.entries(values)) {
      const text = ascii(word);
      this.#byHash.set(hashOf(text, 0, text.length), { text, value });
    }
    this.names = Object.keys(values).join(", ");
  }

  /** The value of the word in [from, to), -1 for another. */
  find(bytes: Uint8Array, from: number, to: number): number {
    const found = this.#byHash.get(hashOf(bytes, from, to));
    if (found === undefined || found.text.length !== to - from) return -1;
    for (let i = 0; i < found.text.length; i++) if (found.text[i] !== bytes[from + i]) return -1;
    return found.value;
  }
}

function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0;
  for (let i = from; i < to; i++) hash = (Math.imul(hash, 31) + (bytes[i] as number)) | 0;
  return hash;
}

const KINDS = new Words({
  "mem-init": K.R_INIT,
  "mem-free": K.R_FREE,
  "mem-set": K.R_SET,
  "mem-write": K.R_STORE,
  "mem-read": K.R_READ,
  barrier: K.R_DSB,
  tlbi: K.R_TLBI,
  "sysreg-write": K.R_SYSREG,
  hint: K.R_HINT,
  lock: K.R_LOCK,
  trylock: K.R_LOCK + 256,
  unlock: K.R_UNLOCK,
});
const ORDERS = new Words({ plain: 0, release: 1 });
const BARRIERS = new Words({ dsb: 0, isb: 1 });
const DOMAINS = new Words({ ish: K.DSB_ISH, ishst: K.DSB_ISHST, nsh: K.DSB_NSH });
const SYSREGS = new Words({
  vttbr_el2: K.SYSREG_VTTBR,
  ttbr0_el2: K.SYSREG_TTBR0,
  vtcr_el2: K.SYSREG_VTCR,
  tcr_el2: K.SYSREG_TCR,
  mair_el2: K.SYSREG_MAIR,
  hcr_el2: K.SYSREG_HCR,
  sctlr_el2: K.SYSREG_SCTLR,
});
const HINTS = new Words({
  set_root_lock: K.HINT_ROOT_LOCK,
  set_owner_root: K.HINT_OWNER_ROOT,
  release_table: K.HINT_RELEASE,
  set_pte_thread_owner: K.HINT_THREAD_OWNER,
});
const TLBIS = new Words({
  vmalls12e1is: K.OP_VMALLS12E1IS,
  vmalle1is: K.OP_VMALLE1IS,
  alle1is: K.OP_ALLE1IS,
  alle2is: K.OP_ALLE2IS,
  vmalls12e1: K.OP_VMALLS12E1,
  vmalle1: K.OP_VMALLE1,
  alle1: K.OP_ALLE1,
  alle2: K.OP_ALLE2,
  ipas2e1is: K.OP_IPAS2E1IS,
  vae2is: K.OP_VAE2IS,
  vale2is: K.OP_VALE2IS,
});

const [ID, TID, ADDRESS, SIZE, VALUE, MEM_ORDER, KIND, SYSREG, LOCATION, SRC] = [
  "id",
  "tid",
  "address",
  "size",
  "value",
  "mem-order",
  "kind",
  "sysreg",
  "location",
  "src",
].map(ascii) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
];

/** The input ends inside a record: not an error before the end of the log. */
const INCOMPLETE = Symbol("incomplete");

/** Where a parser puts its records: `words` holds `records` of 12 words each, good until the call returns. */
export type CasemateSink = (words: Uint32Array, records: number) => void;

/**
 * Parses a casemate log as it comes, in pieces of any size, into the judge's records. A record that names several
 * pages becomes one for each; all have the number of the record in the log, from 0.
 *
 * @example
 * ```ts
 * import { CasemateParser } from "granule/trace";
 *
 * let records = 0;
 * const parser = new CasemateParser((_words, n) => {
 *   records += n;
 * });
 * parser.push(new TextEncoder().encode('(lock (id 0) (tid 0) (address 0x1000) (src "a.c:1"))\n'));
 * parser.end();
 * console.log(records); // 1
 * ```
 */
export class CasemateParser {
  readonly #sink: CasemateSink;
  readonly #words: Uint32Array;
  readonly #view: JournalRecordView;
  readonly #capacity: number;
  #filled = 0;
  /** Records of the log so far. */
  #records = 0;
  #line = 1;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #rest: Uint8Array = new Uint8Array(0);
  readonly #cpus: Map<number, number> = new Map();
  // The number that was read last, and the fields of the record in hand.
  #low = 0;
  #high = 0;
  #cpu = 0;
  #addressLow = 0;
  #addressHigh = 0;

  constructor(sink: CasemateSink, capacity: number = K.INPUT_RECORDS) {
    this.#sink = sink;
    this.#capacity = capacity;
    const words = new MemoryWords(new ArrayBuffer(capacity * JournalRecordView.BYTES));
    this.#words = words.u32;
    this.#view = new JournalRecordView(words);
  }

  /** Records of the log read so far. */
  get records(): number {
    return this.#records;
  }

  /** Reads a piece. Throws TraceSyntaxError, with the line, for what is not of the dialect. */
  push(piece: Uint8Array): void {
    this.#take(piece);
    this.#parse(false);
    this.#rest = this.#bytes.slice(this.#at);
  }

  /** The log ends; what is left is given out. Throws TraceSyntaxError if a record is not complete. */
  end(): void {
    this.#take(new Uint8Array(0));
    this.#parse(true);
    this.#rest = new Uint8Array(0);
    this.#flush();
  }

  #take(piece: Uint8Array): void {
    this.#at = 0;
    if (this.#rest.length === 0) {
      this.#bytes = piece;
      return;
    }
    this.#bytes = new Uint8Array(this.#rest.length + piece.length);
    this.#bytes.set(this.#rest);
    this.#bytes.set(piece, this.#rest.length);
  }

  #parse(last: boolean): void {
    for (;;) {
      this.#skipSpace();
      if (this.#at >= this.#bytes.length) return;
      const [start, line] = [this.#at, this.#line];
      try {
        this.#record();
      } catch (error) {
        if (error !== INCOMPLETE) throw error;
        if (last || this.#bytes.length - start > MAX_RECORD) throw this.#wrong("the rest of the record", start, line);
        this.#at = start;
        this.#line = line;
        return;
      }
      this.#records++;
    }
  }

  #wrong(expected: string, at = this.#at, line = this.#line): TraceSyntaxError {
    let from = at;
    while (from > 0 && this.#bytes[from - 1] !== NEWLINE && at - from < 240) from--;
    let to = at;
    while (to < this.#bytes.length && this.#bytes[to] !== NEWLINE && to - from < 240) to++;
    return new TraceSyntaxError(line, new TextDecoder().decode(this.#bytes.subarray(from, to)), expected);
  }

  #skipSpace(): void {
    const bytes = this.#bytes;
    let at = this.#at;
    for (; at < bytes.length; at++) {
      const code = bytes[at] as number;
      if (code === NEWLINE) this.#line++;
      else if (code !== SPACE && (code < TAB || code > RETURN)) break;
    }
    this.#at = at;
  }

  /** The next byte that is no space; the end is INCOMPLETE. */
  #peek(): number {
    if ((this.#bytes[this.#at] as number) > SPACE) return this.#bytes[this.#at] as number;
    this.#skipSpace();
    if (this.#at >= this.#bytes.length) throw INCOMPLETE;
    return this.#bytes[this.#at] as number;
  }

  #expect(code: number, what: string): void {
    if (this.#peek() !== code) throw this.#wrong(what);
    this.#at++;
  }

  /** Steps over a word and returns its end. */
  #wordEnd(): number {
    this.#peek();
    const bytes = this.#bytes;
    let to = this.#at;
    while (to < bytes.length && ENDS_WORD[bytes[to] as number] === 0) to++;
    if (to >= bytes.length) throw INCOMPLETE;
    return to;
  }

  #word(words: Words): number {
    const to = this.#wordEnd();
    const value = words.find(this.#bytes, this.#at, to);
    if (value < 0) throw this.#wrong(words.names);
    this.#at = to;
    return value;
  }

  /** Enters a field; true if it is keyed and must be left by `#leave`. */
  #enter(key: Uint8Array): boolean {
    if (this.#peek() !== OPEN) return false;
    this.#at++;
    const to = this.#wordEnd();
    let same = to - this.#at === key.length;
    for (let i = 0; same && i < key.length; i++) same = this.#bytes[this.#at + i] === key[i];
    if (!same) throw this.#wrong(`the field ${new TextDecoder().decode(key)}`);
    this.#at = to;
    return true;
  }

  #leave(keyed: boolean): void {
    if (keyed) this.#expect(CLOSE, ")");
  }

  #choice(key: Uint8Array, words: Words): number {
    const keyed = this.#enter(key);
    const value = this.#word(words);
    this.#leave(keyed);
    return value;
  }

  /** A decimal number. */
  #decimal(key: Uint8Array): number {
    const keyed = this.#enter(key);
    const to = this.#wordEnd();
    let value = 0;
    for (let i = this.#at; i < to; i++) {
      const digit = DIGIT[this.#bytes[i] as number] as number;
      if (digit > 9 || value > 2 ** 49) throw this.#wrong("a decimal number");
      value = value * 10 + digit;
    }
    if (to === this.#at) throw this.#wrong("a decimal number");
    this.#at = to;
    this.#leave(keyed);
    return value;
  }

  /** A hexadecimal number, with or without 0x, into #high and #low. */
  #hex(key: Uint8Array): void {
    const keyed = this.#enter(key);
    const to = this.#wordEnd();
    const bytes = this.#bytes;
    let at = this.#at;
    if (bytes[at] === 0x30 && bytes[at + 1] === 0x78) at += 2;
    let high = 0;
    let low = 0;
    if (at === to || to - at > 16) throw this.#wrong("a hexadecimal number of up to 16 digits");
    for (; at < to; at++) {
      const digit = DIGIT[bytes[at] as number] as number;
      if (digit > 15) throw this.#wrong("a hexadecimal number of up to 16 digits");
      high = (high << 4) | (low >>> 28);
      low = (low << 4) | digit;
    }
    this.#at = to;
    this.#high = high >>> 0;
    this.#low = low >>> 0;
    this.#leave(keyed);
  }

  #address(key: Uint8Array): void {
    this.#hex(key);
    this.#addressLow = this.#low;
    this.#addressHigh = this.#high;
  }

  /** `src`: a quoted string with a colon in it, and the end of the record. */
  #source(): void {
    const keyed = this.#enter(SRC);
    this.#expect(QUOTE, 'a string: "file:line"');
    const to = this.#bytes.indexOf(QUOTE, this.#at);
    if (to < 0) throw INCOMPLETE;
    let colon = false;
    for (let i = this.#at; i < to; i++) {
      const code = this.#bytes[i];
      if (code === COLON) colon = true;
      else if (code === NEWLINE) this.#line++;
    }
    if (!colon) throw this.#wrong('a string with a colon: "file:line"');
    this.#at = to + 1;
    this.#leave(keyed);
    this.#expect(CLOSE, ") at the end of the record");
  }

  #thread(tid: number): number {
    const known = this.#cpus.get(tid);
    if (known !== undefined) return known;
    if (this.#cpus.size >= K.MAX_CPUS) throw this.#wrong(`at most ${K.MAX_CPUS} different tids`);
    this.#cpus.set(tid, this.#cpus.size);
    return this.#cpus.size - 1;
  }

  #record(): void {
    this.#expect(OPEN, "( of a record");
    const kind = this.#word(KINDS);
    this.#decimal(ID);
    this.#cpu = this.#thread(this.#decimal(TID));
    if (kind === K.R_STORE) this.#write();
    else if (kind === K.R_DSB) this.#barrier();
    else if (kind === K.R_TLBI) this.#tlbi();
    else if (kind === K.R_SYSREG) this.#sysreg();
    else if (kind === K.R_HINT) this.#hint();
    else if (kind === K.R_INIT || kind === K.R_FREE || kind === K.R_SET) this.#pages(kind);
    else {
      this.#address(ADDRESS);
      if (kind === K.R_READ) this.#hex(VALUE);
      this.#done(kind & 255, kind >> 8);
    }
  }

  #write(): void {
    const order = this.#choice(MEM_ORDER, ORDERS);
    this.#address(ADDRESS);
    if (this.#addressLow & 7) throw this.#wrong("an address that is a multiple of 8");
    this.#hex(VALUE);
    this.#done(K.R_STORE, order);
  }

  #barrier(): void {
    this.#addressLow = 0;
    this.#addressHigh = 0;
    const isb = this.#word(BARRIERS) === 1;
    this.#high = 0;
    this.#low = isb ? 0 : this.#choice(KIND, DOMAINS);
    this.#done(isb ? K.R_ISB : K.R_DSB, 0);
  }

  #tlbi(): void {
    this.#addressLow = 0;
    this.#addressHigh = 0;
    const op = this.#word(TLBIS);
    this.#low = 0;
    this.#high = 0;
    if (op >= K.OP_IPAS2E1IS) this.#hex(VALUE);
    this.#done(K.R_TLBI, op);
  }

  #sysreg(): void {
    const sysreg = this.#choice(SYSREG, SYSREGS);
    this.#hex(VALUE);
    this.#done(K.R_SYSREG, sysreg);
  }

  #hint(): void {
    const hint = this.#choice(KIND, HINTS);
    this.#address(LOCATION);
    this.#hex(VALUE);
    // A thread owner is named by its tid, printed as a number like any other.
    if (hint === K.HINT_THREAD_OWNER && this.#high === 0 && this.#low < 2 ** 31) this.#low = this.#thread(this.#low);
    this.#done(K.R_HINT, hint);
  }

  #pages(kind: number): void {
    this.#address(ADDRESS);
    this.#hex(SIZE);
    const bytes = this.#high * 2 ** 32 + this.#low;
    const pages = Math.ceil((bytes + (this.#addressLow % PAGE_BYTES)) / PAGE_BYTES);
    if (pages < 1 || pages > MAX_PAGES) throw this.#wrong("a size of 1 byte to 1 GiB");
    this.#low = 0;
    this.#high = 0;
    if (kind === K.R_SET) this.#hex(VALUE);
    this.#source();
    let page = (this.#addressLow >>> PAGE_BITS) + this.#addressHigh * 2 ** (32 - PAGE_BITS);
    for (let i = 0; i < pages; i++, page++) {
      this.#addressLow = (page << PAGE_BITS) >>> 0;
      this.#addressHigh = Math.floor(page / 2 ** (32 - PAGE_BITS));
      this.#emit(kind, 0);
    }
  }

  #done(kind: number, level: number): void {
    this.#source();
    this.#emit(kind, level);
  }

  #emit(kind: number, level: number): void {
    const record = this.#view;
    record.at = this.#filled * JournalRecordView.BYTES;
    record.kind = kind;
    record.level = level;
    record.table = 0;
    record.walker = this.#cpu;
    record.addressLow = this.#addressLow;
    record.addressHigh = this.#addressHigh;
    record.aLow = this.#low;
    record.aHigh = this.#high;
    record.sequenceLow = this.#records;
    record.sequenceHigh = Math.floor(this.#records / 2 ** 32);
    if (++this.#filled === this.#capacity) this.#flush();
  }

  #flush(): void {
    const n = this.#filled;
    this.#filled = 0;
    if (n > 0) this.#sink(this.#words, n);
  }
}
