// Walkers that share a table under its lock for reading: faults, splits, write protection, and who holds the lock for writing.

import * as K from "../../core/constants.generated.js";
import type { EngineWorld } from "../engine-world.js";
import {
  age,
  BASE,
  BLOCK,
  destroy,
  fault,
  faultColumn,
  flush,
  mkyoung,
  PAGE,
  reclaim,
  relax,
  split,
  unmap,
  wrprotect,
} from "../operations.js";
import { contentsOf } from "../oracle.js";
import { engineScenario, type Scenario } from "../scenario.js";
import { exactlyOne, withBlock, withPage, withPages } from "./setups.js";

const shared = { shared: true } as const;
/** Cache maintenance between break and make: no slot is filled in one step. */
const SLOW = K.T_FWB | K.T_RANGE_TLBI | K.T_PAGE_COUNT | K.T_DCACHE | K.T_ICACHE;

/** Is there a leaf that may be written? Bit 7 is S2AP[1], which a table's descriptor has not. */
function mapsWritable(world: EngineWorld): boolean {
  return [...contentsOf(world).matchAll(/:([0-9a-f]+)/g)].some(([, leaf]) => BigInt(`0x${leaf}`) & 0x80n);
}

export const SHARED: readonly Scenario[] = [
  engineScenario({
    name: "fault-fault",
    title: "two vCPUs fault on one page",
    cites: ["LCK-5", "S2-22"],
    setup: withPages,
    walkers: [[fault(BASE)], [fault(BASE, { other: 1 })]],
    linear: false, // the second one finds a mapping, and replaces it or is told so: both answer 0 in some orders
  }),
  engineScenario({
    name: "fault-fault-clean",
    title: "two vCPUs fault on one executable page: break, cache maintenance, make",
    cites: ["LCK-5", "S2-21", "S2-24"],
    table: { flags: K.T_RANGE_TLBI | K.T_PAGE_COUNT | K.T_DCACHE | K.T_ICACHE },
    setup: withPages,
    walkers: [[fault(BASE, { rights: "rwx" })], [fault(BASE, { rights: "rwx", other: 1 })]],
    linear: false, // as fault-fault
  }),
  engineScenario({
    name: "fault-fault-same",
    title: "two vCPUs fault on one page, for the same mapping: exactly one is done",
    cites: ["LCK-5"],
    setup: withPages,
    walkers: [[fault(BASE)], [fault(BASE)]],
    check: (_, [a, b]) => exactlyOne([a?.[0], b?.[0]]),
  }),
  engineScenario({
    name: "faults-empty",
    title: "two vCPUs fault on two pages of an empty table: both need the same table pages",
    cites: ["S2-7", "S2-21"],
    walkers: [[fault(BASE)], [fault(BASE + PAGE)]],
  }),
  engineScenario({
    name: "fault-block",
    title: "a fault on a page, and a block in place of its table",
    cites: ["S2-6", "LCK-10", "LCK-11"],
    setup: withPages,
    walkers: [[fault(BASE)], [fault(BASE, { size: BLOCK })]],
    linear: false, // who gives up may have unlinked the table before: its pages fault again
  }),
  engineScenario({
    name: "block-block",
    title: "two blocks in place of one table: it is freed once",
    cites: ["S2-6", "LCK-10", "BUG-22"],
    setup: withPages,
    walkers: [[fault(BASE, { size: BLOCK })], [fault(BASE, { size: BLOCK })]],
    check: (_, [a, b]) => exactlyOne([a?.[0], b?.[0]]),
  }),
  engineScenario({
    name: "fault-unmap",
    title: "a fault, and an unmap of the whole block around it",
    cites: ["LCK-2", "LCK-3"],
    setup: withPages,
    walkers: [[fault(BASE)], [unmap(BASE, BLOCK)]],
  }),
  engineScenario({
    name: "fault-destroy",
    title: "a fault, and the table is torn down",
    cites: ["S2-27", "LCK-13"],
    setup: withPages,
    walkers: [[fault(BASE)], [destroy()]],
  }),
  engineScenario({
    name: "split-fault",
    title: "a block is split eagerly, and a fault needs a page of it",
    cites: ["S2-7", "S2-21"],
    setup: withBlock,
    walkers: [[split(BASE, BLOCK, shared)], [fault(BASE, { rights: "r" })]],
    linear: false, // the split may leave the fault's table as it is, or the fault the split's
  }),
  engineScenario({
    name: "split-wrprotect",
    title: "a block is split, and write-protected meanwhile: no page stays writable",
    cites: ["S2-14", "BUG-14"],
    setup: withBlock,
    walkers: [[split(BASE, BLOCK, shared)], [wrprotect(BASE, BLOCK, shared)]],
  }),
  engineScenario({
    name: "split-fault-wrprotect",
    title: "a block is split, a fault needs a page of it, and it is write-protected meanwhile",
    cites: ["S2-7", "S2-14", "S2-21", "BUG-14"],
    setup: withBlock,
    walkers: [[split(BASE, BLOCK, shared)], [fault(BASE, { rights: "r" })], [wrprotect(BASE, BLOCK, shared)]],
    linear: false, // as split-fault
    check: (world) => (mapsWritable(world) ? "a page stays writable" : undefined),
  }),
  engineScenario({
    name: "wrprotect-relax",
    title: "write protection of a range, and a permission fault in it",
    setup: withBlock,
    walkers: [[wrprotect(BASE, BLOCK, shared)], [relax(BASE, "x", shared), mkyoung(BASE, shared)]],
    linear: false, // a fault that gives up is not counted among the outcomes of whole operations
    check: (world) => {
      const leaf = world.word64(world.pageOf(world.word64((world.tableInfo()?.root ?? 0) + 8)));
      return leaf & 0x80n ? "the write protection is lost" : undefined;
    },
  }),
  engineScenario({
    name: "age-young",
    title: "the access flag is tested and cleared, and set by a fault",
    setup: withBlock,
    walkers: [[age(BASE, BLOCK, shared)], [mkyoung(BASE, shared)]],
    linear: false,
  }),
  engineScenario({
    name: "column-fault",
    title: "a column of three faults, and a fault on the one in the middle",
    cites: ["LCK-5", "WLK-17"],
    setup: withPages,
    walkers: [[faultColumn([BASE, BASE + PAGE, BASE + 2 * PAGE], { skipCmo: true })], [fault(BASE + PAGE)]],
    linear: false, // a column answers for each of its faults
  }),
  engineScenario({
    name: "retire-reclaim",
    title: "a block in place of a table, and somebody waits for the grace period and frees what waits",
    cites: ["LCK-10", "LCK-12"],
    setup: withPages,
    walkers: [[fault(BASE, { size: BLOCK })], [reclaim()]],
  }),
  engineScenario({
    name: "flush-block",
    title: "the caches of a range are cleaned while a block takes the place of its table",
    table: { flags: SLOW & ~K.T_FWB },
    setup: withPage,
    walkers: [[flush(BASE, BLOCK, shared)], [fault(BASE, { size: BLOCK })]],
    linear: false,
  }),
  engineScenario({
    name: "three-faults",
    title: "three vCPUs fault on one page",
    cites: ["LCK-5"],
    setup: withPages,
    walkers: [[fault(BASE)], [fault(BASE)], [fault(BASE)]],
    check: (_, results) => exactlyOne(results.map(([status]) => status)),
  }),
  engineScenario({
    name: "two-by-two",
    title: "two vCPUs fault on the same two pages, in opposite orders",
    setup: withPages,
    walkers: [
      [fault(BASE), fault(BASE + PAGE)],
      [fault(BASE + PAGE), fault(BASE)],
    ],
  }),
];
