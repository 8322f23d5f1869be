// CPUs beside an engine: its journal record by record, descriptor writes into a copy of the tables, TLBIs and DSBs to the CPUs'
// TLBs, and accesses of every CPU between any two records.

import { type Engine, JournalKind as J, type JournalRecord, type Stage2Table } from "../../dist/bindings/index.js";
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
} from "../../dist/bindings/mmu/index.js";
import type { Random } from "../support/random.js";

export const BASE = 0x8000_0000n;
const VMID = 5;
export const PAGE = 4096;
export const BLOCK = 2 << 20;
export const BLOCKS = 3;
export const IPA = 0x4000_0000;
export const CPUS = 3;
/** What freed tables are filled with: as a leaf it leads nowhere, as a table out of memory. */
const POISON = 0x6000_0000_0000n;
const POISON_WORD = POISON | 0x7ffn;
export const OLDEST_PA = 0x1_0000_0000;

/** Changes what the CPUs hear. */
export type Mutation = (message: TlbMessage, record: JournalRecord) => TlbMessage[];

/** What the CPUs are. */
export interface CpuOptions {
  adversarial: boolean;
  preset: "tiny" | "neoverse-n1";
  mutation?: Mutation;
}

export class Cpus {
  readonly #random: Random;
  readonly #table: Stage2Table;
  readonly #mmus: Mmu[] = [];
  readonly #tlbs: Tlb[];
  readonly #domain: TlbDomain;
  readonly #words: BigUint64Array;
  readonly #mutation: Mutation | undefined;
  /** Pages that were touched last: they are looked at more often than others. */
  window: number[] = [0];

  constructor(engine: Engine, table: Stage2Table, random: Random, seed: number, options: CpuOptions) {
    const { adversarial, preset, mutation } = options;
    this.#random = random;
    this.#table = table;
    this.#mutation = mutation;
    const registers = stage2Registers(table, VMID);
    const first = createMmu({ image: engine.image(), physBase: BASE, registers });
    this.#mmus.push(first);
    while (this.#mmus.length < CPUS) this.#mmus.push(createMmu({ beside: first, registers }));
    this.#tlbs = this.#mmus.map((mmu, i) => createTlb(mmu, { preset, adversarial, seed: seed * CPUS + i + 1 }));
    this.#domain = new TlbDomain(this.#tlbs);
    const image = first.image();
    this.#words = new BigUint64Array(image.buffer, image.byteOffset, image.length / 8);
  }

  close(): void {
    for (const mmu of this.#mmus) mmu.close();
  }

  get stats(): TlbStats[] {
    return this.#tlbs.map((tlb) => tlb.stats());
  }

  /** A page, often one that was touched last. */
  address(): number {
    const r = this.#random;
    const page = r.oneIn(3)
      ? r.pick(this.window)
      : r.below(BLOCKS) * (BLOCK / PAGE) + (r.oneIn(2) ? r.below(6) : r.below(512));
    return IPA + page * PAGE;
  }

  /** Page of the image at a physical address, as words. */
  #page(address: bigint): BigUint64Array {
    const at = Number(address - BASE) / 8;
    return this.#words.subarray(at, at + PAGE / 8);
  }

  /** What `record` says happens; `cpu` does it. */
  apply(record: JournalRecord, cpu: number): void {
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
  look(settled: boolean): string | undefined {
    const r = this.#random,
      cpu = r.below(CPUS),
      address = this.address() + r.below(PAGE / 8) * 8,
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

  /** Is the copy what the engine has? Tables in use only: freed ones are poisoned. */
  compare(): string | undefined {
    for (const { address, descriptor } of this.#table.entries()) {
      const now = (this.#mmus[0] as Mmu).translate(address);
      if (!now.ok && now.kind !== "permission" && (descriptor & 1n) === 1n)
        return `the copy lacks 0x${address.toString(16)}`;
    }
    return undefined;
  }
}
