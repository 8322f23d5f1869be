// A scenario performed on the real engine, and every moment of it: the memory of the tables after each write, and a vCPU with a
// TLB beside it. A moment is made again from the beginning whenever it is asked for.

import { decodeAddress, isTable } from "../../core/descriptor.js";
import { entries, shift } from "../../core/granule.js";
import {
  createEngine,
  type Engine,
  GranuleError,
  JournalKind,
  type JournalRecord,
  type Stage2Table,
} from "../../index.js";
import {
  createMmu,
  createTlb,
  type Mmu,
  stage2Registers,
  type Tlb,
  TlbDomain,
  type TlbEntry,
  type Translation,
  type TranslationFault,
  type WalkExplanation,
} from "../../mmu/index.js";
import { granuleShift } from "../../model/granule.js";
import type { Leaf } from "../../report/leaf-runs.js";
import type { Access, Operation, Scenario } from "./scenario.js";

const ARENA = 8 << 20;
const SCRATCH = 256 << 10;
const PHYS_BASE = 0x1000_0000;
/** Records of one operation, and frames in all. */
const MOST_RECORDS = 1 << 18;
const VMID = 1;

/** One moment: a record of the journal, or an access of the vCPU. */
export type Frame =
  | { readonly kind: "record"; readonly operation: number; readonly record: JournalRecord }
  | { readonly kind: "access"; readonly operation: number; readonly access: Access };

/** What an operation came to: undefined for a plain success. */
export type Outcome = string | undefined;

/** What an access saw through the TLB, and what a walk would see at that moment. */
export interface Seen {
  readonly access: Access;
  readonly seen: Translation | TranslationFault;
  readonly fresh: Translation | TranslationFault;
  /** The TLB answered otherwise than the tables: it holds what they no longer say. */
  readonly stale: boolean;
}

/** The state of everything after so many frames. */
export interface Moment {
  readonly leaves: Leaf[];
  readonly tables: number;
  readonly tlb: TlbEntry[];
  readonly seen: Seen[];
}

/** Performs a scenario and shows its moments. `close` gives the memory back. */
export class Film implements Disposable {
  readonly scenario: Scenario;
  readonly frames: Frame[] = [];
  readonly outcomes: Outcome[] = [];
  readonly #engine: Engine;
  readonly #table: Stage2Table;
  readonly #first: Uint8Array;
  readonly #mmu: Mmu;
  readonly #words: BigUint64Array;
  readonly #bytes: Uint8Array;

  /** Throws GranuleError for a shape that cannot be. */
  constructor(scenario: Scenario) {
    const { granule, ipaBits, lpa2 } = scenario.shape;
    this.scenario = scenario;
    this.#engine = createEngine({ arenaBytes: ARENA, physBase: PHYS_BASE, journalRecords: MOST_RECORDS });
    const { journal } = this.#engine;
    this.#table = this.#engine.createStage2({ granule, ipaBits, lpa2, hardwareAf: false, hardwareDirty: false });
    this.#first = this.#engine.image().slice();
    journal.start();
    scenario.operations.forEach((one, i) => {
      this.outcomes.push(perform(this.#table, one));
      if (journal.total + this.frames.length > MOST_RECORDS) {
        this.#engine.close();
        throw new RangeError("these are too many steps to be shown one by one: take smaller ranges");
      }
      this.#add(i, journal.read());
      journal.clear();
    });
    this.#add(scenario.operations.length, []);
    const memory = new WebAssembly.Memory({
      initial: (ARENA + SCRATCH) >> 16,
      maximum: (ARENA + SCRATCH) >> 16,
      shared: true,
    });
    this.#bytes = new Uint8Array(memory.buffer, 0, ARENA);
    this.#words = new BigUint64Array(memory.buffer, 0, ARENA / 8);
    this.#mmu = createMmu({
      memory,
      bytes: ARENA,
      physBase: PHYS_BASE,
      scratch: { offset: ARENA, bytes: SCRATCH },
      registers: stage2Registers(this.#table, VMID),
    });
  }

  /** The frames of an operation: its records, and the accesses between them. */
  #add(operation: number, records: readonly JournalRecord[]): void {
    const accesses = this.scenario.accesses.filter((access) => access.operation === operation);
    const after = (n: number) =>
      accesses
        .filter(({ record }) => Math.min(record, records.length) === n)
        .map((access): Frame => ({ kind: "access", operation, access }));
    this.frames.push(...after(0));
    records.forEach((record, i) => {
      this.frames.push({ kind: "record", operation, record }, ...after(i + 1));
    });
  }

