// A run that is looked at: by a judge, by somebody else, or by both.

import type { Engine } from "../tables/engine.js";
import type { Table } from "../tables/table.js";
import type { Vm, VmOnlooker } from "../vm/index.js";

/** Whoever judges what a run does to its table, while it goes on: a `Judge` of `granule/audit`. */
export interface RunJudge {
  /** Follows the engine's journal. */
  watch(engine: Engine): {
    /** Tells of a table that is there already. */
    adopt(table: Table): void;
    /** Judges what came since the last time. */
    drain(): unknown;
  };
}

/** Records of one turn of accesses, all of which fault and break a block. */
const TURN_RECORDS = 2 ** 18;
/** Records of an operation on all of the memory, for each page: a write, its barriers, and its share of TLBIs and of table pages. */
const PAGE_RECORDS = 6;
/** What an engine can have. */
const MOST_RECORDS = 2 ** 24;

/** Records that a VM of so much memory writes between two looks at its journal, with room to spare. */
export function journalFor(memory: number, granule: number): number {
  return Math.min(MOST_RECORDS, TURN_RECORDS + PAGE_RECORDS * Math.ceil(memory / granule));
}

/** The judge sees all that the VM does from now on, and the onlooker what it asks for: it looks before the judge does. */
export function watchVm(vm: Vm, judge: RunJudge | undefined, onlooker?: VmOnlooker): void {
  if (judge === undefined) {
    if (onlooker !== undefined) vm.watch(onlooker);
    return;
  }
  const watch = judge.watch(vm.engine);
  watch.adopt(vm.table);
  vm.watch({
    ...(onlooker?.access && { access: (cpu, exits) => onlooker.access?.(cpu, exits) }),
    turn: () => {
      onlooker?.turn?.();
      watch.drain();
    },
    operation: (name, pages) => {
      onlooker?.operation?.(name, pages);
      watch.drain();
    },
  });
}
