// Units: what the judge knows of 4K of table memory, word by word. A table of 16K or 64K is several units side by side.
//
// A unit's words        values u64 | obligations u32 | marks u32
// mark                  locked by CPU + 1 [7:0] | lent to CPU + 1 [15:8] | life [23:16]

import { CONTIGUOUS, VALID } from "../arch/descriptor";
import { ENTRY_BYTES, ENTRY_SHIFT, shift, UNIT_SHIFT } from "../arch/granule";
import { demand, RULE_JUDGED_WORD } from "../demand";
import { Root, rootAt } from "./root";
import { State, state, take, UNIT_ENTRIES } from "./state";

const HEADER: u32 = 128;
export const UNIT_BYTES: u32 = HEADER + UNIT_ENTRIES * 16;
const OBLIGATIONS: u32 = UNIT_ENTRIES * ENTRY_BYTES;
const MARKS: u32 = UNIT_ENTRIES * 12;

@unmanaged
export class Unit {
  /** Physical address >> 12. */
  key: u64;
  /** Input address of its first word, once linked. */
  base: u64;
  /** The root that it hangs below, or last hung below, and that root's serial. */
  root: u32;
  rootSerial: u32;
  level: i32;
  /** Unit and word whose descriptor names this table; 0 for none. */
  parent: u32;
  parentWord: u32;
  /** `serial` of the parent when it was linked. */
  parentSerial: u32;
  /** Differs for every page that was ever set up. */
  serial: u32;
  /** Valid words. */
  valid: u32;
  /** Times that this page was unlinked since it was set up, modulo 256. */
  life: u32;
  /** Start table of this root; 0 for none. */
  rootOf: u32;
  /** Valid words that say they are of a contiguous run. */
  contiguous: u32;
  /** It hangs in a table, or did, and nobody wrote to it since. */
  hung: bool;
  /** Physical address of the word that named it last: what comes back there has the same life. */
  place: u64;
  /** Cached standing, and the generation that it is of. */
  standing: u32;
  generation: u32;
  next: u32;
  /** Lock of the root that this page will be. */
  lock: u64;
  /** When it was retired, and by which record; 0: it was not. UNRETIRED: it is unlinked, and ought to be. */
  retired: u64;
  retiredBy: u64;
}

export const UNRETIRED: u64 = u64.MAX_VALUE;

/** Reachable from a root. */
export const LIVE: u32 = 1;
/** Nobody but its owner can see it. */
export const PRIVATE: u32 = 2;
/** Unlinked, and hardware may still use it. */
export const FROZEN: u32 = 3;

export function unitAt(p: u32): Unit {
  return changetype<Unit>(p);
}

export function pointer(u: Unit): u32 {
  return <u32>changetype<usize>(u);
}

export function valueAt(u: Unit, word: u32): usize {
  demand(word < UNIT_ENTRIES, RULE_JUDGED_WORD);
  return changetype<usize>(u) + HEADER + word * ENTRY_BYTES;
}

export function obligationAt(u: Unit, word: u32): usize {
  demand(word < UNIT_ENTRIES, RULE_JUDGED_WORD);
  return changetype<usize>(u) + HEADER + OBLIGATIONS + word * 4;
}

export function markAt(u: Unit, word: u32): usize {
  demand(word < UNIT_ENTRIES, RULE_JUDGED_WORD);
  return changetype<usize>(u) + HEADER + MARKS + word * 4;
}

export function wordOf(address: u64): u32 {
  return (<u32>address >> ENTRY_SHIFT) & (UNIT_ENTRIES - 1);
}

/** Is it a valid word that says it is of a contiguous run? */
function isRun(value: u64): u32 {
  return (value & (VALID | CONTIGUOUS)) === (VALID | CONTIGUOUS) ? 1 : 0;
}

/** The word holds another value than was known. */
export function amend(u: Unit, word: u32, value: u64): void {
  const at = valueAt(u, word),
    old = load<u64>(at);
  u.valid += (<u32>value & 1) - (<u32>old & 1);
  u.contiguous += isRun(value) - isRun(old);
  store<u64>(at, value);
}

/** The root that a page hangs below; null if that is gone. */
export function rootOf(u: Unit): Root {
  const r = rootAt(u.root);
  return r && r.serial === u.rootSerial ? r : rootAt(0);
}