  /** Where an access would stand that is made after so many frames. */
  placeAt(frames: number): Pick<Access, "operation" | "record"> {
    const last = this.frames[frames - 1];
    if (last === undefined) return { operation: 0, record: 0 };
    const { operation } = last;
    const record = this.frames.slice(0, frames).filter((f) => f.operation === operation && f.kind === "record").length;
    const all = this.frames.filter((f) => f.operation === operation && f.kind === "record").length;
    return record === all && operation < this.scenario.operations.length
      ? { operation: operation + 1, record: 0 }
      : { operation, record };
  }

  /** Everything as it is after the first `n` frames. */
  moment(n: number): Moment {
    this.#bytes.set(this.#first);
    const tlb = createTlb(this.#mmu, { seed: 1 });
    try {
      const domain = new TlbDomain([tlb]);
      const seen = this.frames.slice(0, n).flatMap((frame) => this.#advance(frame, tlb, domain));
      const { leaves, tables } = this.#read();
      return { leaves, tables, tlb: tlb.entries(), seen };
    } finally {
      tlb.close();
    }
  }

  #advance(frame: Frame, tlb: Tlb, domain: TlbDomain): Seen[] {
    if (frame.kind === "access") return [this.#look(frame.access, tlb)];
    const { record } = frame;
    const at = (Number(record.address) - PHYS_BASE) / 8;
    if (record.kind === JournalKind.WRITE || record.kind === JournalKind.WRITE_SHARED) this.#words[at] = record.b;
    else if (record.kind === JournalKind.TABLE_TAKEN) this.#words.fill(0n, at, at + this.#table.granule / 8);
    else domain.follow(record, { table: this.#table, vmid: VMID });
    return [];
  }

  #look(access: Access, tlb: Tlb): Seen {
    const { ipa, kind } = access;
    const seen = tlb.access(BigInt(ipa), kind);
    const fresh = this.#mmu.translate(BigInt(ipa), kind);
    const stale = seen.ok !== fresh.ok || (seen.ok && fresh.ok && seen.pa !== fresh.pa);
    return { access, seen, fresh, stale };
  }

  /** The walk of an address at the moment that was shown last. */
  walk(ipa: number, kind: Access["kind"]): WalkExplanation {
    return this.#mmu.explainWalk(BigInt(ipa), kind);
  }

  /** The leaves in memory, and how many table pages are linked. */
  #read(): { leaves: Leaf[]; tables: number } {
    const { startLevel, rootPages, rootPa } = this.#table.info();
    const { granule, lpa2 } = this.scenario.shape;
    const ps = granuleShift(granule);
    const leaves: Leaf[] = [];
    let tables = rootPages;
    const read = (pa: number, level: number, from: bigint, n: number): void => {
      const first = (pa - PHYS_BASE) / 8;
      for (let i = 0; i < n; i++) {
        const descriptor = this.#words[first + i] ?? 0n;
        if ((descriptor & 1n) === 0n) continue;
        const address = from + (BigInt(i) << BigInt(shift(ps, level)));
        if (isTable(descriptor, level)) {
          tables++;
          read(Number(decodeAddress(ps, lpa2, descriptor)), level + 1, address, entries(ps));
        } else leaves.push({ address, level, descriptor });
      }
    };
    read(Number(rootPa), startLevel, 0n, rootPages * entries(ps));
    return { leaves, tables };
  }

  /** The engine's own table, after all operations. */
  get table(): Stage2Table {
    return this.#table;
  }

  close(): void {
    this.#mmu.close();
    this.#engine.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Performs an operation; what it was refused for, in words. */
function perform(table: Stage2Table, one: Operation): Outcome {
  try {
    switch (one.op) {
      case "map":
        return table.map(one.ipa, one.size, one.pa, one.prot) === "again" ? "to be tried again" : undefined;
      case "unmap":
        table.unmap(one.ipa, one.size);
        return undefined;
      case "wrprotect":
        table.wrprotect(one.ipa, one.size);
        return undefined;
      case "split":
        table.split(one.ipa, one.size);
        return undefined;
      case "age":
        return table.testClearYoung(one.ipa, one.size) ? "something was accessed" : "nothing was accessed";
      case "relax":
        return table.relaxPerms(one.ipa, one.prot) === "again" ? "nothing is mapped there" : undefined;
    }
  } catch (error) {
    if (error instanceof GranuleError) return error.message;
    throw error;
  }
}
