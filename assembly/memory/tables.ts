// The record of a table: the handle that names it, how it is taken and given back, and the words of it that walkers share.

import { demand, RULE_TABLE_RECORD } from "../demand";
import { base, hostHook } from "./host";
import { FORCE_HOST, Growth, header, LINE, me, parallel, TABLE_BYTES, Table, walker } from "./layout";
import { add, claim, peek, publish, swap } from "./word";

// A handle names one life of a table record: its offset in the engine, and beside that a number that changes when the record is
// given to the next table. Records are 256-byte aligned and come first, so the number takes the bits below and above the offset.

/** Bits of a handle that are the offset of the record. */
const RECORD: u32 = ((1 << 19) - 1) & ~(TABLE_BYTES - 1);
/** Handles are positive: what is negative is an errno. */
const HANDLE: u32 = 0x7fffffff;

function recordOf(handle: u32): usize {
  return base + (handle & RECORD);
}

/** The handle of the life after `handle`: one more in the bits beside the address, the carry running across it. */
function nextLife(handle: u32): u32 {
  return (((handle | RECORD) + 1) & HANDLE & ~RECORD) | (handle & RECORD);
}

/** The handle of `t` as callers know it, 0 for no table. */
export function handleOf(t: Table): u32 {
  return changetype<usize>(t) !== 0 ? t.life : 0;
}

// Table.used
const FREE: u32 = 0;
export const MADE: u32 = 1;
/** Added to the id of the walker that is making the table. */
export const USED_BY: u32 = 2;

/** Is `handle` a table handle that is in use? Any u32 is allowed; that of an earlier table in the same record is not one. */
export function isTableHandle(handle: u32): bool {
  const h = header(),
    p = recordOf(handle);
  if (me === 0) return false; // not attached yet
  if (p - h.tables >= h.maxTables * TABLE_BYTES) return false;
  const t = changetype<Table>(p);
  return peek(p + offsetof<Table>("used")) === MADE && t.life === handle;
}

/** The table of `handle`, for this walker to use. Once it has the lock it must check `isSameLife`. */
export function tableAt(handle: u32): Table {
  walker().using = handle;
  return changetype<Table>(recordOf(handle));
}

/** `op` of hostHook that asks about the functions of a table: lo = bits of Table.hooks, hi = FORCE_*; -> 1 if this walker has them all, and none may sleep */
export const HOOK_SERVED: u32 = 31;

/** May this walker use `t`? Where there are several, each has the functions that the table calls, and they do not sleep [LCK-15]. */
export function isServed(t: Table): bool {
  if (!parallel() || (t.hooks === 0 && t.force !== FORCE_HOST)) return true;
  return <bool>hostHook(HOOK_SERVED, t.life, 0, t.hooks, t.force, 0);
}

/** Is `t` still the table whose handle this walker was given, and not another one in the same record? */
export function isSameLife(t: Table): bool {
  return t.life === walker().using;
}

/** Takes a table record, zeroed, for this walker to make a table in; 0 if none is free. It is no handle until `finishTable`. */
export function takeTable(): usize {
  const h = header();
  for (let i: u32 = 0; i < h.maxTables; i++) {
    const p: usize = h.tables + i * TABLE_BYTES;
    // Two walkers may make tables at once: the one that changes FREE has the record.
    if (!claim(p + offsetof<Table>("used"), FREE, walker().id + USED_BY)) continue;
    const t = changetype<Table>(p);
    if (t.life === 0) t.life = <u32>(p - base);
    return p;
  }
  return 0;
}

/** The record at `p` holds a table now; its handle. */
export function finishTable(p: usize): i32 {
  const t = changetype<Table>(p);
  walker().using = t.life;
  publish(p + offsetof<Table>("used"), MADE);
  return t.life;
}

/** `t` has a root. Whoever finds the root finds all that was written before. */
export function setRoot(t: Table, root: u32): void {
  publish(changetype<usize>(t) + offsetof<Table>("root"), root);
}

export function growthOf(t: Table): Growth {
  return changetype<Growth>(changetype<usize>(t) + LINE);
}

/** Adds `n`, negative too, to the table's pages; returns the sum. Walkers may do so at the same time; no order is needed, as nothing else depends on it. */
export function addPages(t: Table, n: i32): u32 {
  if (!parallel()) {
    growthOf(t).pages += n;
    return growthOf(t).pages;
  }
  return add(changetype<usize>(growthOf(t)) + offsetof<Growth>("pages"), n) + n;
}

/** The table has had `pages` pages at once. */
export function raisePeak(t: Table, pages: u32): void {
  const peak = changetype<usize>(growthOf(t)) + offsetof<Growth>("peak");
  for (let seen = peek(peak); <i32>(pages - seen) > 0; seen = peek(peak)) claim(peak, seen, pages);
}

/**
 * The first start table, 0 once destroyed. An atomic load: a lock-free section has just said where it is, and must not take
 * a root that it read before it said so [LCK-10].
 */
export function rootOf(t: Table): usize {
  return peek(changetype<usize>(t) + offsetof<Table>("root"));
}

/** The root, which is then gone; 0 if another walker was faster. */
export function takeRoot(t: Table): u32 {
  return swap(changetype<usize>(t) + offsetof<Table>("root"), 0);
}

/**
 * Gives the record of `t` back: begins its next life, zeroes it but for its lock, and only then marks it free. False if another walker did it.
 * `destroyer` is an atomic store: who claims it must see that nothing is `dying`.
 */
export function giveTable(t: Table): bool {
  const p = changetype<usize>(t),
    life = t.life,
    destroyer = offsetof<Table>("destroyer");
  if (!claim(p + offsetof<Table>("life"), life, nextLife(life))) return false;
  memory.fill(p, 0, offsetof<Table>("used"));
  memory.fill(p + offsetof<Table>("origin"), 0, offsetof<Table>("life") - offsetof<Table>("origin"));
  memory.fill(p + offsetof<Table>("dying"), 0, destroyer - offsetof<Table>("dying"));
  publish(p + destroyer, 0);
  memory.fill(p + LINE, 0, LINE);
  publish(p + offsetof<Table>("used"), FREE);
  return true;
}

/** Which of the engine's table slots `p` is. Precondition: a table handle. */
export function tableIndex(p: usize): u32 {
  demand(p >= header().tables && (p - header().tables) % TABLE_BYTES === 0, RULE_TABLE_RECORD);
  return (p - header().tables) / TABLE_BYTES;
}

export function tableOfIndex(i: u32): Table {
  return changetype<Table>(header().tables + i * TABLE_BYTES);
}
