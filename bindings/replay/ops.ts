import * as K from "../core/constants.generated.js";
import type { OperationCounts, TableUse } from "../report/replay.js";
import type { Engine } from "../tables/engine.js";
import { OperationQueue, operationName } from "../tables/queue.js";
import type { Stage2Config, Stage2Table } from "../tables/stage2.js";
import {
  type ProtectionNumbering,
  protectionDecoder,
  type ReturnEvent,
  type S2MapEvent,
  type S2RelaxPermsEvent,
  type TraceEvent,
  TraceSyntaxError,
} from "../trace/index.js";
import { type Replayer, tableUse } from "./replayer.js";
import { bump } from "./tally.js";

/*
 * A call of the page-table engine has a line when it begins and, if it can refuse, a line when it returns. Between the
 * two are the lines of what it did inside (tlbi_*, s2_create_unlinked, s2_free_unlinked) and lines of other threads. So
 * a map waits here for its return line: a refused map changed nothing and must not be made.
 */

/** One VM of the trace, identified by the kernel's pointer to its page table. */
interface RecordedVm {
  readonly pgt: string;
  readonly table: Stage2Table;
  operations: number;
}

type Waiting = S2MapEvent | S2RelaxPermsEvent;

/** What the operations of a trace need. */
export interface OpsOptions {
  readonly table: Stage2Config;
  readonly numbering: ProtectionNumbering;
  /** Kernels before 6.2 have no walk flags: a fault's map there reports EAGAIN as with HANDLE_FAULT. */
  readonly walkFlags: boolean;
  /** Skip calls with impossible protections instead of failing. */
  readonly lenient: boolean;
  /** Called with a table that is about to be destroyed. */
  readonly onTeardown?: ((table: Stage2Table) => void) | undefined;
}

/** The kinds of events that this replay needs. */
export const OPS_EVENTS: ReadonlySet<TraceEvent["kind"]> = new Set([
  "s2_map",
  "s2_relax_perms",
  "ret",
  "s2_unmap",
  "s2_wrprotect",
  "s2_flush",
  "s2_destroy_range",
  "s2_split",
  "s2_mkyoung",
  "s2_mkold",
  "s2_is_young",
  "s2_test_clear_young",
  "s2_destroy",
  "marker",
]);

/** Recorded walk flags that a map uses: SHARED, HANDLE_FAULT, SKIP_BBM_TLBI, SKIP_CMO have Linux's numbers. */
const MAP_FLAGS = K.SHARED | K.HANDLE_FAULT | K.SKIP_BBM_TLBI | K.SKIP_CMO;
const NO_RETURN = 1;
/** Threads in the middle of a call, far more than any machine has. */
const MAX_WAITING = 4096;
const RETURNING: Readonly<Record<number, string>> = { [K.OP_MAP]: "s2_map", [K.OP_RELAX_PERMS]: "s2_relax_perms" };

/** Applies recorded `s2_*` operations to tables of its own, one for each VM. */
export class OpsReplayer implements Replayer {
  readonly counts: OperationCounts = { applied: {}, refused: {}, failed: {}, returns: { agreed: 0, differing: {} } };
  readonly #engine: Engine;
  readonly #options: OpsOptions;
  readonly #queue: OperationQueue;
  readonly #vms = new Map<string, RecordedVm>();
  readonly #waiting = new Map<number, Waiting>();
  readonly #decode: (prot: number | bigint) => number;
  #seenReturn = false;
  #created = 0;
  #lastUse: { use: TableUse; operations: number } | undefined;

  constructor(engine: Engine, options: OpsOptions) {
    this.#engine = engine;
    this.#options = options;
    this.#decode = protectionDecoder(options.numbering);
    this.#queue = new OperationQueue(engine, (op, status, tag) => this.#settle(op, status, tag));
  }

