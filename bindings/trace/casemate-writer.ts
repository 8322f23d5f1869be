import * as K from "../core/constants.generated.js";
import { fieldOf, get, maskOf, put, valuesOf } from "../core/field.js";

/** A record of an engine's journal, as `granule` gives it. */
export interface CasemateEvent {
  /** A kind of `JournalKind` in `granule`. */
  kind: number;
  /** Level of the entry or of the level hint; the order of a lock; 0 where the kind has none. */
  level: number;
  /** Number of the table in its engine. */
  table: number;
  /** Number of the walker that made the record. */
  walker: number;
  /** Physical address of the descriptor, or the first address of a TLBI; the kind says which. */
  address: bigint;
  /** First value, by kind: the old descriptor of a write. */
  a: bigint;
  /** Second value, by kind: the new descriptor of a write. */
  b: bigint;
}

/** A table as the log knows it. */
interface Known {
  root: bigint;
  vmid: bigint;
  hyp: boolean;
  page: bigint;
  ps: number;
  /** VTCR_EL2, or TCR_EL2. */
  control: bigint;
  lock: bigint;
  /** Walker whose lock the log shows, and how often it took it; -1 for none. */
  holder: number;
  depth: number;
  /** Walkers share it; `free`: some without its lock, so that nobody's lock is shown but around single records. */
  shared: boolean;
  free: boolean;
  gone: boolean;
}

/** A CPU's: the tables that it has loaded, stage 2 and EL2, and the control register that it wrote last. */
interface Registers {
  guest: number | undefined;
  hyp: number | undefined;
  vtcr: bigint | undefined;
  tcr: bigint | undefined;
  /** EL2's MMU has been on. */
  began: boolean;
}

const OPERAND_BITS = BigInt(K.UNIT_SHIFT);
/** TG0 of TCR_EL2, and TG of a level hint, by granule as log2. */
const TG0: Readonly<Record<number, number>> = { 12: K.TG0_4K, 14: K.TG0_16K, 16: K.TG0_64K };
const TG: Readonly<Record<number, number>> = { 12: K.TG_4K, 14: K.TG_16K, 16: K.TG_64K };
/** A range of more pages is written as a flush of the whole VMID, which is more. */
const MAX_SINGLE = 64n;
/** VMIDs are given in turn from 1: 0 is the host's. */
const LAST_VMID = BigInt(valuesOf(K.TTBR_ID8)) - 1n;
const LAST_VMID_16 = BigInt(valuesOf(K.TTBR_ID)) - 1n;
/** A TTBR holds PA[47:6] in place, and PA[51:48] in [5:2]. */
const HIGH = K.TTBR_ADDRESS >> K.WIDTH;
const BASE = maskOf(fieldOf(HIGH - 1, K.WIDE_ROOT_BITS));
/** Beside a root's address: the name of its lock. */
const LOCK_AT = 1n << 52n;
/** What the dialect cannot say; it has no comments, so every `src` of a prologue carries this. */
const HEADER =
  "granule: locks for reading are locks around each record; local TLBIs, NSH barriers, cache maintenance left out; long ranges are vmalls12e1is:0";

const hex = (n: bigint): string => `0x${n.toString(16)}`;

/** Address of a start table as VTTBR_EL2 and TTBR0_EL2 hold it. */
function ttbr(root: bigint): bigint {
  return (root & BASE) | put(root >> BigInt(HIGH), K.TTBR_ADDRESS_HIGH);
}

/** TCR_EL2 of an EL2 table with `bits` of input. */
function tcrOf(ps: number, bits: number, lpa2: boolean): bigint {
  const sizes = put(64 - bits, K.TCR_T0SZ) | put(TG0[ps] ?? 0, K.TCR_TG0) | put(K.PARANGE_52, K.TCR_PS);
  return K.TCR_EL2_RES1 | sizes | (lpa2 ? K.TCR_EL2_DS : 0n);
}

/**
 * Writes an engine's journal in casemate's dialect: all writes of descriptors as release, pages as they are taken and
 * given back, each table with a VMID of its own. A lock for writing is the root's lock; walkers that share a table, which the
 * dialect cannot say, take that lock for each record; the only walker of an engine has it always. What the dialect cannot say is left out, or written as more than it was.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { CasemateWriter } from "granule/trace";
 * using engine = createEngine({ journalRecords: 1024 });
 * engine.journal.start();
 * engine.createStage2().map(0, 4096, 0, "rw");
 * const lines = new CasemateWriter().write(engine.journal.read());
 * console.log(lines.some((line) => line.startsWith("(mem-write"))); // true
 * ```
 */
export class CasemateWriter {
  readonly #tables: Map<number, Known> = new Map();
  /** What each CPU has in its registers. */
  readonly #cpus: Map<number, Registers> = new Map();
  /** VMIDs of tables that are not gone. */
  readonly #vmids: Set<bigint> = new Set();
  #id = 0;
  #vmid = 0n;
  #lines: string[] = [];

  /** The lines for these records, which follow those of the last call. */
  write(records: Iterable<CasemateEvent>): string[] {
    this.#lines = [];
    for (const record of records) this.#record(record);
    return this.#lines;
  }

