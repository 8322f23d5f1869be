// What two threads do to one entry at once: every window is forced with the debug build, and then with real threads [HWM-41].

import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { createTlb, type Mmu, type Tlb } from "../../bindings/mmu/index.js";
import { runs } from "../support/random.js";
import { debugMmu } from "./debug.js";
import * as W from "./world.js";
import { World } from "./world.js";

const VA = 0x4000_0000n;
const IPA = 0x8000_0000n;
const PA = 0x9_0000_0000n;
const PAGE = 0x1000n;
const PAGES = 16n;
const CONTIGUOUS = 1n << 52n;
const SUSPECT = 2n;
const VMALLE1IS = K.TLBI_STAGE1 | (1 << K.TLBI_DOMAIN_LOW);
const QUIET = { early: 0, drop: 0, prefetch: 0 };

/** Pages of a guest. With stage 1's level 2 as a block in place of their table, all of 2 MiB. */
function pages(leaf = 0n, n = PAGES): World {
  const made = new World();
  for (let i = 0n; i < n; i++) made.map1(VA + i * PAGE, IPA + i * PAGE, W.S1_LEAF | leaf);
  made.map2(IPA, PA, W.S2_LEAF, 2);
  return made;
}

function view(mmu: Mmu): BigUint64Array {
  return new BigUint64Array(mmu.memory.buffer);
}

/** Index of the word at a physical address in `view`. */
function indexOf(mmu: Mmu, pa: bigint): number {
  return (mmu.space.pointer + Number(pa - W.BASE)) / 8;
}

function accessAll(tlb: Tlb): void {
  for (let i = 0n; i < PAGES; i++) expect(tlb.access(VA + i * PAGE).ok).toBe(true);
}

/** The table becomes a block without a break, and no walk cache knows the table. */
function makeBlock(made: World, mmu: Mmu, tlb: Tlb): void {
  view(mmu)[indexOf(mmu, World.physical(made.entry1(VA, 2)))] = IPA | W.S1_LEAF | 1n;
  tlb.invalidate("VAAE1", (VA + 0x10_0000n) >> 12n);
  tlb.dsb();
}

