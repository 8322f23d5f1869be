// Engine operations as other CPUs see them: the journal's records one by one, descriptor writes into a copy of the tables,
// TLBIs and DSBs to the CPUs' TLBs, and accesses of every CPU between any two of them.

import {
  createEngine,
  type Engine,
  JournalKind as J,
  type JournalRecord,
  type Stage2Table,
} from "../../bindings/index.js";
import {
  createMmu,
  createTlb,
  type Mmu,
  stage2Registers,
  type Tlb,
  TlbDomain,
  type TlbMessage,
  type TlbStats,
  tlbMessages,
} from "../../bindings/mmu/index.js";
import type { Random } from "../support/random.js";

const ARENA = 2 << 20;
const BASE = 0x8000_0000n;
const VMID = 5;
const PAGE = 4096;
const BLOCK = 2 << 20;
const BLOCKS = 3;
const IPA = 0x4000_0000;
const CPUS = 3;
/** What freed tables are filled with: as a leaf it leads nowhere, as a table out of memory. */
const POISON = 0x6000_0000_0000n;
const POISON_WORD = POISON | 0x7ffn;
const OLDEST_PA = 0x1_0000_0000;

/** Changes what the CPUs hear. */
export type Mutation = (message: TlbMessage, record: JournalRecord) => TlbMessage[];

/** How a run is made. */
export interface StreamOptions {
  adversarial: boolean;
  preset: "tiny" | "neoverse-n1";
  mutation?: Mutation;
  operations?: number;
}

export class Stream {
  readonly #random: Random;
  readonly #engine: Engine;
  readonly #table: Stage2Table;
  readonly #mmus: Mmu[] = [];
  readonly #tlbs: Tlb[];
  readonly #domain: TlbDomain;
  readonly #words: BigUint64Array;
  readonly #mutation: Mutation | undefined;
  #window: number[] = [];

