// Scenarios of a whole VM.

import type { EngineWorld, Operation } from "./engine-world.js";
import { contentsOf, unsound } from "./oracle.js";
import { checkName, type Described, type KnownRace, makerOf, type Scenario } from "./scenario.js";
import { type VmConfig, VmWorld } from "./vm-world.js";

const WHOLE =
  "hardware walks a table whatever lock software holds, and finds a descriptor before or after a plain store";
const DISCARDED =
  "an invalidation reads an entry that its owner is writing; whatever it decides by that, the owner discards the entry";

/** What hardware and software do at the same time, by design. */
const BESIDE_HARDWARE: readonly KnownRace[] = [
  { between: ["atomic load at assembly/memory/cell.ts", "store at assembly/table/page.ts"], why: WHOLE },
  { between: ["atomic load at assembly/memory/cell.ts", "store at assembly/memory/cell.ts"], why: WHOLE },
  {
    between: ["load at assembly/memory/cell.ts", "exchange at assembly/memory/cell.ts"],
    why: "an exclusive walk reads a descriptor plainly, and changes by an exchange what the hardware may change too",
  },
  ...["load at assembly/mmu/invalidate.ts", "load at assembly/mmu/tlb.ts", "load at assembly/arch/field.ts"].map(
    (reads): KnownRace => ({ between: ["store at assembly/mmu/ways.ts", reads], why: DISCARDED }),
  ),
  {
    between: ["load at assembly/mmu/tlb.ts", "store at assembly/mmu/invalidate.ts"],
    why: "how full a bank is decides only where an entry makes room",
  },
  {
    between: ["load at assembly/memory/cell.ts", "exchange at assembly/memory/shared.ts"],
    why: "a hit reads a tag that is taken away meanwhile: it was a hit before the TLBI, whose DSB waits for it",
  },
  {
    between: ["assembly/sim/witness.ts", "assembly/sim/witness.ts"],
    why: "a page that is stored to while it is copied is reported again",
  },
];

/** What makes a scenario of a VM. */
export interface VmScenario extends Described {
  /** What the guest is like. */
  readonly guest: VmConfig;
  /** What happens before the walkers begin. */
  readonly setup?: (world: VmWorld) => void;
  /** What each walker does, one after the other. */
  readonly walkers: readonly (readonly Operation[])[];
  /** What is wrong beside what is wrong anywhere; `results` are those of each walker. */
  readonly check?: (world: VmWorld, results: readonly (readonly number[])[]) => string | undefined;
}

/**
 * A scenario of a whole VM: vCPUs with TLBs, the faults that they take, and the VMM beside them. In every final state the log is read
 * once more, and then no store is unlogged; no TLB answers where the table does not; and what must hold of any engine holds.
 *
 * @example
 * ```ts
 * import { RAM, readLog, run, vmScenario } from "granule/explore";
 * const mine = vmScenario({
 *   name: "store-log",
 *   title: "a vCPU stores to a page while the log is read",
 *   guest: { cpus: 1 },
 *   setup: (world) => {
 *     world.setLog(true);
 *     world.setWork(0, { from: RAM });
 *   },
 *   walkers: [[run(0)], [readLog()]],
 * });
 * console.log(mine.walkers, mine.build); // 2 vm
 * ```
 */
export function vmScenario(what: VmScenario): Scenario {
  const { name, title, cites, knownRaces, walkers: programs } = what,
    walkers = programs.length;
  checkName(name);
  const resultsOf = (world: VmWorld) => programs.map((_, id) => world.results(id));
  return {
    name,
    title,
    ...(cites === undefined ? {} : { cites }),
    knownRaces: [...BESIDE_HARDWARE, ...(knownRaces ?? [])],
    walkers,
    needsCore: true,
    build: "vm",
    linear: false, // what a store does depends on the moment at which the log is read
    mayDie: false, // a vCPU's thread is not buried
    make: makerOf(what, (build) => new VmWorld(build, walkers, what.guest)),
    outcome: (world) => outcomeOf(world as VmWorld, resultsOf(world as VmWorld)),
    check: (world) => {
      const vm = world as VmWorld;
      return what.check?.(vm, resultsOf(vm)) ?? vm.wrongLog() ?? vm.staleEntry() ?? vm.tearDown() ?? unsound(vm);
    },
    says: (id, n) => programs[id]?.[n]?.says ?? "",
  };
}

function outcomeOf(world: EngineWorld, results: readonly (readonly number[])[]): string {
  return `${results.map((one) => one.join(",")).join(" | ")} | ${world.quietly(() => contentsOf(world))}`;
}
