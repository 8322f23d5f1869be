// What reverse maps must say [RMAP-9]: every leaf of every table has one entry, in the head of the page that it maps, and there are no
// other entries.

import { expect } from "vitest";
import type { Stage2Table } from "../../bindings/index.js";
import type { Vm } from "../../bindings/vm/index.js";

export const RAM: number = 2 ** 30;
export const MIB: number = 2 ** 20;

interface Leaf {
  /** Page of its descriptor and index in it. */
  slot: string;
  level: number;
  /** Guest address of what it maps. */
  gpa: number;
}

/** How far physical addresses lie above guest addresses. */
export function physBase(vm: Vm): number {
  return vm.table.info().outputBits > 40 ? 2 ** 40 : 0;
}

/** Every leaf of a table, with where its descriptor is. */
export function leavesOf(table: Stage2Table, base: number): Leaf[] {
  const { rootPa, startLevel } = table.info();
  const pageShift = Math.log2(table.granule);
  const bits = pageShift - 3;
  const tables: bigint[] = [];
  const leaves: Leaf[] = [];
  for (const { kind, level, address, pa } of table.entries({ tables: true })) {
    const all = Number(address >> BigInt(pageShift + bits * (3 - level)));
    const index = all % 2 ** bits;
    const root = rootPa + BigInt(Math.floor(all / 2 ** bits) * table.granule);
    const page = level === startLevel ? root : (tables[level - 1] as bigint);
    if (kind === "table") tables[level] = pa;
    else if (kind === "page" || kind === "block") {
      leaves.push({ slot: `${page.toString(16)}[${index}]`, level, gpa: Number(pa) - base });
    }
  }
  return leaves;
}

/** Checks the account of all leaves of the VM's table and of its shadows. How many there are. */
export function expectAccount(vm: Vm, shadows: readonly Stage2Table[] = [], what = ""): number {
  const maps = vm.reverseMaps;
  if (!maps) throw new Error("the VM has no reverse maps");
  maps.reclaim();
  const base = physBase(vm);
  const heads = new Map<string, string[]>();
  for (const { slot, level, gpa } of [vm.table, ...shadows].flatMap((table) => leavesOf(table, base))) {
    const key = `${level} ${gpa}`;
    heads.set(key, [...(heads.get(key) ?? []), slot]);
  }
  let leaves = 0;
  for (const [key, slots] of heads) {
    const [level, gpa] = key.split(" ").map(Number) as [number, number];
    const map = maps.mappings(gpa).find((each) => each.level === level);
    const entries = map?.entries.map(({ page, index }) => `${page.toString(16)}[${index}]`) ?? [];
    expect(entries.sort(), `${what}: level ${level}, ${gpa.toString(16)}`).toEqual(slots.sort());
    leaves += slots.length;
  }
  expect(maps.stats().entries, what).toBe(leaves);
  return leaves;
}
