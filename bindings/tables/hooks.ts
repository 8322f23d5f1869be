import { checkFunction, checkNow, checkWord, describe, unknownName } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { GranuleError, invalid } from "../core/errors.js";
import { type Pa, type PaLike, toAddress } from "../model/address.js";
import type { TableHost } from "./host.js";
import type { EngineMemory } from "./memory.js";

/**
 * Memory operations that a table may replace [WLK-16]; those left out stay native. Pages are named by their
 * pointer in `engine.memory` and must be granule-aligned pages of the arena: `engine.takeBlock` gives such. Where several
 * walkers use the table, each of them brings its own functions (`engine.adopt`), which then keep what they share, such as
 * counts, in shared memory, and never sleep.
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
  physToVirt?(pa: Pa): number;
  /** Physical address of a table page. */
  virtToPhys?(pointer: number): PaLike;
  /** Clean and invalidate to the point of coherency. `null`: not needed, nothing is counted. */
  dcacheCleanInvalPoc?: ((pa: Pa, bytes: bigint) => void) | null;
  /** Invalidate to the point of unification. `null`: not needed, nothing is counted. */
  icacheInvalPou?: ((pa: Pa, bytes: bigint) => void) | null;
}

type Dispatch = (ops: MmOps, memory: EngineMemory, a: number, wide: bigint, n: number) => number;

/** The result of a hook, checked so that the core can continue with it. */
function now<T>(name: keyof MmOps, value: T): T {
  return checkNow(`hooks.${name}`, value);
}

/** A pointer or count that a hook returned. */
function word(name: keyof MmOps, value: number | undefined): number {
  return checkWord(`hooks.${name}`, "what it returned", now(name, value) ?? 0);
}

const PAGE_OPS: Readonly<Record<number, readonly [keyof MmOps, Dispatch]>> = {
  [K.HOOK_ZALLOC_PAGE]: ["zallocPage", (o, _m, a) => word("zallocPage", o.zallocPage?.(a))],
  [K.HOOK_ZALLOC_PAGES_EXACT]: [
    "zallocPagesExact",
    (o, _m, _a, _w, n) => word("zallocPagesExact", o.zallocPagesExact?.(n)),
  ],
  [K.HOOK_FREE_PAGES_EXACT]: [
    "freePagesExact",
    (o, _m, a, _w, n) => (now("freePagesExact", o.freePagesExact?.(a, n)), 0),
  ],
  [K.HOOK_FREE_UNLINKED_TABLE]: [
    "freeUnlinkedTable",
    (o, _m, a, _w, n) => (now("freeUnlinkedTable", o.freeUnlinkedTable?.(a, n)), 0),
  ],
  [K.HOOK_GET_PAGE]: ["getPage", (o, _m, a) => (now("getPage", o.getPage?.(a)), 0)],
  [K.HOOK_PUT_PAGE]: ["putPage", (o, _m, a) => (now("putPage", o.putPage?.(a)) ? 1 : 0)],
  [K.HOOK_PAGE_COUNT]: ["pageCount", (o, _m, a) => word("pageCount", o.pageCount?.(a))],
  [K.HOOK_PHYS_TO_VIRT]: ["physToVirt", (o, _m, _a, wide) => word("physToVirt", o.physToVirt?.(wide as Pa))],
  [K.HOOK_VIRT_TO_PHYS]: [
    "virtToPhys",
    (o, m, a) => {
      m.results.answer.value = toAddress(now("virtToPhys", o.virtToPhys?.(a)) ?? 0n, "hooks.virtToPhys");
      return 0;
    },
  ],
  [K.HOOK_DCACHE]: [
    "dcacheCleanInvalPoc",
    (o, _m, _a, pa, n) => (now("dcacheCleanInvalPoc", o.dcacheCleanInvalPoc?.(pa as Pa, 1n << BigInt(n))), 0),
  ],
  [K.HOOK_ICACHE]: [
    "icacheInvalPou",
    (o, _m, _a, pa, n) => (now("icacheInvalPou", o.icacheInvalPou?.(pa as Pa, 1n << BigInt(n))), 0),
  ],
};

const NAMES: ReadonlySet<string> = new Set(Object.values(PAGE_OPS).map(([name]) => name));
/** Operations that `null` takes away. */
const OPTIONAL: ReadonlySet<string> = new Set(["dcacheCleanInvalPoc", "icacheInvalPou"]);

/** Hooks, when each is a function and has a name that is known; EINVAL names the first that is not. */
function checkHooks(operation: string, hooks: MmOps): void {
  if (typeof hooks !== "object" || hooks === null) throw invalid(operation, `hooks are ${describe(hooks)}, no object`);
  for (const name of NAMES) {
    const hook: unknown = hooks[name as keyof MmOps];
    if (hook === undefined || (hook === null && OPTIONAL.has(name))) continue;
    checkFunction(operation, `the hook ${name}`, hook);
  }
  // An object of a class of its own may keep what it needs beside its hooks.
  const prototype: unknown = Object.getPrototypeOf(hooks);
  if (prototype !== Object.prototype && prototype !== null) return;
  const unknown = Object.keys(hooks).find((name) => !NAMES.has(name));
  if (unknown !== undefined) {
    throw unknownName(operation, "hook", unknown, [...NAMES]);
  }
}

/** Which operations are replaced, one bit each as in assembly/table/mmops.ts. */
function hookMask(ops: MmOps): number {
  let mask = 0;
  for (const [op, [name]] of Object.entries(PAGE_OPS)) if (typeof ops[name] === "function") mask |= 1 << Number(op);
  return mask;
}

/** Functions of a table as one walker has them. */
export interface TableFunctions {
  hooks?: MmOps | undefined;
  forcePte?: unknown;
  maySleep?: boolean | undefined;
}

/** @internal EPERM where other walkers may be in the table and a function has not been declared not to sleep [LCK-15]. */
export function assertPrompt(memory: EngineMemory, operation: string, maySleep: boolean | undefined): void {
  if (maySleep === false || memory.walkerCount === 1) return;
  const hint =
    "functions of a table that several walkers use run in its lock and must not wait for anything: say `maySleep: false`";
  throw new GranuleError(K.EPERM, { operation, hint });
}

/** @internal The hooks of a table in the shape in which the core calls them. */
export function hostOf(memory: EngineMemory, operation: string, { hooks, maySleep = true }: TableFunctions): TableHost {
  if (hooks === undefined) return { mask: 0, maySleep };
  checkHooks(operation, hooks);
  const hook: TableHost["hook"] = (op, a, wide, n) => PAGE_OPS[op]?.[1](hooks, memory, a, wide, n) ?? 0;
  return { hook, mask: hookMask(hooks), maySleep };
}

/** @internal The operations of a mask. */
function namesOf(mask: number): string[] {
  return Object.entries(PAGE_OPS).flatMap(([op, [name]]) => ((mask >> Number(op)) & 1 ? [name] : []));
}

/** @internal What another walker brings for a table that replaces the operations of `mask`: EPERM names what is missing, EINVAL what is too much. */
export function checkBrought(host: TableHost, mask: number): void {
  const missing = namesOf(mask & ~host.mask);
  const extra = namesOf(host.mask & ~mask);
  if (missing.length > 0) {
    const hint = `the table replaces ${missing.join(", ")}: each walker brings its own, adopt(ticket, { hooks, maySleep: false })`;
    throw new GranuleError(K.EPERM, { operation: "adopt", hint });
  }
  if (extra.length > 0) throw invalid("adopt", `the table was made without the hook ${extra.join(", ")}`);
}
