import type { CpuView } from "../core/sim-views.generated.js";

/** Whoever looks on while a VM runs. Each of its methods may be missing. */
export interface VmOnlooker {
  /**
   * Called after each access. With this method, accesses are done one by one.
   *
   * @param cpu - number of the CPU
   * @param exits - how often the guest was left for it: faults, and accesses that the VMM emulates
   */
  access?(cpu: number, exits: number): void;
  /** Called after at most 1,024 accesses of one CPU, or a buffer of recorded ones: whoever judges the journal drains it here. */
  turn?(): void;
  /**
   * Called after the VMM or the host did something.
   *
   * @param name - the method of the VM, such as `dirtyLog`; `collectRings` where a vCPU stopped because its dirty ring was full
   * @param pages - the pages that a dirty log reported
   */
  operation?(name: string, pages?: number): void;
}

/** An onlooker who wants to see each access. */
export type AccessOnlooker = VmOnlooker & Required<Pick<VmOnlooker, "access">>;

/** Does the onlooker want to see each access? */
export function seesAccesses(onlooker: VmOnlooker | undefined): onlooker is AccessOnlooker {
  return onlooker?.access !== undefined;
}

/** How often the guest of a CPU was left. */
function exitsOf(cpu: CpuView): number {
  return Number(cpu.translationFaults + cpu.permissionFaults + cpu.accessFaults + cpu.exits);
}

/** Performs accesses one by one, and tells of each. */
export function watched(cpu: CpuView, i: number, n: number, onlooker: AccessOnlooker, perform: () => void): void {
  for (let left = n; left > 0; left--) {
    const before = exitsOf(cpu);
    perform();
    onlooker.access(i, exitsOf(cpu) - before);
  }
}
