// What can be done to the reverse map of one page: two tables of operations, chosen by the state of the slot [INV-1, INV-2].
//
//                  a slot in use                     an invalid slot
//   add            one more entry                    nothing
//   remove         the entry goes                    clear concurrently, then sync
//   unmap          all leaves and entries go         all leaves go, entries become SKIP, then sync
//   writeProtect   all leaves lose W                 nothing
//   age            all leaves lose AF                nothing
//
// A leaf is taken by a compare-exchange: the MMU may set its access flag or dirty state at any time, and the unmapper takes leaves
// without a lock. Only a leaf that maps the page of this head is taken; the locked marker belongs to whoever put it there.

import { isTable, isValid } from "../../arch/descriptor";
import { compareExchange, read } from "../../memory/cell";
import { addReferences } from "../../memory/frames";
import { virtToPhys } from "../../memory/layout";
import { C_LEAVES_CLEARED, count } from "../../record/counters";
import { beginWrite, endWrite, J_WRITE_SHARED, journalling, record } from "../../record/journal";
import { agent } from "../state";
import {
  addEntry,
  entry,
  first,
  LOCKED,
  lockHead,
  look,
  NO_ENTRY,
  next,
  removeEntry,
  SKIP,
  skipEntry,
  skipWord,
  unlockHead,
  without,
} from "./chain";
import { sync } from "./hazard";
import { doubtMemory, flushTables, gpaOf, indexOf, Maps, Memory, mappedTable, pageOf, tally, vmOf } from "./maps";

/** A chain of more entries is emptied, all its leaves with it [RMAP-8]. */
const LONGEST: i32 = 1000;

/** One page of a slot: its head, and which it is. */
@unmanaged
export abstract class Operations {
  abstract add(r: Maps, m: Memory, head: usize, p: u32, level: i32, index: u32): void;
  abstract remove(r: Maps, head: usize, p: u32): bool;
  /** How many leaves went. */
  abstract unmap(r: Maps, m: Memory, head: usize, level: i32, index: u32): u32;
  /** Clears `bits` of the leaves; was one of them set? */
  abstract clear(r: Maps, m: Memory, head: usize, level: i32, index: u32, bits: u64): bool;
}

/** Is `leaf` a leaf of the page that head `index` of `level` knows? */
function isOf(r: Maps, m: Memory, leaf: u64, level: i32, index: u32): bool {
  return isValid(leaf) && !isTable(leaf, level) && indexOf(r, m, level, gpaOf(r, leaf)) === index;
}

/** Puts `changed` in place of the leaf `old` at `p`; false if somebody was faster. The judge sees a write without a lock. */
function exchangeLeaf(r: Maps, p: u32, old: u64, changed: u64, level: i32): bool {
  const watched = journalling();
  if (watched) beginWrite();
  const won = compareExchange(p, old, changed);
  if (watched) {
    if (won) record(J_WRITE_SHARED, changetype<usize>(mappedTable(r, 0)), level, virtToPhys(p), old, changed);
    endWrite();
  }
  return won;
}

/** Takes the leaf at `p`, and counts that it is gone; false if there is none of this page. The caller flushes. */
export function takeLeaf(r: Maps, m: Memory, p: u32, level: i32, index: u32): bool {
  for (let old = read(p, true); isOf(r, m, old, level, index); old = read(p, true)) {
    if (!exchangeLeaf(r, p, old, 0, level)) continue; // the hardware was faster, or whoever takes the slot
    countTaken(r, p);
    return true;
  }
  return false;
}

/** The table page of `p` has one entry fewer. It is still used: whoever frees it has to wait [HZ-6]. */
function countTaken(r: Maps, p: u32): void {
  addReferences(pageOf(r, p), -1);
  count(C_LEAVES_CLEARED, 1);
}

@final
@unmanaged
export class Normal extends Operations {
  @inline add(r: Maps, m: Memory, head: usize, p: u32, level: i32, index: u32): void {
    const before = addEntry(r, head, p);
    if (before === NO_ENTRY) return doubtMemory(m);
    agent(vmOf(r)).entriesMade++;
    if (before < LONGEST) return;
    emptyChain(r, m, head, level, index); // but for the new entry, whose leaf is not there yet
    flushTables(r);
    tally(r, offsetof<Maps>("recycled"));
  }

  @inline remove(r: Maps, head: usize, p: u32): bool {
    if (!removeEntry(r, head, p)) return false;
    agent(vmOf(r)).entriesRemoved++;
    return true;
  }

  @inline unmap(r: Maps, m: Memory, head: usize, level: i32, index: u32): u32 {
    return emptyChain(r, m, head, level, index);
  }

  @inline clear(r: Maps, m: Memory, head: usize, level: i32, index: u32, bits: u64): bool {
    const value = lockHead(head);
    let seen: bool = false;
    if (value === LOCKED) return false;
    for (let at = first(head, value); at !== 0; at = next(head, at)) {
      const p = entry(at);
      for (let old = read(p, true); isOf(r, m, old, level, index) && old & bits; old = read(p, true)) {
        if (exchangeLeaf(r, p, old, old & ~bits, level)) seen = true;
      }
    }
    unlockHead(head, value);
    return seen;
  }

  /** Has one of the leaves one of `bits`? */
  @inline has(r: Maps, m: Memory, head: usize, level: i32, index: u32, bits: u64): bool {
    const value = lockHead(head);
    let seen: bool = false;
    if (value === LOCKED) return false;
    for (let at = first(head, value); at !== 0 && !seen; at = next(head, at)) {
      const leaf = read(entry(at), true);
      seen = isOf(r, m, leaf, level, index) && (leaf & bits) !== 0;
    }
    unlockHead(head, value);
    return seen;
  }
}

/** Takes all leaves of a chain and their entries; how many. An entry whose leaf is not there yet belongs to whoever makes it. */
function emptyChain(r: Maps, m: Memory, head: usize, level: i32, index: u32): u32 {
  let value = lockHead(head),
    n: u32 = 0;
  if (value === LOCKED) return 0;
  for (let at = first(head, value); at !== 0; ) {
    if (!takeLeaf(r, m, entry(at), level, index)) {
      at = next(head, at);
      continue;
    }
    value = without(r, value, at);
    at = first(head, value); // a removal moves entries: it starts again [RMAP-6]
    n++;
  }
  unlockHead(head, value);
  agent(vmOf(r)).entriesRemoved += n;
  return n;
}

@final
@unmanaged
export class Invalid extends Operations {
  /** Its slot is not in use: what is mapped there is nothing that lasts. */
  @inline add(_r: Maps, _m: Memory, _head: usize, _p: u32, _level: i32, _index: u32): void {}

  @inline remove(r: Maps, head: usize, p: u32): bool {
    const found = skipEntry(head, p);
    if (found) agent(vmOf(r)).entriesRemoved++;
    sync(r, head); // also if it was not there: the unmapper may have taken it and still be here [INV-14]
    return found;
  }

  @inline unmap(r: Maps, m: Memory, head: usize, level: i32, index: u32): u32 {
    let n: u32 = 0;
    for (let at = first(head, look(head)); at !== 0; at = next(head, at)) {
      const p = entry(at);
      if (p === SKIP || p === 0 || !takeLeaf(r, m, p, level, index)) continue;
      n++;
      if (skipWord(at, p)) agent(vmOf(r)).entriesRemoved++;
    }
    sync(r, head);
    return n;
  }

  @inline clear(_r: Maps, _m: Memory, _head: usize, _level: i32, _index: u32, _bits: u64): bool {
    return false;
  }
}