describe("an invalidation beside the thread whose entries it takes", () => {
  it("takes an entry that is marked between its look and its exchange", () => {
    using mmu = pages().mmu();
    using tlb = createTlb(mmu);
    accessAll(tlb);
    const words = view(mmu);
    const debug = debugMmu(mmu.memory);
    let marked = 0;
    debug.onPoint = (kind, pointer) => {
      const tag = words[pointer / 8] as bigint;
      if (kind !== K.POINT_EXCHANGE || (tag & (SUSPECT | 1n)) !== 1n) return;
      words[pointer / 8] = tag | SUSPECT;
      marked++;
    };
    const before = tlb.stats();
    expect(debug.mmuTlbi(tlb.pointer, 1, VMALLE1IS, 0, 0, 0)).toBe(0);
    expect(marked).toBeGreaterThanOrEqual(Number(PAGES));
    expect(tlb.entries().filter(({ kind }) => kind === "leaf" || kind === "table1")).toEqual([]);
    expect(tlb.stats().flushedEntries - before.flushedEntries).toBe(marked);
  });

  it("finds that its owner has put another entry there, and takes that too", () => {
    using mmu = pages().mmu();
    using tlb = createTlb(mmu);
    tlb.access(VA);
    const words = view(mmu);
    const debug = debugMmu(mmu.memory);
    let replaced = 0;
    debug.onPoint = (kind, pointer) => {
      const tag = words[pointer / 8] as bigint;
      if (kind !== K.POINT_EXCHANGE || tag === 0n || replaced > 0) return;
      words[pointer / 8] = tag ^ (1n << 16n); // another ASID
      replaced++;
    };
    debug.mmuTlbi(tlb.pointer, 1, VMALLE1IS, 0, 0, 0);
    expect(replaced).toBe(1);
    expect(tlb.entries().filter(({ kind }) => kind !== "stage2" && kind !== "table2")).toEqual([]);
  });

  it("loses no mark of the owner when it takes a page out of a run meanwhile [HWM-35, HWM-37]", () => {
    const made = pages(CONTIGUOUS);
    using mmu = made.mmu();
    using tlb = createTlb(mmu, { adversarial: true, whims: QUIET, shape: { data: { entries: 64 } } });
    tlb.access(VA);
    makeBlock(made, mmu, tlb);
    const words = view(mmu);
    const debug = debugMmu(mmu.memory);
    let taken = 0;
    debug.onPoint = (kind, pointer) => {
      const [tag = 0n, base = 0n, mask = 0n] = words.subarray(pointer / 8, pointer / 8 + 3);
      const isRun = base === VA && BigInt.asUintN(64, ~mask) === 0xffffn;
      if (kind !== K.POINT_EXCHANGE || !isRun || (tag & (SUSPECT | 1n)) !== 1n || taken > 0) return;
      words[pointer / 8] = tag | (1n << 51n); // another thread's TLBI of page 3
      taken++;
    };
    const block = VA + 0x10_0000n;
    expect(debug.mmuAccess(mmu.context, tlb.pointer, Number(block & 0xffff_ffffn), 0, 0, mmu.out)).toBe(0);
    expect(taken).toBe(1);
    expect(tlb.access(VA)).toMatchObject({ ok: false, kind: "conflict" });
    expect(tlb.access(VA + 3n * PAGE)).toMatchObject({ ok: true });
  });

  it("that comes and goes while an access fills leaves nothing of that fill, whenever it comes [HWM-41]", () => {
    const left: string[] = [];
    // At the first point the access has not begun: what it fills is younger than the invalidation.
    for (let nth = 2; ; nth++) {
      using mmu = pages().mmu();
      using tlb = createTlb(mmu);
      const debug = debugMmu(mmu.memory);
      let met = 0;
      debug.onPoint = () => {
        if (++met === nth) expect(mmu.core.mmuTlbi(tlb.pointer, 1, VMALLE1IS, 0, 0, 0)).toBe(0);
      };
      expect(debug.mmuAccess(mmu.context, tlb.pointer, Number(VA), 0, 0, mmu.out)).toBe(0);
      if (met < nth) break; // every point of the access has had its turn
      const stale = tlb.entries().filter(({ kind }) => kind === "leaf" || kind === "table1");
      if (stale.length > 0) left.push(`point ${nth}: ${stale.map(({ kind }) => kind).join()}`);
      expect(nth).toBeLessThan(1000);
    }
    expect(left).toEqual([]);
  });

  it("leaves no entry, with real threads", async () => {
    const many = 256n; // marking so many takes a while
    const made = pages(0n, many);
    using mmu = made.mmu();
    using tlb = createTlb(mmu, { shape: { data: { entries: 512 }, walk: { entries: 8 } } });
    const words = view(mmu);
    const level2 = indexOf(mmu, World.physical(made.entry1(VA, 2)));
    const table = words[level2] as bigint;
    const rounds = runs(1000);
    const state = mmu.space.take(64);
    const turns = new Int32Array(mmu.memory.buffer, state, 2);
    const workerData = {
      memory: mmu.memory,
      module: mmu.module,
      tlb: tlb.pointer,
      state,
      rounds,
      form: VMALLE1IS,
    };
    const worker = new Worker(new URL("race.mjs", import.meta.url), { workerData });
    using columns = mmu.createColumns(Number(many));
    columns.addresses.set(Array.from({ length: Number(many) }, (_, i) => VA + BigInt(i) * PAGE));
    const survivors: number[] = [];
    for (let round = 1; round < 2 * rounds; round += 2) {
      words[level2] = table;
      tlb.invalidate("VMALLE1");
      tlb.accessMany(columns, Number(many));
      makeBlock(made, mmu, tlb);
      Atomics.store(turns, 0, round);
      Atomics.notify(turns, 0);
      tlb.access(VA + 0x10_0000n); // fills the block, and marks the pages
      for (let i = 0; Atomics.load(turns, 0) !== round + 1; i++) if (i > 10_000) Atomics.wait(turns, 0, round, 1);
      if (tlb.stats().banks.data?.valid !== 0 && tlb.entries().some(({ size }) => size === PAGE)) survivors.push(round);
    }
    await worker.terminate();
    expect(survivors).toEqual([]);
  });
});