  #put(kind: string, tid: number, rest: string, source = "granule:0"): void {
    this.#lines.push(`(${kind} (id ${this.#id++}) (tid ${tid}) ${rest} (src "${source}"))`);
  }

  #page(kind: string, tid: number, address: bigint, size: bigint): void {
    this.#put(kind, tid, `(address ${hex(address)}) (size ${hex(size)})`);
  }

  #sysreg(tid: number, register: string, value: bigint): void {
    this.#put("sysreg-write", tid, `(sysreg ${register}) (value ${hex(value)})`, HEADER);
  }

  #record(r: CasemateEvent): void {
    const t = this.#tables.get(r.table);
    if (r.kind === K.J_TABLE_MADE) this.#made(r);
    else if (r.kind === K.J_ISB) this.#put("barrier", r.walker, "isb");
    else if (!t) return;
    else if (r.kind === K.J_LOCK || r.kind === K.J_UNLOCK) this.#lock(r, t);
    else if (r.kind <= K.J_DSB) this.#locked(r, t);
    else if (r.kind === K.J_TABLE_TAKEN) this.#page("mem-init", r.walker, r.address, r.a * t.page);
    else if (r.kind === K.J_TABLE_FREED) this.#page("mem-free", r.walker, r.address, r.a * t.page);
    else if (r.kind === K.J_TABLE_GONE) this.#gone(r, t);
  }

  /** A write, barrier or TLBI: under the lock, which is taken for it if the walker does not have it. */
  #locked(r: CasemateEvent, t: Known): void {
    const isFlush = r.kind > K.J_WRITE_SHARED && r.kind < K.J_DSB;
    if (isFlush && t.gone) return;
    const alone = t.holder === -1 && !t.gone;
    if (isFlush) this.#load(r.walker, r.table, t);
    if (alone) this.#turn("lock", r.walker, t);
    if (r.kind === K.J_DSB) this.#barrier(r);
    else if (r.kind <= K.J_WRITE_SHARED) {
      this.#put("mem-write", r.walker, `(mem-order release) (address ${hex(r.address)}) (value ${hex(r.b)})`);
    } else this.#flush(r, t);
    if (alone) this.#turn("unlock", r.walker, t);
  }

  #turn(kind: "lock" | "unlock", walker: number, t: Known): void {
    this.#put(kind, walker, `(address ${hex(t.lock)})`);
  }

  #lock(r: CasemateEvent, t: Known): void {
    if (r.a !== 1n || t.free || t.gone) return;
    const before = t.depth;
    t.depth += r.kind === K.J_LOCK ? 1 : -1;
    t.holder = t.depth > 0 ? r.walker : -1;
    if (before === 0) this.#turn("lock", r.walker, t);
    else if (t.depth === 0) this.#turn("unlock", r.walker, t);
  }

  #made(r: CasemateEvent): void {
    const flags = get(r.a, K.GEOMETRY_FLAGS);
    const ps = get(r.a, K.GEOMETRY_GRANULE);
    const shared = ((r.a >> BigInt(K.MADE_PARALLEL)) & 1n) === 1n;
    const hyp = (flags & K.T_HYP) !== 0;
    const t: Known = {
      root: r.address,
      vmid: hyp ? 0n : this.#newVmid(r.walker, r.b),
      hyp,
      control: hyp ? tcrOf(ps, get(r.a, K.GEOMETRY_INPUT), (flags & K.T_LPA2) !== 0) : r.b,
      page: 1n << BigInt(ps),
      ps,
      lock: LOCK_AT | r.address,
      holder: shared ? -1 : r.walker,
      depth: 0,
      shared,
      free: (flags & (K.T_LOCK_FREE | K.T_BARRIER)) !== 0,
      gone: false,
    };
    this.#tables.set(r.table, t);
    this.#page("mem-init", r.walker, r.address, BigInt(get(r.a, K.GEOMETRY_TABLES)) * t.page);
    this.#put("hint", r.walker, `(kind set_root_lock) (location ${hex(t.root)}) (value ${hex(t.lock)})`);
    this.#load(r.walker, r.table, t);
    if (!shared) this.#turn("lock", r.walker, t);
  }

  /** A VMID that no table has; once all were used, what TLBs hold of those that are gone is flushed first. */
  #newVmid(walker: number, vtcr: bigint): bigint {
    const last = vtcr & K.VTCR_VS ? LAST_VMID_16 : LAST_VMID;
    do {
      this.#vmid++;
      if (this.#vmid <= last) continue;
      this.#vmid = 1n;
      this.#flushAll(walker, "alle1is");
    } while (this.#vmids.has(this.#vmid));
    this.#vmids.add(this.#vmid);
    return this.#vmid;
  }

  #flushAll(tid: number, op: string): void {
    this.#put("barrier", tid, "dsb (kind ish)");
    this.#put("tlbi", tid, op);
    this.#put("barrier", tid, "dsb (kind ish)");
    this.#put("barrier", tid, "isb");
  }

  #registers(tid: number): Registers {
    let found = this.#cpus.get(tid);
    if (found === undefined) {
      found = { guest: undefined, hyp: undefined, vtcr: undefined, tcr: undefined, began: false };
      this.#cpus.set(tid, found);
    }
    return found;
  }

  /** The CPU has the table in its register. */
  #load(tid: number, handle: number, t: Known): void {
    const registers = this.#registers(tid);
    if (t.hyp) this.#loadHyp(tid, handle, t, registers);
    else this.#loadGuest(tid, handle, t, registers);
  }

  #loadGuest(tid: number, handle: number, t: Known, registers: Registers): void {
    if (registers.guest === handle) return;
    if (registers.vtcr !== t.control) {
      if (registers.guest !== undefined) this.#sysreg(tid, "hcr_el2", 0n);
      this.#sysreg(tid, "vtcr_el2", t.control);
    }
    this.#sysreg(tid, "vttbr_el2", put(t.vmid, K.TTBR_ID) | ttbr(t.root));
    this.#sysreg(tid, "hcr_el2", 1n);
    this.#put("barrier", tid, "isb");
    registers.guest = handle;
    registers.vtcr = t.control;
  }

  /** EL2 has one address space: another table is loaded with the MMU off, and what the CPU holds of the old one dropped. */
  #loadHyp(tid: number, handle: number, t: Known, registers: Registers): void {
    if (registers.hyp === handle) return;
    if (registers.hyp !== undefined) this.#leaveHyp(tid, registers);
    if (registers.tcr !== t.control) this.#sysreg(tid, "tcr_el2", t.control);
    this.#sysreg(tid, "ttbr0_el2", ttbr(t.root));
    this.#put("barrier", tid, "isb");
    if (registers.began) {
      this.#put("tlbi", tid, "alle2");
      this.#put("barrier", tid, "dsb (kind nsh)");
      this.#put("barrier", tid, "isb");
    }
    this.#sysreg(tid, "sctlr_el2", 1n);
    this.#put("barrier", tid, "isb");
    Object.assign(registers, { hyp: handle, tcr: t.control, began: true });
  }

  #leaveHyp(tid: number, registers: Registers): void {
    this.#sysreg(tid, "sctlr_el2", 0n);
    this.#put("barrier", tid, "isb");
    registers.hyp = undefined;
  }

  /** No CPU walks the table any more: stage 2, or EL2's MMU, is off where it was loaded. */
  #gone(r: CasemateEvent, t: Known): void {
    if (t.gone) return;
    for (const [tid, registers] of this.#cpus) {
      if (registers.hyp === r.table) this.#leaveHyp(tid, registers);
      if (registers.guest !== r.table) continue;
      this.#sysreg(tid, "hcr_el2", 0n);
      this.#put("barrier", tid, "isb");
      registers.guest = undefined;
    }
    if (!t.shared && t.holder !== -1) this.#turn("unlock", t.holder, t);
    t.gone = true;
    this.#vmids.delete(t.vmid);
    this.#put("hint", r.walker, `(kind release_table) (location ${hex(t.root)}) (value 0x0)`);
  }

  #barrier(r: CasemateEvent): void {
    const domain = Number(r.a);
    if (domain === K.DSB_ISH) this.#put("barrier", r.walker, "dsb (kind ish)");
    else if (domain === K.DSB_ISHST) this.#put("barrier", r.walker, "dsb (kind ishst)");
  }

  #tlbi(tid: number, op: string, address: bigint | undefined, level: number, t: Known): void {
    if (address === undefined) {
      this.#put("tlbi", tid, op);
      return;
    }
    const hint = level >= 0 && level <= K.LAST_LEVEL ? put(TG[t.ps] ?? 0, K.TLBI_TG) | put(level, K.TLBI_LEVEL) : 0n;
    this.#put("tlbi", tid, `${op} (value ${hex((address >> OPERAND_BITS) | hint)})`);
  }

  #flush(r: CasemateEvent, t: Known): void {
    const [tid, level] = [r.walker, r.level];
    if (r.kind === K.J_TLBI_IPA_LOCAL || r.kind === K.J_TLBI_STAGE1_LOCAL) return;
    if (r.kind === K.J_DCACHE || r.kind === K.J_ICACHE || r.kind === K.J_WARN) return;
    this.#load(tid, r.table, t);
    if (r.kind === K.J_TLBI_IPA) this.#tlbi(tid, "ipas2e1is", r.address, level, t);
    else if (r.kind === K.J_TLBI_STAGE1) this.#tlbi(tid, "vmalle1is", undefined, level, t);
    else if (r.kind === K.J_TLBI_VA) this.#tlbi(tid, "vae2is", r.address << OPERAND_BITS, level, t);
    else if (r.kind === K.J_TLBI_VA_LAST) this.#tlbi(tid, "vale2is", r.address << OPERAND_BITS, level, t);
    else if (r.kind === K.J_TLBI_RANGE && r.a <= MAX_SINGLE) {
      for (let i = 0n; i < r.a; i++) this.#tlbi(tid, "ipas2e1is", r.address + i * t.page, level, t);
    } else this.#tlbi(tid, "vmalls12e1is", undefined, level, t);
  }
}