/** The page hangs below `r`. */
export function setRoot(u: Unit, r: Root): void {
  u.root = <u32>changetype<usize>(r);
  u.rootSerial = r.serial;
}

/** The unit whose word once named this page, if that page still lives. */
export function parentOf(u: Unit): Unit {
  const parent = unitAt(u.parent);
  return parent && parent.serial === u.parentSerial ? parent : unitAt(0);
}

/** What one word of a table page covers. */
export function spanOf(r: Root, u: Unit): u64 {
  return (<u64>1) << shift(r.ps, u.level);
}

/** Input address of a word of a table page. */
export function inputOf(r: Root, u: Unit, word: u32): u64 {
  return u.base + ((<u64>word) << shift(r.ps, u.level));
}

/** Physical address of a word. */
export function addressOf(u: Unit, word: u32): u64 {
  return (u.key << UNIT_SHIFT) + ((<u64>word) << ENTRY_SHIFT);
}

function bucket(s: State, key: u64): u32 {
  return <u32>((key * 0x9e3779b97f4a7c15) >> 32) & s.hashMask;
}

// Hash of units: key + 1 u64, unit u32, by linear probing. A key that was removed keeps its place with unit 0.

/** The unit of the page at `address`; null where none is known. */
export function find(address: u64): Unit {
  const s = state(),
    key = address >> UNIT_SHIFT;
  if (key === s.lastKey) return unitAt(s.lastUnit);
  let i = bucket(s, key);
  while (true) {
    const at: usize = s.hash + (i << 4);
    const found = load<u64>(at);
    if (found === key + 1) {
      const u = load<u32>(at, 8);
      if (u) {
        s.lastKey = key;
        s.lastUnit = u;
      }
      return unitAt(u);
    }
    if (found === 0) return unitAt(0);
    i = (i + 1) & s.hashMask;
  }
}

function place(s: State, key: u64, unit: u32): void {
  let i = bucket(s, key);
  let at: usize = s.hash + (i << 4);
  while (load<u64>(at) !== 0 && load<u64>(at) !== key + 1) {
    i = (i + 1) & s.hashMask;
    at = s.hash + (i << 4);
  }
  if (load<u64>(at) === 0) s.hashUsed++;
  store<u64>(at, key + 1);
  store<u32>(at, unit, 8);
}

/** Bytes that `add` may need for `n` units. */
export function roomFor(n: u32): u32 {
  const s = state();
  const grow = s.hashUsed + n > s.hashMask >> 1;
  return n * (UNIT_BYTES + 16) + (grow ? (s.hashMask + 1 + 2 * n) * 64 : 0);
}

function grow(s: State): bool {
  const old = s.hash,
    count = s.hashMask + 1;
  const p = take(count * 32);
  if (!p) return false;
  s.hash = p;
  s.hashMask = count * 2 - 1;
  s.hashUsed = 0;
  for (let i: u32 = 0; i < count; i++) {
    const at: usize = old + (i << 4);
    if (load<u32>(at, 8)) place(s, load<u64>(at) - 1, load<u32>(at, 8));
  }
  return true;
}

/** A unit for the unknown page at `address`, all zero and private; null when memory is spent. */
export function add(address: u64): Unit {
  const s = state();
  if (s.hashUsed > s.hashMask >> 1 && !grow(s)) return unitAt(0);
  let p = s.freeUnits;
  if (p) {
    s.freeUnits = unitAt(p).next;
    memory.fill(p, 0, UNIT_BYTES);
  } else {
    p = take(UNIT_BYTES);
    if (!p) return unitAt(0);
  }
  const u = unitAt(p);
  u.key = address >> UNIT_SHIFT;
  u.serial = ++s.serial;
  place(s, u.key, p);
  if (address > s.highest) s.highest = address;
  return u;
}

/** Forgets a page. Its obligations are the caller's. */
export function remove(u: Unit): void {
  const s = state();
  place(s, u.key, 0);
  if (s.lastKey === u.key) s.lastKey = u64.MAX_VALUE;
  u.serial = 0;
  u.next = s.freeUnits;
  s.freeUnits = pointer(u);
  s.generation++;
}