  #settle(op: number, status: number, recorded: number): void {
    if (status < 0 && status !== K.EAGAIN) bump(this.counts.failed, `${operationName(op)} ${status}`);
    if (recorded === NO_RETURN) return;
    const { returns } = this.counts;
    if (status === recorded) returns.agreed++;
    else bump(returns.differing, `${RETURNING[op]} returned ${recorded} there, ${status} here`);
  }

  event(e: TraceEvent): void {
    switch (e.kind) {
      case "s2_map":
      case "s2_relax_perms":
        this.#release(e.pid);
        if (this.#waiting.size >= MAX_WAITING) this.#release(undefined);
        this.#waiting.set(e.pid, e);
        break;
      case "ret":
        this.#returned(e);
        break;
      case "s2_unmap":
        this.#range(K.OP_UNMAP, e.kind, e.pgt, e.ipa, e.size);
        break;
      case "s2_wrprotect":
        this.#range(K.OP_WRPROTECT, e.kind, e.pgt, e.ipa, e.size);
        break;
      case "s2_flush":
        this.#range(K.OP_FLUSH, e.kind, e.pgt, e.ipa, e.size);
        break;
      case "s2_destroy_range":
        this.#range(K.OP_DESTROY_RANGE, e.kind, e.pgt, e.ipa, e.size);
        break;
      case "s2_split":
        this.#range(K.OP_SPLIT, e.kind, e.pgt ?? this.#busiest()?.pgt ?? "", e.ipa, e.size);
        break;
      case "s2_mkyoung":
        this.#range(K.OP_MKYOUNG, e.kind, e.pgt, e.ipa, 0);
        break;
      case "s2_mkold":
      case "s2_is_young":
        this.#range(K.OP_TEST_CLEAR_YOUNG, e.kind, e.pgt, e.ipa, 1, e.kind === "s2_mkold" ? 1 : 0);
        break;
      case "s2_test_clear_young":
        this.#range(K.OP_TEST_CLEAR_YOUNG, e.kind, e.pgt, e.ipa, e.size, e.mkold ? 1 : 0);
        break;
      case "s2_destroy":
        this.#destroy(e.pgt);
        break;
    }
  }

  #returned(e: ReturnEvent): void {
    const call = this.#waiting.get(e.pid);
    if (call === undefined || e.of !== call.kind) return;
    this.#seenReturn = true;
    this.#waiting.delete(e.pid);
    this.#apply(call, e.value);
  }

  /** Makes a call whose result is known; a refused call is only counted. */
  #apply(call: Waiting, returned: number): void {
    if (returned !== NO_RETURN && returned !== 0 && !(returned === K.EAGAIN && !this.#inFlight(call.pgt))) {
      bump(this.counts.refused, `${call.kind} ${returned}`);
      return;
    }
    const prot = this.#protection(call);
    if (prot === undefined) return;
    const vm = this.#vm(call.pgt, call.kind);
    if (call.kind === "s2_map") {
      const flags = this.#options.walkFlags ? call.flags & MAP_FLAGS : K.HANDLE_FAULT;
      this.#queue.push(
        K.OP_MAP,
        vm.table.handle,
        K.CACHE_ARENA,
        call.ipa,
        call.size,
        call.phys,
        prot,
        flags,
        0,
        returned,
      );
    } else {
      this.#queue.push(K.OP_RELAX_PERMS, vm.table.handle, K.CACHE_NONE, call.ipa, 0, 0, prot, 0, 0, returned);
    }
  }

  /** The rights of a call. A number that this kernel does not have is an error of its line, or skipped when lenient. */
  #protection(call: Waiting): number | undefined {
    try {
      return this.#decode(call.prot);
    } catch {
      const { numbering, lenient } = this.#options;
      const expected = `a protection as Linux ${numbering} numbers them (of another kernel? the manifest tells)`;
      if (!lenient) throw new TraceSyntaxError(call.line, `${call.event} prot=0x${call.prot.toString(16)}`, expected);
      bump(this.counts.failed, `${call.kind} protection`);
      return undefined;
    }
  }

  /**
   * Is another call on this VM under way? Then a map that returned EAGAIN lost a race to it. If it were made here first,
   * it would win.
   */
  #inFlight(pgt: string): boolean {
    for (const call of this.#waiting.values()) if (call.pgt === pgt) return true;
    return false;
  }

  /** Makes the calls whose return line will not come, because their thread or their VM went on. */
  #release(pid: number | undefined, pgt?: string): void {
    if (this.#waiting.size === 0) return;
    for (const [key, call] of this.#waiting) {
      if (key !== pid && call.pgt !== pgt && (pid !== undefined || pgt !== undefined)) continue;
      this.#waiting.delete(key);
      this.#apply(call, NO_RETURN);
    }
  }

  /** An exclusive operation: no other call on this VM is under way. */
  #range(op: number, kind: string, pgt: string, ipa: number, size: number, level = 0): void {
    this.#release(undefined, pgt);
    const vm = this.#vm(pgt, kind);
    this.#queue.push(op, vm.table.handle, K.CACHE_ARENA, ipa, size, 0, 0, 0, level, NO_RETURN);
  }

  #vm(pgt: string, kind: string): RecordedVm {
    bump(this.counts.applied, kind);
    let vm = this.#vms.get(pgt);
    if (vm === undefined) {
      vm = { pgt, table: this.#engine.createStage2(this.#options.table), operations: 0 };
      this.#vms.set(pgt, vm);
      this.#created++;
    }
    vm.operations++;
    return vm;
  }

  #destroy(pgt: string): void {
    bump(this.counts.applied, "s2_destroy");
    this.#release(undefined, pgt);
    const vm = this.#vms.get(pgt);
    if (vm === undefined) return;
    this.#queue.flush();
    this.#vms.delete(pgt);
    if (vm.operations >= (this.#lastUse?.operations ?? 0)) {
      this.#lastUse = { use: tableUse(vm.table), operations: vm.operations };
      this.#options.onTeardown?.(vm.table);
    }
    vm.table.close();
  }

  #busiest(): RecordedVm | undefined {
    let best: RecordedVm | undefined;
    for (const vm of this.#vms.values()) if (!best || vm.operations > best.operations) best = vm;
    return best;
  }

  perform(): void {
    this.#queue.flush();
  }

  flush(): void {
    // In a trace without return lines, the calls before this point count as done.
    if (!this.#seenReturn) this.#release(undefined);
    this.#queue.flush();
  }

  tables(): Stage2Table[] {
    return [...this.#vms.values()].map((vm) => vm.table);
  }

  get vms(): number {
    return this.#created;
  }

  finish(): TableUse | undefined {
    this.flush();
    const vm = this.#busiest();
    if (vm && vm.operations >= (this.#lastUse?.operations ?? 0)) {
      this.#options.onTeardown?.(vm.table);
      return tableUse(vm.table);
    }
    return this.#lastUse?.use;
  }
}
