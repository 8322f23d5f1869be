import { checkChoice, checkOptions, describe, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { GranuleError, invalid } from "../core/errors.js";
import { get, halvesOf } from "../core/field.js";
import { BankView, EntryView, TlbView } from "../core/mmu-views.generated.js";
import { Words } from "../core/view.js";
import { type AddressLike, type Ipa, type Like, type Pa, toAddress, type Va } from "../model/address.js";
import { formWord, type TlbiForm } from "./forms.js";
import { Mmu, type MmuColumns } from "./mmu.js";
import { Access, type AccessKind, type AccessOptions, type Translation, type TranslationFault } from "./result.js";
import { BANK_NAMES, type BankWords, bankWords, SHAPE, TLB_PRESETS, type TlbPreset, type TlbShape } from "./shapes.js";

/** How often an adversary does what hardware may do: once in so many accesses, 0 for never. */
export interface TlbWhims {
  /** Completes a waiting TLBI before its DSB. */
  early: number;
  /** Loses an entry. */
  drop: number;
  /** Reads ahead in the neighbourhood. */
  prefetch: number;
}

/** How to make a TLB. */
export interface TlbOptions {
  /** A shape by name. Default `"neoverse-n1"`. */
  preset?: TlbPreset;
  /** A shape of one's own, in place of a preset. */
  shape?: TlbShape;
  /** For random replacement and the adversary. Default 1. */
  seed?: number;
  /** Keeps and drops whatever the architecture allows; TLBIs wait for their DSB. Default false. */
  adversarial?: boolean;
  /** What the adversary does how often. Default: by the seed. */
  whims?: TlbWhims;
  /** Use the entries of this one: the same CPU in another regime. */
  sharing?: Tlb;
}

/** A DSB's domain: this CPU, the inner, the outer shareable domain. */
export type DsbDomain = "nsh" | "ish" | "osh";

/** What went through one structure. `inserts` = `valid` + `evicted` + `flushed` + `dropped`. */
export interface TlbBankStats {
  /** Looked up and found. */
  hits: number;
  /** Looked up and not found. */
  misses: number;
  /** Entries ever put in. */
  inserts: number;
  /** Entries that made room for others. */
  evicted: number;
  /** Entries that a TLBI dropped. */
  flushed: number;
  /** Lost by the adversary. */
  dropped: number;
  /** Entries now. */
  valid: number;
}

/** Statistics, by gem5's names where it has them. */
export interface TlbStats {
  /** Loads that an entry answered. */
  rdHits: number;
  /** Loads that needed a walk. */
  rdMisses: number;
  /** Stores that an entry answered. */
  wrHits: number;
  /** Stores that needed a walk. */
  wrMisses: number;
  /** Fetches that an entry answered. */
  instHits: number;
  /** Fetches that needed a walk. */
  instMisses: number;
  /** Entries ever put in, over all structures. */
  inserts: number;
  /** Entries that made room for others, over all structures. */
  evicted: number;
  /** Entries that TLBIs dropped, over all structures. */
  flushedEntries: number;
  /** Entries that the adversary lost, over all structures. */
  dropped: number;
  /** TLBIs of everything. */
  flushTlb: number;
  /** TLBIs by address, of all ASIDs. */
  flushTlbMva: number;
  /** TLBIs by address and ASID. */
  flushTlbMvaAsid: number;
  /** TLBIs by ASID. */
  flushTlbAsid: number;
  /** TLBIs by intermediate physical address. */
  flushTlbIpa: number;
  /** Denied by an entry, without a walk. */
  permsFaults: number;
  /** Accesses that met more than one entry. */
  conflicts: number;
  /** Translations that the adversary read ahead. */
  prefetches: number;
  /** Writes to a writable-clean entry, which ask memory [HWM-24]. */
  rewalks: number;
  /** TLBIs that wait for their DSB. */
  pending: number;
  /** The same for each structure that there is. */
  banks: Partial<Record<(typeof BANK_NAMES)[number], TlbBankStats>>;
}

/** An entry, decoded. */
export interface TlbEntry {
  /** The structure that holds it. */
  bank: (typeof BANK_NAMES)[number];
  /** A translation, a leaf of stage 2, a table of stage 1 or 2, a table of stage 1 with its physical address. */
  kind: "leaf" | "stage2" | "table1" | "table2" | "tableOfBoth";
  /** The translation regime that it belongs to. */
  regime: "EL1&0" | "EL2" | "EL2&0";
  /** Its VMID; 0 in EL2's regimes. */
  vmid: number;
  /** Its ASID; 0 where it is global or of stage 2. */
  asid: number;
  /** It answers for every ASID. */
  global: boolean;
  /** First input address. */
  address: Ipa | Va;
  /** Bytes that it covers. */
  size: bigint;
  /** Where a translation leads, or where the table is: an IPA for a table of stage 1 alone. */
  output: Ipa | Pa;
  /** Rights of both stages in INFO's bits for a translation, the descriptor for a leaf of stage 2. */
  info: bigint;
  /**
   * Bit n: leaf n of a contiguous run was invalidated alone, and the entry answers for the others only [HWM-37]. Of adversarial
   * TLBs; 0 otherwise.
   */
  holes: number;
}

/** What comes with a TLBI beside its operand. */
export interface TlbiOptions {
  /** VMID of the CPU that issues it, below 2^16. Default: VTTBR_EL2's of the MMU. */
  vmid?: number;
  /** The CPU that issues it: a DSB completes those of its CPU. Default 0. */
  issuer?: number;
  /** That CPU has FEAT_LPA2, and DS of its regime is 1: ranges count 64K, TTL can name level 0 (4K) and 1 (16K). Default false. */
  lpa2?: boolean;
  /** HCR_EL2 of that CPU: E2H and TGE choose the regime that the form acts on. Default: the MMU's. */
  hcr?: AddressLike;
}

const OPTIONS: OptionKinds<TlbOptions> = {
  preset: "any",
  shape: "object",
  seed: "number",
  adversarial: "boolean",
  whims: "object",
  sharing: "any",
};
const WHIMS: OptionKinds<TlbWhims> = { early: "number", drop: "number", prefetch: "number" };
const TLBI: OptionKinds<TlbiOptions> = { vmid: "any", issuer: "number", lpa2: "boolean", hcr: "address" };

const KINDS = ["leaf", "stage2", "table1", "table2", "tableOfBoth"] as const;
const REGIMES = ["EL1&0", "EL2", "EL2&0"] as const;
/** Statistics by their public names: the fields of the core. */
const STATISTICS = {
  rdHits: "readHits",
  rdMisses: "readMisses",
  wrHits: "writeHits",
  wrMisses: "writeMisses",
  instHits: "fetchHits",
  instMisses: "fetchMisses",
  flushTlb: "flushAll",
  flushTlbMva: "flushMva",
  flushTlbMvaAsid: "flushMvaAsid",
  flushTlbAsid: "flushAsid",
  flushTlbIpa: "flushIpa",
  permsFaults: "permissionFaults",
  conflicts: "conflicts",
  prefetches: "prefetches",
  rewalks: "rewalks",
} as const;
const VMIDS = 2 ** 16;
const DOMAINS: Readonly<Record<DsbDomain, number>> = { nsh: 0, ish: 1, osh: 2 };
const CHOICES = [
  [0, 0, 4, 16],
  [0, 8, 64, 256],
  [2, 4, 16, 0],
] as const;

/** Whims by a seed. */
function whimsOf(seed: number): TlbWhims {
  const [early, drop, prefetch] = CHOICES.map((choice, i) => choice[(Math.imul(seed, 0x9e3779b1) >>> (4 * i + 8)) & 3]);
  return { early: early ?? 0, drop: drop ?? 0, prefetch: prefetch ?? 0 };
}

function isCount(n: number): boolean {
  return Number.isInteger(n) && n >= 0 && n < 2 ** 32;
}

/** A core's word, low and high. */
function halves(word: bigint): [number, number] {
  return [Number(word & 0xffff_ffffn), Number(word >> 32n)];
}

/**
 * The TLBs and walk caches of one CPU over an MMU. Make one with `createTlb`. Accesses belong to one thread at a time;
 * TLBIs and DSBs of other threads on the same memory may come at any time.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { createMmu, createTlb, stage2Registers } from "granule/mmu";
 * using engine = createEngine();
 * const table = engine.createStage2();
 * table.map(0x4000_0000, 0x1000, 0x8000_0000, "rw");
 * using tlb = createTlb(createMmu({ engine, registers: stage2Registers(table) }), { preset: "cortex-a53" });
 * tlb.access(0x4000_0000); // walks
 * tlb.access(0x4000_0008); // hits
 * console.log(tlb.stats().rdMisses, tlb.stats().rdHits); // 1 1
 * ```
 */
export class Tlb implements Disposable {
  /** The walker behind it. */
  readonly mmu: Mmu;
  /** Pointer of its block in `mmu.memory`; assembly/mmu/tlb.ts draws it. */
  readonly pointer: number;
  readonly #owner: boolean;
  readonly #bytes: number;
  readonly #words: Words;
  readonly #head: TlbView;
  #closed = false;

  /** Use `createTlb`. */
  constructor(mmu: Mmu, options: TlbOptions) {
    if (!(mmu instanceof Mmu)) throw invalid("createTlb", "the first argument is not an MMU: `createMmu` makes one");
    mmu.assertOpen("createTlb");
    this.mmu = mmu;
    const { sharing, whims } = checkOptions("createTlb", options, OPTIONS);
    if (whims !== undefined) checkOptions("createTlb", whims, WHIMS);
    if (sharing !== undefined && !(sharing instanceof Tlb)) throw invalid("createTlb", "`sharing` is not a TLB");
    if (sharing && sharing.mmu.memory !== mmu.memory)
      throw invalid("createTlb", "`sharing` is a TLB in another memory");
    this.#owner = sharing === undefined;
    const banks = sharing ? [] : Tlb.#banks(options);
    const entries = banks.reduce((n, { sets, ways }) => n + sets * ways, 0);
    const room = banks.length * K.TLB_BANK_SLACK + entries * (K.TLB_ENTRY_BYTES + K.TLB_APART_BYTES);
    const bytes = sharing ? sharing.#bytes : K.TLB_HEADER_BYTES + room;
    this.pointer = sharing ? sharing.pointer : mmu.space.take(bytes);
    this.#bytes = bytes;
    this.#words = new Words(mmu.memory.buffer);
    this.#head = new TlbView(this.#words, this.pointer);
    if (!sharing) this.#initialise(options, banks, bytes);
  }

  static #banks(options: TlbOptions): BankWords[] {
    const { preset = "neoverse-n1", shape = TLB_PRESETS[preset] } = options;
    if (options.shape === undefined) checkChoice("createTlb", "the preset", preset, Object.keys(TLB_PRESETS));
    checkOptions("createTlb", shape, SHAPE);
    if (shape.data === undefined) throw invalid("createTlb", "a shape needs a data bank");
    return BANK_NAMES.map((name) => bankWords(shape[name], name === "walk"));
  }

  #initialise(options: TlbOptions, banks: readonly BankWords[], bytes: number): void {
    const { preset = "neoverse-n1", shape = TLB_PRESETS[preset], seed = 1, adversarial = false } = options;
    const whims = options.whims ?? whimsOf(seed);
    if (![seed, whims.early, whims.drop, whims.prefetch].every(isCount)) {
      throw invalid("createTlb", "seed and whims must be whole numbers below 2^32");
    }
    banks.forEach(({ sets, ways, policy, sizes }, i) => {
      const bank = this.#bank(i);
      bank.pointer = 0;
      bank.sets = sets;
      bank.ways = ways;
      bank.policy = policy;
      bank.sizes = sizes;
    });
    const { combinedWalks = true, contiguous = true } = shape;
    const head = this.#head;
    head.flags =
      (adversarial ? K.TLB_ADVERSARIAL : 0) |
      (combinedWalks ? K.TLB_COMBINED_WALKS : 0) |
      (contiguous ? K.TLB_CONTIGUOUS : 0);
    head.seed = seed;
    head.early = whims.early;
    head.drop = whims.drop;
    head.prefetch = whims.prefetch;
    this.#check(this.mmu.core.mmuTlb(this.pointer, bytes), "createTlb");
  }

  #check(status: number, operation: string): void {
    if (status < 0) throw new GranuleError(status, { operation });
  }

  #assertOpen(operation: string): void {
    this.mmu.assertOpen(operation);
    if (this.#closed) throw invalid(operation, "the TLB is closed");
  }

  /**
   * One access: by an entry if there is one, which may deny it, by a walk otherwise, which leaves one. Results as of
   * `Mmu.translate`, and `conflict` for an address that has entries of two sizes [HWM-35].
   *
   * @example
   * ```ts
   * import { createEngine } from "granule";
   * import { createMmu, createTlb, stage2Registers } from "granule/mmu";
   * using engine = createEngine();
   * const table = engine.createStage2();
   * table.map(0x4000_0000, 0x1000, 0x8000_0000, "rw");
   * using mmu = createMmu({ engine, registers: stage2Registers(table) });
   * using tlb = createTlb(mmu);
   * tlb.access(0x4000_0123);
   * table.unmap(0x4000_0000, 0x1000);
   * console.log(tlb.access(0x4000_0123).ok); // true
   * tlb.invalidate("VMALLS12E1IS");
   * console.log(tlb.access(0x4000_0123).ok); // false
   * ```
   */
  access(address: Like<Ipa | Va>, kind: AccessKind = "r", options?: AccessOptions): Translation | TranslationFault {
    this.#assertOpen("access");
    const { mmu } = this;
    const word = mmu.accessWord(kind, options);
    const at = halvesOf(toAddress(address, "access"));
    const status = mmu.core.mmuAccess(mmu.context, this.pointer, at[0] as number, at[1] as number, word, mmu.out);
    return mmu.lastResult(status, "access", address);
  }

  /**
   * One access as `access` makes it, statistics and replacement included, with numbers alone: where it goes, or a negative `Fault`, of
   * which `lastFault` has the details. Addresses, accesses and -22 (EINVAL) as of `Mmu.lookup`.
   *
   * @example
   * ```ts
   * import { createEngine } from "granule";
   * import { Access, createMmu, createTlb, stage2Registers } from "granule/mmu";
   * using engine = createEngine();
   * const table = engine.createStage2();
   * table.map(0x4000_0000, 0x1000, 0x8000_0000, "rw");
   * using tlb = createTlb(createMmu({ engine, registers: stage2Registers(table) }));
   * const load = (address: number) => {
   *   const at = tlb.lookup(address, Access.READ);
   *   return at >= 0 ? at.toString(16) : `ESR ${tlb.lastFault()?.exception?.esr.toString(16)}`;
   * };
   * console.log(load(0x4000_0123), load(0x4000_0124), load(0)); // 80000123 80000124 ESR 92000005
   * console.log(tlb.stats().rdHits, tlb.stats().rdMisses); // 1 2
   * ```
   */
  lookup(address: number, access: number = Access.READ): number {
    const { mmu } = this;
    if (typeof address !== "number" || this.#closed || mmu.closed) return K.EINVAL;
    return mmu.core.mmuLookupTlb(mmu.context, this.pointer, address, access, mmu.faultOut);
  }

  /** The details of the last fault that `lookup` gave, of this TLB, its MMU, or another TLB over that: `Mmu.lastFault`. */
  lastFault(): TranslationFault | undefined {
    this.#assertOpen("lastFault");
    return this.mmu.lastFault();
  }

  /** Accesses of one kind to the first `n` addresses of columns, in order, as `Mmu.translateMany`; how many were faults. */
  accessMany(columns: MmuColumns, n: number, kind: AccessKind = "r", options?: AccessOptions): number {
    this.#assertOpen("accessMany");
    const { mmu } = this;
    const { addresses, rows } = mmu.checkColumns("accessMany", columns, n);
    const word = mmu.accessWord(kind, options);
    const [from, to] = [addresses.byteOffset, rows.byteOffset];
    const faults = mmu.core.mmuAccessMany(mmu.context, this.pointer, from, to, n, word);
    this.#check(faults, "accessMany");
    return faults;
  }

  /** A speculative read, as hardware may make at any time: fills, sets access flags where HA does, reports nothing. */
  speculate(address: Like<Ipa | Va>): void {
    this.#assertOpen("speculate");
    const { mmu } = this;
    const at = halves(toAddress(address, "speculate"));
    this.#check(mmu.core.mmuSpeculate(mmu.context, this.pointer, ...at), "speculate");
  }

  /**
   * A TLBI arrives, with the 64-bit operand of its register. Forms without IS and OS are the CPU's own; which CPUs hear a
   * broadcast is for a `TlbDomain` to say. With an adversary it takes effect at `dsb`, or before. EINVAL for a form or a VMID
   * that there is not; ETIMEDOUT when another thread has died while it changed this TLB's queue.
   *
   * @example
   * ```ts
   * import { createMmu, createTlb } from "granule/mmu";
   * using tlb = createTlb(createMmu({ image: new Uint8Array(8) })); // both stages off
   * tlb.access(0x1000);
   * tlb.invalidate("VAAE1", 0x1000 >> 12);
   * console.log(tlb.entries().length); // 0
   * ```
   */
  invalidate(form: TlbiForm, operand: AddressLike = 0, options: TlbiOptions = {}): void {
    this.#assertOpen("invalidate");
    checkOptions("invalidate", options, TLBI);
    const { vmid = this.mmu.tags.vmid, issuer = 0, lpa2 = false, hcr = this.mmu.hcr } = options;
    if (!Number.isInteger(vmid) || vmid < 0 || vmid >= VMIDS) {
      throw invalid("invalidate", `${describe(vmid)} is not a VMID: these are 0 to ${VMIDS - 1}`);
    }
    const host = toAddress(hcr, "invalidate");
    const word =
      formWord(form) |
      (lpa2 ? K.TLBI_LPA2 : 0) |
      (host & K.HCR_E2H ? K.TLBI_E2H : 0) |
      (host & K.HCR_TGE ? K.TLBI_TGE : 0);
    const [lo, hi] = halves(toAddress(operand, "invalidate"));
    this.#check(this.mmu.core.mmuTlbi(this.pointer, issuer, word, lo, hi, vmid), "invalidate");
  }

  /** The DSB of CPU `issuer`: what it issued before, for this domain or a smaller one, is done afterwards [HWM-41]. ETIMEDOUT as `invalidate`. */
  dsb(domain: DsbDomain = "ish", issuer = 0): void {
    this.#assertOpen("dsb");
    const word = Object.hasOwn(DOMAINS, domain) ? DOMAINS[domain] : undefined;
    if (word === undefined) throw invalid("dsb", `${describe(domain)} is not a domain: nsh, ish or osh`);
    this.#check(this.mmu.core.mmuDsb(this.pointer, issuer, word), "dsb");
  }

  #bank(i: number): BankView {
    return new BankView(this.#words, this.pointer + K.TLB_BANKS_AT + i * K.TLB_BANK_BYTES);
  }

  /** The entries of a bank that are there, one view for all: each is valid until the next. */
  *#entriesOf({ pointer, sets, ways }: BankView): Generator<EntryView> {
    const entry = new EntryView(this.#words);
    for (let e = 0; e < sets * ways; e++) {
      entry.at = pointer + e * EntryView.BYTES;
      if (entry.tag !== 0n) yield entry;
    }
  }

  /** Everything in it. */
  entries(): TlbEntry[] {
    this.#assertOpen("entries");
    return BANK_NAMES.flatMap((name, i) => [...this.#decoded(name, this.#bank(i))]);
  }

  *#decoded(name: TlbEntry["bank"], bank: BankView): Generator<TlbEntry> {
    for (const entry of this.#entriesOf(bank)) yield this.#entry(name, entry);
  }

  #entry(bank: TlbEntry["bank"], { tag, base: address, mask, out: output, info }: EntryView): TlbEntry {
    return {
      bank,
      kind: KINDS[get(tag, K.TAG_KIND)] ?? "leaf",
      regime: REGIMES[get(tag, K.TAG_REGIME)] ?? "EL2",
      vmid: get(tag, K.TAG_VMID),
      asid: get(tag, K.TAG_ASID),
      global: (tag & K.TAG_GLOBAL) !== 0n,
      address: address as Ipa | Va,
      size: BigInt.asUintN(64, ~mask) + 1n,
      output: output as Ipa | Pa,
      info,
      holes: get(tag, K.TAG_HOLES),
    };
  }

  #bankStats(i: number): [TlbEntry["bank"], TlbBankStats] | undefined {
    const bank = this.#bank(i);
    if (bank.sets * bank.ways === 0) return undefined;
    const name = BANK_NAMES[i] ?? "data";
    const [inserts, evicted, flushed, dropped] = [bank.inserts, bank.evicted, bank.flushed, bank.dropped].map(
      Number,
    ) as [number, number, number, number];
    const [hits, misses, valid] = [Number(bank.hits), Number(bank.misses), [...this.#entriesOf(bank)].length];
    return [name, { hits, misses, inserts, evicted, flushed, dropped, valid }];
  }

  /**
   * What happened so far.
   *
   * @example
   * ```ts
   * import { createMmu, createTlb } from "granule/mmu";
   * using tlb = createTlb(createMmu({ image: new Uint8Array(8) }), { preset: "tiny" });
   * for (let i = 0; i < 10; i++) tlb.access(0x1000 + i);
   * const { rdHits, rdMisses } = tlb.stats();
   * console.log(rdHits, rdMisses); // 9 1
   * ```
   */
  stats(): TlbStats {
    this.#assertOpen("stats");
    const names = Object.entries(STATISTICS).map(([name, field]) => [name, Number(this.#head[field])]);
    const banks = BANK_NAMES.flatMap((_, i) => [this.#bankStats(i) ?? []].filter((b) => b.length > 0));
    const all = Object.fromEntries(banks) as Record<string, TlbBankStats>;
    const sum = (pick: (b: TlbBankStats) => number) => Object.values(all).reduce((n, b) => n + pick(b), 0);
    return {
      ...(Object.fromEntries(names) as Record<keyof typeof STATISTICS, number>),
      inserts: sum((b) => b.inserts),
      evicted: sum((b) => b.evicted),
      flushedEntries: sum((b) => b.flushed),
      dropped: sum((b) => b.dropped),
      pending: this.#head.pending,
      banks: all,
    };
  }

  /** Gives its memory back, unless it is another's. Twice is harmless. */
  close(): void {
    if (!this.#closed && this.#owner) {
      this.#head.magic = 0;
      this.mmu.space.give(this.pointer);
    }
    this.#closed = true;
  }

  /** The same as {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * The TLBs of a CPU whose walker is `mmu`.
 *
 * @example
 * ```ts
 * import { createMmu, createTlb } from "granule/mmu";
 * using mmu = createMmu({ image: new Uint8Array(8) }); // both stages off
 * using tlb = createTlb(mmu, { preset: "cortex-a53", seed: 7, adversarial: true });
 * console.log(tlb.access(0x1234).ok); // true
 * ```
 */
export function createTlb(mmu: Mmu, options: TlbOptions = {}): Tlb {
  return new Tlb(mmu, options);
}
