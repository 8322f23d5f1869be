// What the core asks of its host: the memory, where in it the engine lies, and four functions. These are called only for
// tables that replace memory operations, for visitors written outside, for a force-pte callback, and where a walker waits.
// This file is not linted: declarations with decorators are AssemblyScript's alone.

/**
 * Pointer of the engine's first byte, for all instances that work in it. It never changes in an instance, so a loop reads it once.
 * An address, and not a field of the walker's block: what has no walker yet must find the engine too.
 */
// @ts-ignore: decorator
@external("env", "base")
export declare const base: usize;

/** A replaced memory operation `op` (HOOK_*) of `table`; meaning of the rest by operation, see table/mmops.ts. */
// @ts-ignore: decorator
@external("host", "hook")
export declare function hostHook(op: u32, table: u32, a: u32, lo: u32, hi: u32, n: u32): u32;

/** A visit of an outside visitor: 0, or a negative errno that ends the walk. */
// @ts-ignore: decorator
@external("host", "visit")
export declare function hostVisit(phase: u32, level: i32, addrLo: u32, addrHi: u32, oldLo: u32, oldHi: u32): i32;

/** The force-pte callback: nonzero forces pages. */
// @ts-ignore: decorator
@external("host", "forcePte")
export declare function hostForcePte(table: u32, addrLo: u32, addrHi: u32, endLo: u32, endHi: u32, prot: u32): u32;

/** Milliseconds of a clock that does not go back, modulo 2^32: how long a walker has waited. */
// @ts-ignore: decorator
@external("host", "clock")
export declare function hostClock(): u32;

// Of the debug build alone; the release build does not import them.

/** A rule of memory/guard.ts is broken. */
// @ts-ignore: decorator
@external("host", "breach")
export declare function hostBreach(rule: u32, table: u32): void;

/** A shared access is about to happen, or has. */
// @ts-ignore: decorator
@external("host", "point")
export declare function hostPoint(kind: u32, p: u32): void;
