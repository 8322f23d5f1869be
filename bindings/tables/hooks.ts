import * as K from "../core/constants.generated.js";
import type { Engine } from "./engine.js";
import type { TableHost } from "./host.js";

/**
 * Memory operations that a table may replace [WLK-16]; those left out stay native. Pages are named by their
 * pointer in `engine.memory` and must be granule-aligned pages of the arena: `engine.takeBlock` gives such.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * using engine = createEngine();
 * let cleaned = 0n;
 * const table = engine.createStage2({
 *   fwb: false,
 *   hooks: { dcacheCleanInvalPoc: (_pa, bytes) => { cleaned += bytes; } },
 * });
 * table.map(0, 8192, 0, "r");
 * console.log(cleaned); // 8192n
 * ```
 */
export interface MmOps {
  /** A zeroed page with one reference, or 0 for none. `cache` is the handle that the operation was given. */
  zallocPage?(cache: number): number;
  /** `bytes` of zeroed start tables, aligned to their size, one reference on each page; 0 for none. */
  zallocPagesExact?(bytes: number): number;
  /** Gives start tables back. */
  freePagesExact?(pointer: number, bytes: number): void;
  /** A subtree was detached; free it with `table.freeUnlinked(pointer, level)`, now or after a grace period. */
  freeUnlinkedTable?(pointer: number, level: number): void;
  /** One more reference on a page. */
  getPage?(pointer: number): void;
  /** Returns true if that was the last reference and the page was freed. */
  putPage?(pointer: number): boolean;
  /** References on a page; a table with 1 is empty. */
  pageCount?(pointer: number): number;
  /** Pointer of the table page at a physical address, 0 for none. */
  physToVirt?(pa: bigint): number;
  /** Physical address of a table page. */
  virtToPhys?(pointer: number): bigint;
  /** Clean and invalidate to the point of coherency. `null`: not needed, nothing is counted. */
  dcacheCleanInvalPoc?: ((pa: bigint, bytes: bigint) => void) | null;
  /** Invalidate to the point of unification. `null`: not needed, nothing is counted. */
  icacheInvalPou?: ((pa: bigint, bytes: bigint) => void) | null;
}

type Dispatch = (ops: MmOps, engine: Engine, a: number, wide: bigint, n: number) => number;

const PAGE_OPS: Readonly<Record<number, readonly [keyof MmOps, Dispatch]>> = {
  [K.HOOK_ZALLOC_PAGE]: ["zallocPage", (o, _e, a) => o.zallocPage?.(a) ?? 0],
  [K.HOOK_ZALLOC_PAGES_EXACT]: ["zallocPagesExact", (o, _e, _a, _w, n) => o.zallocPagesExact?.(n) ?? 0],
  [K.HOOK_FREE_PAGES_EXACT]: ["freePagesExact", (o, _e, a, _w, n) => (o.freePagesExact?.(a, n), 0)],
  [K.HOOK_FREE_UNLINKED_TABLE]: ["freeUnlinkedTable", (o, _e, a, _w, n) => (o.freeUnlinkedTable?.(a, n), 0)],
  [K.HOOK_GET_PAGE]: ["getPage", (o, _e, a) => (o.getPage?.(a), 0)],
  [K.HOOK_PUT_PAGE]: ["putPage", (o, _e, a) => (o.putPage?.(a) ? 1 : 0)],
  [K.HOOK_PAGE_COUNT]: ["pageCount", (o, _e, a) => o.pageCount?.(a) ?? 0],
  [K.HOOK_PHYS_TO_VIRT]: ["physToVirt", (o, _e, _a, wide) => o.physToVirt?.(wide) ?? 0],
  [K.HOOK_VIRT_TO_PHYS]: [
    "virtToPhys",
    (o, e, a) => {
      e.results.answer.value = o.virtToPhys?.(a) ?? 0n;
      return 0;
    },
  ],
  [K.HOOK_DCACHE]: ["dcacheCleanInvalPoc", (o, _e, _a, pa, n) => (o.dcacheCleanInvalPoc?.(pa, 1n << BigInt(n)), 0)],
  [K.HOOK_ICACHE]: ["icacheInvalPou", (o, _e, _a, pa, n) => (o.icacheInvalPou?.(pa, 1n << BigInt(n)), 0)],
};

/** Which operations are replaced, one bit each as in assembly/table/mmops.ts. */
export function hookMask(ops: MmOps): number {
  let mask = 0;
  for (const [op, [name]] of Object.entries(PAGE_OPS)) if (typeof ops[name] === "function") mask |= 1 << Number(op);
  return mask;
}

/** The dispatcher of a table's replaced operations. */
export function hookHost(engine: Engine, ops: MmOps): NonNullable<TableHost["hook"]> {
  return (op, a, wide, n) => PAGE_OPS[op]?.[1](ops, engine, a, wide, n) ?? 0;
}
