// Whatever happens to a VM: each leaf of each table has exactly one entry in the reverse maps, and each entry has its leaf [RMAP-9].
// And when a slot has gone, no TLB knows anything of it, however long TLBs keep what they may.

import { describe, expect, it } from "vitest";
import { createVm, type Shadow, type Vm, type VmOptions } from "../../bindings/vm/index.js";
import { Random, runs, SEED } from "../support/random.js";
import { expectReferences } from "../support/tables.js";
import { broken, itFlawed } from "./flawed.js";
import { expectAccount, MIB, RAM } from "./rmap-support.js";

const BLOCKS = { 4096: 2 * MIB, 16384: 32 * MIB, 65536: 512 * MIB } as const;
const ALIAS = 4 * RAM;

/** A VM whose memory goes through everything, in an order that a seed chooses. */
class Life {
  readonly vm: Vm;
  readonly shadows: Shadow[] = [];
  readonly #random: Random;
  readonly #block: number;
  readonly #slots = new Map<number, number>();
  #logging = false;

  constructor(seed: number, options: VmOptions) {
    this.#random = new Random(seed);
    this.vm = createVm({
      reverseMaps: true,
      cpus: 2,
      adversarial: true,
      tlb: "tiny",
      seed,
      arenaBytes: 64 * MIB,
      ...options,
    });
    this.#block = BLOCKS[this.vm.table.granule];
    this.addSlot();
  }

