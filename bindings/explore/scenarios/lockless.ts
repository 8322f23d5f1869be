// Walkers without the table's lock: in a read section alone.

import * as K from "../../core/constants.generated.js";
import { BASE, BLOCK, destroy, fault, hypMap, hypUnmap, leaf, map, mkyoung, relax, unmap } from "../operations.js";
import { engineScenario, type Scenario } from "../scenario.js";
import { withPage } from "./setups.js";

const FREE = K.T_FWB | K.T_RANGE_TLBI | K.T_PAGE_COUNT | K.T_LOCK_FREE;
const lockFree = { lockFree: true } as const;

export const LOCKLESS: readonly Scenario[] = [
  engineScenario({
    name: "lockfree-unmap",
    knownRaces: [
      {
        between: ["exchange at assembly/memory/cell.ts", "load at assembly/memory/cell.ts"],
        why: "an exclusive walk reads a descriptor plainly, and then changes it by an exchange that tells what was there",
      },
    ],
    title: "a permission fault without the lock, while the page is unmapped",
    cites: ["IDE-1", "LCK-10"],
    table: { flags: FREE },
    setup: withPage,
    walkers: [[relax(BASE, "x", lockFree), mkyoung(BASE, lockFree)], [unmap(BASE)]],
    linear: false, // EAGAIN says "nothing there", too
  }),
  engineScenario({
    name: "lockfree-look-block",
    title: "a look without the lock, while a block takes the place of the table",
    cites: ["LCK-10", "WLK-13"],
    table: { flags: FREE },
    setup: withPage,
    walkers: [[leaf(BASE), mkyoung(BASE, lockFree)], [map(BASE, { size: BLOCK })]],
    linear: false, // a look may see the moment between break and make
  }),
  engineScenario({
    name: "lockfree-look-destroy",
    title: "a look without the lock, while the table is torn down",
    cites: ["LCK-10", "S2-27"],
    table: { flags: FREE },
    setup: withPage,
    walkers: [[leaf(BASE)], [destroy()]],
  }),
  engineScenario({
    name: "lockfree-fault",
    title: "a look without the lock beside a fault",
    table: { flags: FREE },
    setup: withPage,
    walkers: [[leaf(BASE + 4096)], [fault(BASE + 4096)]],
    linear: false, // as lockfree-look-block
  }),
  engineScenario({
    name: "hyp-look-unmap",
    title: "EL2: looks in a quiescent-point section while the page is unmapped",
    cites: ["IDE-3", "WLK-12"],
    table: { hyp: true, flags: K.T_BARRIER | K.T_PAGE_COUNT },
    setup: (world) => world.setUp(hypMap(BASE)),
    walkers: [[leaf(BASE), leaf(BASE)], [hypUnmap(BASE)]],
  }),
  engineScenario({
    name: "hyp-look-map",
    title: "EL2: a look while the page is mapped",
    cites: ["IDE-3"],
    table: { hyp: true, flags: K.T_BARRIER | K.T_PAGE_COUNT },
    walkers: [[leaf(BASE)], [hypMap(BASE)]],
    linear: false, // a look says at which level it found the hole
  }),
];
