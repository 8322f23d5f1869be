// A whole VM: vCPUs with TLBs, their faults, the hardware's dirty state, dirty logs and notifiers. The oracle of all is the witness of
// every store: none goes unlogged [DBM-10].

import * as K from "../../core/constants.generated.js";
import { BLOCK, mkyoung, PAGE, relax } from "../operations.js";
import type { Scenario } from "../scenario.js";
import { changeHost, hostAge, readLog, run } from "../vm-operations.js";
import { vmScenario } from "../vm-scenario.js";
import { RAM, type VmWorld } from "../vm-world.js";

const shared = { shared: true } as const;

/** Each vCPU has stored to a page of its own, so the block is split and both page caches are full; the log is on. */
function withPagesLogged(world: VmWorld): void {
  for (let i = 0; i < world.guest.cpus; i++) world.runNow(i, { from: RAM + BLOCK + i * PAGE });
  world.setLog(true);
  for (let i = 0; i < world.guest.cpus; i++) {
    world.runNow(i, { from: RAM + BLOCK + i * PAGE });
    world.runNow(i, { from: RAM });
  }
}

/** All vCPUs store to the page at RAM, which is clean or not. */
function onePage(clean: boolean): (world: VmWorld) => void {
  return (world) => {
    withPagesLogged(world);
    if (clean) world.setUp(readLog());
    for (let i = 0; i < world.guest.cpus; i++) world.setWork(i, { from: RAM });
  };
}

/** The page at RAM is part of a block, which is split at the first store. */
function inBlock(world: VmWorld): void {
  for (let i = 0; i < world.guest.cpus; i++) {
    world.runNow(i, { from: RAM });
    world.runNow(i, { from: RAM + BLOCK });
  }
  world.setLog(true);
  for (let i = 0; i < world.guest.cpus; i++) {
    world.runNow(i, { from: RAM + BLOCK + i * PAGE });
    world.setWork(i, { from: RAM + i * PAGE });
  }
}

/** vCPU 1 fetches from the page to which vCPU 0 stores. */
function withFetch(world: VmWorld): void {
  onePage(true)(world);
  world.setWork(1, { from: RAM, writes: 0, fetches: 1024 });
}

const DBM = { cpus: 1, strategy: K.LOG_DBM } as const;

/** A clean page, and one that nobody has stored to: for that the vCPU takes the table's lock, at which an exclusive walk stops then. */
function cleanAndNew(world: VmWorld): void {
  onePage(true)(world);
  world.setWork(0, { from: RAM, pages: 2 });
}

/** May the guest store where the host's page is none of its own? */
function mayStoreToShared(world: VmWorld): string | undefined {
  return world.mayStore(RAM) && !world.isPrivate(RAM) ? "the guest may store to a page that it shares" : undefined;
}