  get #size(): number {
    return this.vm.table.granule === 65536 ? this.#block : 2 * this.#block;
  }

  addSlot(): void {
    const n = this.#slots.size === 0 ? 0 : 1;
    if (this.#slots.has(n)) return;
    const backing = this.#random.pick(["4k", "thp"] as const);
    const gpa = RAM * (1 + n);
    this.vm.addSlot({ slot: n, gpa, size: this.#size, backing, filled: this.#random.oneIn(2) });
    this.#slots.set(n, gpa);
    this.vm.reverseMaps?.addAlias({ gpa: gpa + ALIAS, of: gpa, size: this.#size });
  }

  removeSlot(): void {
    const [n] = this.#random.pick([...this.#slots]);
    this.vm.removeSlot(n);
    this.#slots.delete(n);
    if (n === 0) this.#logging = false;
    if (this.#slots.size === 0) this.addSlot();
  }

  /** A part of a slot. */
  #part(): { gpa: number; size: number } {
    const page = this.vm.table.granule;
    const first = this.#random.below(this.#size / page);
    const gpa = this.#random.pick([...this.#slots.values()]) + first * page;
    const most = Math.min(this.#size / page - first, 40);
    return { gpa, size: (1 + this.#random.below(most)) * page };
  }

  access(): void {
    const gpa = this.#random.pick([...this.#slots.values()]) + (this.#random.oneIn(2) ? ALIAS : 0);
    this.vm.run(50, { gpa, size: this.#size, writes: 0.4, fetches: 0.1 });
  }

  changeHost(): void {
    const { gpa, size } = this.#part();
    const what = this.#random.pick(["discard", "share", "collapse"] as const);
    if (what === "collapse") this.vm.changeHost(what, gpa - (gpa % this.#block), this.#block);
    else this.vm.changeHost(what, gpa, size);
  }

  log(): void {
    if (!this.#slots.has(0)) return;
    if (!this.#logging) this.vm.setDirtyPolicy({ eagerSplit: this.#random.oneIn(2) ? this.#block : 0 });
    this.#logging = !this.#logging;
    this.vm.logDirty(0, this.#logging);
  }

  readLog(): void {
    if (this.#logging) this.vm.dirtyLog(0);
  }

  age(): void {
    const { gpa, size } = this.#part();
    this.vm.age(gpa, size);
  }

  mapShadow(): void {
    const maps = this.vm.reverseMaps;
    if (this.shadows.length === 0 && maps) this.shadows.push(maps.addShadow());
    const { gpa, size } = this.#part();
    const ipa = this.#random.below(4) * this.#block + (gpa % this.#block);
    this.shadows[0]?.map({ ipa, gpa, size, write: this.#random.oneIn(2) });
  }

  unmapShadow(): void {
    this.shadows[0]?.unmap(this.#random.below(4) * this.#block, this.#block / 4);
  }

  closeShadow(): void {
    if (this.#random.oneIn(3)) this.shadows.pop()?.close();
  }

  step(): string {
    const steps = [
      "access",
      "access",
      "access",
      "changeHost",
      "log",
      "readLog",
      "age",
      "mapShadow",
      "unmapShadow",
    ] as const;
    const rare = ["closeShadow", "addSlot", "removeSlot"] as const;
    const what = this.#random.oneIn(5) ? this.#random.pick(rare) : this.#random.pick(steps);
    this[what]();
    return what;
  }
}

/** Lives a life of 120 steps, and looks at the account every few of them. */
function live(seed: number, options: VmOptions): void {
  const life = new Life(seed, options);
  const done: string[] = [];
  for (let i = 0; i < 120; i++) {
    done.push(life.step());
    if (i % 6 !== 5) continue;
    const what = `GRANULE_SEED=${seed}, after ${done.slice(-8).join()}`;
    expectAccount(
      life.vm,
      life.shadows.map(({ table }) => table),
      what,
    );
  }
  for (const { table } of [life.vm, ...life.shadows]) expectReferences(table);
  expect(
    life.vm.stats().map(({ stuck }) => stuck),
    `GRANULE_SEED=${seed}`,
  ).toEqual([0, 0]);
  life.vm.close();
}

describe("each leaf has one entry, and each entry its leaf", () => {
  const scenes = [4096, 16384, 65536].flatMap((granule) => [1, 2].map((walkers) => [granule, walkers] as const));
  it.each(scenes)("%i-byte pages, walkers: %i [RMAP-9, PROP-11]", { timeout: 240_000 }, (granule, walkers) => {
    for (let seed = SEED; seed < SEED + runs(6); seed++) live(seed, { granule: granule as 4096, walkers });
  });

  itFlawed.each([
    [
      "an entry stays when its leaf is removed",
      "table/bbm.ts",
      "  if (ACCOUNTS) leafGone(w.table, p, old, level);\n  return",
    ],
    [
      "an entry stays when its leaf is replaced",
      "table/bbm.ts",
      "    if (ACCOUNTS) leafGone(w.table, p, old, level);\n    if",
    ],
    ["a leaf gets no entry", "table/bbm.ts", "    if (ACCOUNTS) leafMade(w.table, p, next, level);\n  }"],
    ["a teardown forgets its leaves", "table/teardown.ts", "if (clear(w, p, old, level) === 0) return OK;"],
  ])("and it is noticed when %s", { timeout: 240_000 }, async (_, file, line) => {
    const [last = ""] = /(?<=\n).*$/.exec(line) ?? [];
    const module = await broken(file, line, last);
    expect(() => {
      for (let seed = SEED; seed < SEED + 6; seed++) live(seed, { module });
    }).toThrow();
  });
});

/** Pages of a slot and its alias that a TLB still knows when the slot has gone, and other things that are wrong then. */
function staleAfter(seed: number, options: VmOptions): number {
  using vm = createVm({ reverseMaps: true, cpus: 2, adversarial: true, seed, arenaBytes: 64 * MIB, ...options });
  const { granule } = vm.table;
  const size = BLOCKS[granule];
  const ram = vm.addSlot({ gpa: RAM, size, backing: seed % 2 ? "thp" : "4k", filled: true });
  vm.addSlot({ slot: 7, gpa: 3 * RAM, size, backing: "4k", filled: true });
  vm.reverseMaps?.addAlias({ gpa: 2 * RAM, of: RAM, size });
  const places = [RAM, 2 * RAM, 3 * RAM];
  for (const gpa of places) vm.run(200, { gpa, size, writes: 0.5 });
  const known = (gpa: number) => {
    let n = 0;
    for (let at = gpa; at < gpa + size; at += granule) for (const tlb of vm.tlbs) if (tlb.lookup(at) >= 0) n++;
    return n;
  };
  expect(
    places.map((gpa) => known(gpa) > 0),
    `seed ${seed}`,
  ).toEqual([true, true, true]);
  vm.removeSlot(ram);
  const stale = known(RAM) + known(2 * RAM);
  expect(known(3 * RAM), `seed ${seed}`).toBeGreaterThan(0);
  const before = vm.stats().map(({ exits }) => exits);
  if (stale === 0) for (const gpa of [RAM, 2 * RAM]) vm.run(10, { gpa, size });
  if (stale === 0) expect(vm.stats().map(({ exits }, i) => exits - (before[i] as number))).toEqual([20, 20]);
  return stale;
}

describe("when a slot has gone", () => {
  it.each([4096, 16384, 65536] as const)(
    "no TLB has a translation of it, of %i-byte pages [INV-4, NOT-34]",
    (granule) => {
      for (let seed = SEED; seed < SEED + runs(10); seed++)
        expect(staleAfter(seed, { granule }), `seed ${seed}`).toBe(0);
    },
  );

  itFlawed("the flush of its last batch is what sees to it", { timeout: 240_000 }, async () => {
    const module = await broken("vm/rmap/unmapper.ts", "  flushTables(r);\n  r.batch = 0;", "  r.batch = 0;");
    expect(staleAfter(SEED, { module })).toBeGreaterThan(0);
  });
});