  constructor(random: Random, seed: number, { adversarial, preset, mutation }: StreamOptions) {
    this.#random = random;
    this.#mutation = mutation;
    this.#engine = createEngine({ arenaBytes: ARENA, physBase: BASE, journalRecords: 1 << 15 });
    const tlbiRange = random.oneIn(2);
    this.#table = this.#engine.createStage2({ ipaBits: 39, tlbiRange, fwb: random.oneIn(2) });
    const first = createMmu({
      image: this.#engine.image(),
      physBase: BASE,
      registers: stage2Registers(this.#table, VMID),
    });
    this.#mmus.push(first);
    while (this.#mmus.length < CPUS)
      this.#mmus.push(createMmu({ beside: first, registers: stage2Registers(this.#table, VMID) }));
    this.#tlbs = this.#mmus.map((mmu, i) => createTlb(mmu, { preset, adversarial, seed: seed * CPUS + i + 1 }));
    this.#domain = new TlbDomain(this.#tlbs);
    const image = first.image();
    this.#words = new BigUint64Array(image.buffer, image.byteOffset, ARENA / 8);
    this.#engine.journal.start();
  }

  close(): void {
    for (const mmu of this.#mmus) mmu.close();
    this.#engine.close();
  }

  get stats(): TlbStats[] {
    return this.#tlbs.map((tlb) => tlb.stats());
  }

  #address(): number {
    const r = this.#random;
    const page = r.oneIn(3)
      ? r.pick(this.#window)
      : r.below(BLOCKS) * (BLOCK / PAGE) + (r.oneIn(2) ? r.below(6) : r.below(512));
    return IPA + page * PAGE;
  }

  /** One random operation; what it touches is looked at more often than the rest. */
  #operate(): void {
    const r = this.#random,
      t = this.#table;
    const whole = r.oneIn(3);
    const address = whole ? IPA + r.below(BLOCKS) * BLOCK : this.#address();
    const size = whole ? BLOCK : PAGE * (1 + r.below(4));
    this.#window = Array.from({ length: 8 }, () => Math.floor((address - IPA + r.below(size / PAGE) * PAGE) / PAGE));
    const cache = this.#engine.createCache();
    cache.topUp(8);
    switch (r.below(9)) {
      case 0:
      case 1:
      case 2:
        t.map(address, size, OLDEST_PA + r.below(64) * BLOCK + (address % BLOCK), r.pick(["r", "rw", "rwx"]));
        break;
      case 3:
      case 4:
        t.unmap(address, size);
        break;
      case 5:
        t.wrprotect(address, size);
        t.flushTlbRange(address, size);
        break;
      case 6:
        t.relaxPerms(address, r.pick(["w", "x", "rw"]));
        break;
      case 7:
        if (whole) t.split(address, size, cache);
        else t.mkyoung(address);
        break;
      default:
        t.map(IPA + r.below(BLOCKS) * BLOCK, BLOCK, OLDEST_PA + r.below(64) * BLOCK, "rw");
    }
    cache.close();
  }

  /** Page of the image at a physical address, as words. */
  #page(address: bigint): BigUint64Array {
    const at = Number(address - BASE) / 8;
    return this.#words.subarray(at, at + PAGE / 8);
  }

  #apply(record: JournalRecord, cpu: number): void {
    const { kind, address, b } = record;
    if (kind === J.WRITE || kind === J.WRITE_SHARED) this.#words[Number(address - BASE) / 8] = b;
    else if (kind === J.TABLE_TAKEN) this.#page(address).fill(0n);
    else if (kind === J.TABLE_FREED) this.#page(address).fill(POISON_WORD);
    for (const message of tlbMessages(record, this.#table)) {
      const heard = this.#mutation ? this.#mutation(message, record) : [message];
      for (const one of heard) this.#domain.send(one, { cpu, vmid: VMID });
    }
  }

  /** An access of any CPU; what is wrong with it. `settled`: between operations, when nothing removed may be used. */
  #look(settled: boolean): string | undefined {
    const r = this.#random,
      cpu = r.below(CPUS),
      address = this.#address() + r.below(PAGE / 8) * 8,
      kind = r.pick(["r", "r", "w", "x"] as const);
    const tlb = this.#tlbs[cpu] as Tlb;
    const seen = tlb.access(address, kind);
    const where = `CPU ${cpu} ${kind} 0x${address.toString(16)}`;
    if (seen.ok ? seen.pa >= POISON : seen.kind === "external-walk") return `${where}: walked freed memory`;
    if (!seen.ok && seen.kind === "conflict") return `${where}: entries of two sizes`;
    if (!settled) return undefined;
    const now = (this.#mmus[cpu] as Mmu).translate(address, kind);
    if (seen.ok && !now.ok) return `${where}: used ${seen.pa.toString(16)}, which is ${now.kind} now`;
    if (seen.ok && now.ok && seen.pa !== now.pa)
      return `${where}: ${seen.pa.toString(16)} is ${now.pa.toString(16)} now`;
    if (!seen.ok && now.ok && seen.kind !== "permission") return `${where}: ${seen.kind} where there is a translation`;
    return undefined;
  }

  /** Operations until one shows a violation, or `n`. */
  run(n: number): string | undefined {
    const r = this.#random;
    this.#window = [0];
    for (let i = 0; i < n; i++) {
      this.#operate();
      const { journal } = this.#engine;
      if (journal.lost > 0) throw new Error("the journal is too small");
      const records = journal.read();
      journal.clear();
      const cpu = r.below(CPUS);
      for (const record of records) {
        this.#apply(record, cpu);
        if (r.oneIn(1 + Math.floor(records.length / 30))) {
          const wrong = this.#look(false);
          if (wrong) return `operation ${i}, in it: ${wrong}`;
        }
      }
      for (let k = 0; k < 30; k++) {
        const wrong = this.#look(true);
        if (wrong) return `operation ${i}, after it: ${wrong}`;
      }
    }
    return this.#compare();
  }

  /** Is the copy what the engine has? Tables in use only: freed ones are poisoned. */
  #compare(): string | undefined {
    for (const { address, descriptor } of this.#table.entries()) {
      const at = address;
      const now = (this.#mmus[0] as Mmu).translate(at);
      if (!now.ok && now.kind !== "permission" && (descriptor & 1n) === 1n)
        return `the copy lacks 0x${at.toString(16)}`;
    }
    return undefined;
  }
}