export const VM: readonly Scenario[] = [
  vmScenario({
    name: "vm-store-log",
    title: "a vCPU stores to a page that is writable while the log is read",
    cites: ["DBM-10", "DLG-14", "HWM-41"],
    guest: { cpus: 1 },
    setup: onePage(false),
    walkers: [[run(0)], [readLog()]],
  }),
  vmScenario({
    name: "vm-fault-log",
    title: "a vCPU faults at a page that is write-protected while the log is read",
    cites: ["DBM-10", "FLT-38"],
    guest: { cpus: 1 },
    setup: onePage(true),
    walkers: [[run(0)], [readLog()]],
  }),
  vmScenario({
    name: "vm-neighbour-log",
    title: "a vCPU faults beside a page that is dirty while the log is read",
    cites: ["DBM-10", "DLG-13"],
    guest: { cpus: 1 },
    setup: (world) => {
      onePage(false)(world);
      world.setWork(0, { from: RAM + PAGE });
    },
    walkers: [[run(0)], [readLog()]],
  }),
  vmScenario({
    name: "vm-split-log",
    title: "two vCPUs store to pages of one block, which is split, while the log is read",
    cites: ["DBM-10", "FLT-33"],
    guest: { cpus: 2 },
    setup: inBlock,
    walkers: [[run(0)], [run(1)], [readLog()]],
  }),
  vmScenario({
    name: "vm-stores-log",
    title: "two vCPUs store to one page again and again while the log is read twice",
    cites: ["DBM-10"],
    guest: { cpus: 2 },
    setup: onePage(true),
    walkers: [
      [run(0, 2), run(0)],
      [run(1), run(1)],
      [readLog(), readLog()],
    ],
  }),
  vmScenario({
    name: "vm-adversary-log",
    title: "two vCPUs whose TLBs keep what they may store while the log is read twice",
    cites: ["DBM-10", "HWM-41"],
    guest: { cpus: 2, adversarial: true },
    setup: onePage(true),
    walkers: [[run(0, 2)], [run(1, 2)], [readLog(), readLog()]],
  }),
  vmScenario({
    name: "vm-dirty-harvest",
    title: "hardware sets the dirty state while it is harvested",
    cites: ["BUG-50", "DBM-7", "DBM-8"],
    guest: DBM,
    setup: cleanAndNew,
    walkers: [[run(0, 2)], [readLog()]],
  }),
  vmScenario({
    name: "vm-dirty-mkyoung",
    title: "hardware sets the dirty state while software sets the access flag",
    cites: ["DBM-7", "DBM-8"],
    guest: DBM,
    setup: onePage(true),
    walkers: [[run(0)], [mkyoung(RAM, shared)]],
  }),
  vmScenario({
    name: "vm-dirty-age",
    title: "hardware sets the dirty state while software clears the access flag",
    cites: ["DBM-7", "DBM-8", "NOT-8"],
    guest: DBM,
    setup: cleanAndNew,
    walkers: [[run(0, 2)], [hostAge(RAM, PAGE)]],
  }),
  vmScenario({
    name: "vm-dirty-relax",
    title: "hardware sets the dirty state while another vCPU's fault makes the page executable",
    cites: ["DBM-7", "DBM-8", "S2-17"],
    guest: { ...DBM, cpus: 2 },
    setup: withFetch,
    walkers: [[run(0)], [run(1)]],
  }),
  vmScenario({
    name: "vm-dirty-relax-read",
    title: "hardware sets the dirty state while software adds a right that is there",
    cites: ["DBM-7", "DBM-8"],
    guest: DBM,
    setup: onePage(true),
    walkers: [[run(0)], [relax(RAM, "r", shared)]],
  }),
  vmScenario({
    name: "vm-dirty-unmap",
    title: "hardware sets the dirty state while the host takes the page back",
    cites: ["DBM-6", "DBM-7", "NOT-12"],
    guest: DBM,
    setup: cleanAndNew,
    walkers: [[run(0, 2)], changeHost("share", RAM, PAGE)],
    check: mayStoreToShared,
  }),
  vmScenario({
    name: "vm-ring-reset",
    title: "a vCPU pushes pages onto its ring while the ring is collected",
    cites: ["RNG-6", "RNG-9", "RNG-10", "DBM-10"],
    guest: { cpus: 1, strategy: K.LOG_RING },
    setup: (world) => {
      onePage(true)(world);
      world.setWork(0, { from: RAM, pages: 2 });
    },
    walkers: [[run(0, 2)], [readLog(), readLog()]],
  }),
  vmScenario({
    name: "vm-notifier-fault",
    title: "a vCPU faults while the host merges the page with another one",
    cites: ["FLT-22", "FLT-24", "NOT-3", "NOT-4"],
    guest: { cpus: 1, huge: false },
    setup: (world) => {
      world.runNow(0, { from: RAM + PAGE });
      world.setWork(0, { from: RAM });
    },
    walkers: [[run(0)], changeHost("share", RAM, PAGE)],
    check: (world) => mayStoreToShared(world) ?? world.startLog(),
  }),
  vmScenario({
    name: "vm-touch-touch",
    title: "one vCPU stores to a huge page that nobody has touched while another one reads it",
    guest: { cpus: 2 },
    setup: (world) => {
      for (const i of [0, 1]) world.runNow(i, { from: RAM + BLOCK });
      world.setWork(0, { from: RAM });
      world.setWork(1, { from: RAM + PAGE, writes: 0 });
    },
    walkers: [[run(0)], [run(1)]],
    check: (world) => (world.isPrivate(RAM) ? world.startLog() : "the host has lost a store"),
  }),
  vmScenario({
    name: "vm-touch-forked",
    title: "two vCPUs store to pages of a huge page that the VMM shares with its child",
    guest: { cpus: 2 },
    setup: (world) => {
      for (const i of [0, 1]) world.runNow(i, { from: RAM + BLOCK });
      for (const step of changeHost("fork", RAM + BLOCK, BLOCK)) world.setUp(step);
      for (const i of [0, 1]) world.setWork(i, { from: RAM + BLOCK + i * PAGE });
    },
    walkers: [[run(0)], [run(1)]],
    check: (world) =>
      [0, 1].every((i) => world.isPrivate(RAM + BLOCK + i * PAGE)) ? world.startLog() : "the host has lost a store",
  }),
];
