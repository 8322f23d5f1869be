// What a caller may pass where: compiled against the package by types.test.ts, and never run. A line below an
// `@ts-expect-error` has to be an error; everything else has to compile.

import {
  createEngine,
  type Entry,
  type HypTable,
  type Ipa,
  ipa,
  joinEngine,
  type Like,
  type MmOps,
  type Pa,
  pa,
  type Stage2Table,
  type Table,
  tlbiOperations,
  type Va,
  va,
} from "granule";
import { createMmu, createTlb, rowAddress, stage2Registers } from "granule/mmu";

const engine = createEngine();
const table: Stage2Table = engine.createStage2();
const hyp: HypTable = engine.createHyp();
const guest = ipa(0x4000_0000);
const host = pa(0x8000_0000);
const linear = va(0x1000);

// Plain numbers and bigints are addresses of any space, and so is what is computed from branded ones.
table.map(0x4000_0000, 4096, 0x8000_0000, "rw");
table.map(0x4000_0000n, 4096n, 0x8000_0000n, "rw");
table.map(guest, 4096, host, "rw");
table.map(guest + 4096n, 1n << 21n, host + 4096n, "rw");
table.map(guest & ~0xfffn, 4096, BigInt.asUintN(48, host), "rw");
hyp.map(linear, 4096, host, "rw");
for (let at = 0n; at < 0x10000n; at += 4096n) table.map(at, 4096, at, "r");

// A wrong space does not compile.
// @ts-expect-error a Pa is no Ipa
table.map(host, 4096, host, "rw");
// @ts-expect-error an Ipa is no Pa
table.map(guest, 4096, guest, "rw");
// @ts-expect-error an address is no size
table.map(guest, host, 4096, "rw");
// @ts-expect-error a Va is no Ipa
table.unmap(linear, 4096);
// @ts-expect-error an Ipa is no Va
hyp.map(guest, 4096, host, "rw");
// @ts-expect-error a Va is no Pa
hyp.map(linear, 4096, linear, "rw");
// @ts-expect-error a Pa is no Va
hyp.unmap(host, 4096);
// @ts-expect-error
table.wrprotect(host, 4096);
// @ts-expect-error
table.mkyoung(host);
// @ts-expect-error
table.relaxPerms(host, "w");
// @ts-expect-error
table.testClearYoung(host, 4096);
// @ts-expect-error
table.flush(host, 4096);
// @ts-expect-error
table.split(host, 1 << 21);
// @ts-expect-error
table.flushTlbRange(host, 4096);
// @ts-expect-error
table.destroyRange(host, 4096);
// @ts-expect-error
table.setOwner(host, 4096, 1);
// @ts-expect-error
table.annotate(host, 4096, 2, 0n);
// @ts-expect-error
table.createUnlinked(guest, 2, "r");
// @ts-expect-error
table.poke(host, 0n);
// @ts-expect-error
table.countLeaves(host);
// @ts-expect-error
table.walk(host, 4096, () => {});
// @ts-expect-error
table.setForcePte({ below: host });
// @ts-expect-error
createEngine({ physBase: guest });
// @ts-expect-error
tlbiOperations(engine, { address: host, pages: 1 });

// Results say what they are.
const leaf = table.leaf(guest);
const leafAddress: Ipa = leaf.address;
const leafPa: Pa = leaf.pa;
const hypLeaf: Entry<Va> = hyp.leaf(linear);
table.leaf(leaf.address);
hyp.leaf(hypLeaf.address);
const rootPa: Pa = table.info().rootPa;
const base: Pa = engine.physBase;
// @ts-expect-error
const notAnIpa: Ipa = leaf.pa;
// @ts-expect-error a plain bigint is not known to be a Pa
const notAPa: Pa = 0x1000n;
// @ts-expect-error
table.leaf(leaf.pa);
// @ts-expect-error
table.leaf(hypLeaf.address);
// @ts-expect-error they are never equal: the spaces differ
const equal = leaf.pa === leaf.address;
for (const entry of table.leaves({ from: guest, to: guest + 4096n })) table.mkyoung(entry.address);
// @ts-expect-error
table.leaves({ from: host });
for (const entry of hyp.entries({ tables: true, holes: true })) {
  // @ts-expect-error
  table.mkyoung(entry.address);
}
table.walk(guest, 4096, (visit) => (table.mkyoung(visit.address) === 0n ? 0 : 0));
hyp.walk(linear, 4096, (visit) => {
  // @ts-expect-error
  table.mkyoung(visit.address);
});
table.setForcePte((from: Ipa, to: Ipa) => to - from > 4096n);
// One that maps the guest's memory one to one says so.
table.map(guest, 4096, pa(guest), "rw");

// A table of either kind takes the addresses of either, and no Pa.
const either: Table = table;
const adopted = joinEngine(engine.ticket(0)).adopt(table.ticket());
const input: Ipa | Va = either.leaf(guest).address;
either.leaf(linear);
either.leaf(input);
adopted.leaf(0x1000);
// @ts-expect-error
either.leaf(host);
// @ts-expect-error
table.leaf(input);
const lowest = <A extends Ipa | Va>(of: Table<A>, from: Like<A>): A => of.leaf(from).address;
const lowestIpa: Ipa = lowest<Ipa>(table, 0);

// Batches, hooks.
const batch = engine.createBatch();
batch.map(table, guest, 4096, host, "rw");
batch.hypMap(hyp, linear, 4096, host, "rw");
batch.unmap(hyp, linear, 4096);
// @ts-expect-error
batch.map(table, host, 4096, host, "rw");
// @ts-expect-error
batch.hypMap(hyp, guest, 4096, host, "rw");
// @ts-expect-error
batch.getLeaf(table, host);
const hooks: MmOps = {
  dcacheCleanInvalPoc: (at: Pa, bytes: bigint) => void (at + bytes),
  virtToPhys: (pointer) => pa(pointer),
};
const plainHooks: MmOps = { icacheInvalPou: (at: bigint) => void at, virtToPhys: (pointer) => BigInt(pointer) };

// The hardware's side.
const mmu = createMmu({ engine, registers: stage2Registers(table) });
const tlb = createTlb(mmu);
const result = mmu.translate(guest, "w");
if (result.ok) {
  const to: Pa = result.pa;
  const by: Ipa = result.ipa;
  // @ts-expect-error
  table.leaf(result.pa);
  void [to, by];
} else {
  const far: Va | undefined = result.exception?.far;
  const hpfar: bigint | undefined = result.exception?.hpfar;
  table.map(result.ipa & ~0xfffn, 4096, host, "rw");
  table.relaxPerms(result.ipa, "w");
  void [far, hpfar];
}
mmu.translate(linear);
tlb.access(linear);
// @ts-expect-error
mmu.translate(host);
// @ts-expect-error
tlb.access(host);
// @ts-expect-error
createMmu({ image: new Uint8Array(8), physBase: guest });
const row: Pa | undefined = rowAddress(mmu.createColumns(1), 0);

export { base, equal, hooks, leafAddress, leafPa, lowestIpa, notAnIpa, notAPa, plainHooks, rootPa, row };
