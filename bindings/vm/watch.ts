import type { CpuView } from "../core/sim-views.generated.js";

/** Whoever looks on while a VM runs. */
export interface VmOnlooker {
  /**
   * Called after each access.
   *
   * @param cpu - number of the CPU
   * @param exits - how often the guest was left for it: faults, and accesses that the VMM emulates
   */
  access(cpu: number, exits: number): void;
  /**
   * Called after the VMM or the host did something.
   *
   * @param name - the method of the VM, such as `dirtyLog`
   * @param pages - the pages that a dirty log reported
   */
  operation(name: string, pages?: number): void;
}

/** How often the guest of a CPU was left. */
function exitsOf(cpu: CpuView): number {
  return Number(cpu.translationFaults + cpu.permissionFaults + cpu.accessFaults + cpu.exits);
}

/** Performs accesses one by one, and tells of each. */
export function watched(cpu: CpuView, i: number, n: number, onlooker: VmOnlooker, perform: () => void): void {
  for (let left = n; left > 0; left--) {
    const before = exitsOf(cpu);
    perform();
    onlooker.access(i, exitsOf(cpu) - before);
  }
}
