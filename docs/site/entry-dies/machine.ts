// A small machine on which an entry dies one step at a time. Everything in it is the library: an engine that performs the real
// operation with its journal on, a second one whose tables a CPU's MMU and TLB use, and a judge. Each record of the journal is
// one step: it is performed on the second engine's memory or on the TLB, and the judge sees it.

import { createEngine, type Engine, JournalKind, type JournalRecord, type Stage2Table } from "granule";
import { createJudge, type Judge, type Violation } from "granule/audit";
import { createMmu, createTlb, type Mmu, stage2Registers, type Tlb, TlbDomain, type TlbEntry } from "granule/mmu";

/** The guest's page, and where it lies before and after. */
export const PAGE = 0x4000_1000n;
export const OLD_PA = 0x8000_1000n;
export const NEW_PA = 0x9000_1000n;
const PAGE_BYTES = 4096;
const VMID = 1;

/** What a step does, for a reader. */
export type StepKind = "break" | "dsb-stores" | "tlbi-ipa" | "dsb" | "tlbi-stage1" | "isb" | "cache" | "make";

/** One record of the journal, in words. */
export interface Step {
  readonly kind: StepKind;
  /** As an assembler would write it, or the write itself. */
  readonly instruction: string;
  readonly record: JournalRecord;
}

/** What a read of the guest gave. */
export interface Read {
  /** The physical address, or undefined for a fault. */
  readonly pa: bigint | undefined;
  /** Did the TLB answer, without a look at the table? */
  readonly hit: boolean;
  /** Is this the page's old place, although the entry does not say so any more? */
  readonly stale: boolean;
}

const hex = (value: bigint) => `0x${value.toString(16)}`;

function instructionOf({ kind, address, a, b }: JournalRecord): [StepKind, string] | undefined {
  const J = JournalKind;
  if (kind === J.WRITE) return [b & 1n ? "make" : "break", `str ${hex(b)}, [${hex(address)}]`];
  if (kind === J.DSB) return a === 0n ? ["dsb-stores", "dsb ishst"] : ["dsb", "dsb ish"];
  if (kind === J.TLBI_IPA) return ["tlbi-ipa", `tlbi ipas2e1is, ${hex(address)}`];
  if (kind === J.TLBI_STAGE1) return ["tlbi-stage1", "tlbi vmalle1is"];
  if (kind === J.ISB) return ["isb", "isb"];
  if (kind === J.DCACHE) return ["cache", "dc civac, each line of the page"];
  return undefined;
}

/** An engine with one page mapped; two of them are alike to the last address. */
function engineWithPage(): { engine: Engine; table: Stage2Table } {
  const engine = createEngine({ arenaBytes: 1 << 20, maxTables: 1, journalRecords: 128 });
  engine.journal.start();
  const table = engine.createStage2({ ipaBits: 40 });
  table.map(PAGE, PAGE_BYTES, OLD_PA, "rw");
  return { engine, table };
}

/** A journal record as the judge takes it: twelve words, as they lie in an engine's ring. */
function words({ kind, level, table, walker, address, a, b, sequence }: JournalRecord): Uint32Array {
  const view = new DataView(new ArrayBuffer(48));
  for (const [i, word] of [kind, level, table, walker].entries()) view.setUint32(i * 4, word, true);
  for (const [i, word] of [address, a, b, sequence].entries()) view.setBigUint64(16 + i * 8, word, true);
  return new Uint32Array(view.buffer);
}

/** The page moves from `OLD_PA` to `NEW_PA`, as for copy-on-write or page migration, while the guest reads it. */
export class Machine {
  /** The steps of the operation, in order. */
  readonly steps: readonly Step[];
  /** How many of them are behind us. */
  done = 0;
  /** Steps that were left out. */
  readonly skipped: Set<number> = new Set();
  /** What the judge has objected to. */
  violations: readonly Violation[] = [];
  readonly #engine: Engine;
  readonly #table: Stage2Table;
  readonly #mmu: Mmu;
  readonly #tlb: Tlb;
  readonly #domain: TlbDomain;
  readonly #judge: Judge;

  constructor() {
    const plan = engineWithPage();
    const before = plan.engine.journal.read();
    plan.engine.journal.clear();
    plan.table.map(PAGE, PAGE_BYTES, NEW_PA, "rw");
    this.steps = plan.engine.journal.read().flatMap((record) => {
      const known = instructionOf(record);
      return known === undefined ? [] : [{ kind: known[0], instruction: known[1], record }];
    });
    plan.engine.close();
    const { engine, table } = engineWithPage();
    this.#engine = engine;
    this.#table = table;
    this.#mmu = createMmu({ engine, registers: stage2Registers(table, VMID) });
    // It keeps what it may keep: a TLBI takes effect at its DSB and not before.
    this.#tlb = createTlb(this.#mmu, { preset: "tiny", adversarial: true, whims: { early: 0, drop: 0, prefetch: 0 } });
    this.#domain = new TlbDomain([this.#tlb]);
    this.#judge = createJudge();
    for (const record of before) this.#judge.feed(words(record));
  }

  /** Is every step behind us? */
  get finished(): boolean {
    return this.done === this.steps.length;
  }

  /** Performs the next step, or leaves it out. */
  next(skip = false): Step | undefined {
    const step = this.steps[this.done];
    if (step === undefined) return undefined;
    if (skip) this.skipped.add(this.done);
    else this.#perform(step.record);
    this.done++;
    this.violations = this.finished ? this.#judge.finish().violations : this.#judge.violations();
    return step;
  }

  #perform(record: JournalRecord): void {
    const { memory, arenaPointer, physBase } = this.#engine;
    if (record.kind === JournalKind.WRITE) {
      const at = arenaPointer + Number(record.address - physBase);
      new DataView(memory.buffer).setBigUint64(at, record.b, true);
    } else {
      this.#domain.follow(record, { table: this.#table, vmid: VMID });
    }
    this.#judge.feed(words(record));
  }

  /** The guest reads its page. */
  read(): Read {
    const hits = this.#tlb.stats().rdHits;
    const answer = this.#tlb.access(PAGE, "r");
    const pa = answer.ok ? answer.pa : undefined;
    return {
      pa,
      hit: this.#tlb.stats().rdHits > hits,
      stale: pa === OLD_PA && this.descriptor !== this.steps[0]?.record.a,
    };
  }

  /** The entry of the page, as it is in memory. */
  get descriptor(): bigint {
    return this.#table.leaf(PAGE).descriptor;
  }

  /** What the TLB holds of the page. */
  entries(): TlbEntry[] {
    return this.#tlb.entries().filter(({ kind }) => kind === "leaf" || kind === "stage2");
  }

  /** TLBIs that wait for their DSB. */
  get pending(): number {
    return this.#tlb.stats().pending;
  }

  close(): void {
    this.#tlb.close();
    this.#mmu.close();
    this.#engine.close();
  }
}
