// What is done to all mappings of a range of a slot's memory, wherever they are: what notifiers and the dirty log ask for.

import { AF } from "../../arch/descriptor";
import { ENTRY_BYTES, FIRST_LEVEL, LAST_LEVEL } from "../../arch/granule";
import { S2_W } from "../../arch/stage2";
import { CACHE_NONE } from "../../memory/cache";
import { Table } from "../../memory/layout";
import { tableAt } from "../../memory/tables";
import { peek } from "../../memory/word";
import { flushRange, flushVmid } from "../../record/maintenance";
import { begin, end, modeOf, SHARES_TABLE } from "../../table/sharing";
import { OP_TEST_CLEAR_YOUNG, OP_UNMAP, OP_WRPROTECT, operate } from "../../table/submit";
import { find, KEY_BITS, LEAF_BITS, NO_KEY, nextKey } from "../sparse";
import { Vm } from "../state";
import { alias } from "./alias";
import { look } from "./chain";
import {
  enterMaps,
  firstMemory,
  flushTables,
  indexOf,
  isDoubtful,
  isInvalid,
  leaveMaps,
  Maps,
  Memory,
  mappedTable,
  mapsOf,
  pendingWord,
  QUIRK_NO_PENDING,
  rootOf,
  tally,
} from "./maps";
import { Invalid, Normal } from "./operations";

/** What is done to one head. */
@unmanaged
abstract class Action {
  abstract act(r: Maps, m: Memory, head: usize, level: i32, index: u32): u32;
}

@final
@unmanaged
class Unmap extends Action {
  @inline act(r: Maps, m: Memory, head: usize, level: i32, index: u32): u32 {
    if (isInvalid(m)) return changetype<Invalid>(0).unmap(r, m, head, level, index);
    return changetype<Normal>(0).unmap(r, m, head, level, index);
  }
}

/** Clears `bits` of all leaves of a head: 1 if one of them was set. */
function cleared(r: Maps, m: Memory, head: usize, level: i32, index: u32, bits: u64): u32 {
  if (isInvalid(m)) return changetype<Invalid>(0).clear(r, m, head, level, index, bits) ? 1 : 0;
  return changetype<Normal>(0).clear(r, m, head, level, index, bits) ? 1 : 0;
}

@final
@unmanaged
class WriteProtect extends Action {
  @inline act(r: Maps, m: Memory, head: usize, level: i32, index: u32): u32 {
    return cleared(r, m, head, level, index, S2_W);
  }
}

@final
@unmanaged
class Age extends Action {
  @inline act(r: Maps, m: Memory, head: usize, level: i32, index: u32): u32 {
    return cleared(r, m, head, level, index, AF);
  }
}

@final
@unmanaged
class IsYoung extends Action {
  @inline act(r: Maps, m: Memory, head: usize, level: i32, index: u32): u32 {
    return !isInvalid(m) && changetype<Normal>(0).has(r, m, head, level, index, AF) ? 1 : 0;
  }
}

/** Acts on the heads of [gpa, gpa + size) at one level; the sum of what the actions say. */
function eachHead<A extends Action>(r: Maps, m: Memory, level: i32, gpa: u64, size: u64): u32 {
  const root = rootOf(m, level),
    last = <u32>min<u64>(indexOf(r, m, level, gpa + size - 1), ((<u64>1) << KEY_BITS) - 1),
    from = indexOf(r, m, level, gpa);
  let n: u32 = 0;
  if (from > last) return 0;
  for (let i = nextKey(root, <u32>from); i <= last && i !== NO_KEY; ) {
    const stop = min(last, i | ((1 << LEAF_BITS) - 1));
    for (let head = find(root, i); i <= stop; head += ENTRY_BYTES, i++) {
      if (look(head) !== 0) n += changetype<A>(0).act(r, m, head, level, i);
    }
    if (i > last) break;
    i = nextKey(root, i);
  }
  return n;
}

/** Acts on all levels. Blocks count for more than all pages together, so that the caller can tell that there were some. */
function eachLevel<A extends Action>(r: Maps, m: Memory, gpa: u64, size: u64): u64 {
  let n: u64 = 0;
  for (let level = FIRST_LEVEL; level <= LAST_LEVEL; level++) {
    if (peek(rootOf(m, level)) === 0) continue;
    n += (<u64>eachHead<A>(r, m, level, gpa, size)) << (level === LAST_LEVEL ? 0 : 32);
  }
  return n;
}

// --- locks and flushes ------------------------------------------------------------------------

/** Holds all tables for writing; a set of those that it holds, bit by bit. One whose holder makes no progress is left out. */
function lockTables(r: Maps): u32 {
  let held: u32 = 0;
  for (let i: u32 = 0; i < r.tables; i++) {
    const t = mappedTable(r, i);
    if (t && begin(tableAt(t.life), modeOf(t, SHARES_TABLE, 0)) === 0) held |= 1 << i;
  }
  return held;
}

function unlockTables(r: Maps, held: u32): void {
  for (let i = r.tables; i-- !== 0; ) if (held & (1 << i)) unlock(mappedTable(r, i));
}

function unlock(t: Table): void {
  if (t) end(t, modeOf(t, SHARES_TABLE, 0));
}

/** Flushes what may map [gpa, gpa + size): in the VM's table by address, aliases too; in shadows, where nobody knows the address, all. */
export function flushMapped(v: Vm, gpa: u64, size: u64): void {
  const r = mapsOf(v),
    t = mappedTable(r, 0);
  if (t) flushRange(t, gpa, size);
  flushOthers(v, gpa, size);
}

/** The same without the addresses of the memory itself. */
export function flushOthers(v: Vm, gpa: u64, size: u64): void {
  const r = mapsOf(v),
    t = mappedTable(r, 0);
  for (let i: u32 = 0; t && i < r.aliases; i++) {
    const a = alias(r, i),
      from = max(gpa, a.gpa),
      to = min(gpa + size, a.gpa + a.size);
    if (from < to) flushRange(t, a.ipa + (from - a.gpa), to - from);
  }
  for (let i: u32 = 1; i < r.tables; i++) {
    const shadow = mappedTable(r, i);
    if (shadow) flushVmid(shadow);
  }
}

function flushTaken(v: Vm, n: u64, gpa: u64, size: u64): void {
  if (n >> 32 !== 0)
    flushTables(mapsOf(v)); // a block may have been more than the range, wherever it was mapped
  else if (n !== 0) flushMapped(v, gpa, size);
}

// --- without entries --------------------------------------------------------------------------

/** The operation on every address that may map [gpa, gpa + size), where entries are missing. In shadows on all there is. */
export function byAddress(v: Vm, gpa: u64, size: u64, op: u32, level: i32): i32 {
  const r = mapsOf(v);
  let status = operate(op, v.table, 0, CACHE_NONE, gpa, size, 0, 0, level);
  for (let i: u32 = 0; i < r.aliases; i++) {
    const a = alias(r, i),
      from = max(gpa, a.gpa),
      to = min(gpa + size, a.gpa + a.size);
    if (from < to) status |= operate(op, v.table, 0, CACHE_NONE, a.ipa + (from - a.gpa), to - from, 0, 0, level);
  }
  for (let i: u32 = 1; i < r.tables; i++) {
    const t = mappedTable(r, i);
    if (t) status |= operate(op, t.life, 0, CACHE_NONE, 0, t.inputEnd, 0, 0, level);
  }
  return status;
}

/** Acts on the parts of [gpa, gpa + size) that are the memory of slots in use. */
function onRange<A extends Action>(v: Vm, gpa: u64, size: u64, op: u32, level: i32): u64 {
  const r = mapsOf(v);
  let n: u64 = 0,
    doubtful: bool = false;
  enterMaps(v);
  const held = lockTables(r);
  for (let m = changetype<Memory>(firstMemory(r)); m; m = changetype<Memory>(m.next)) {
    const from = max(gpa, m.gpa),
      to = min(gpa + size, m.gpa + m.size);
    if (from >= to || isInvalid(m)) continue;
    n += eachLevel<A>(r, m, from, to - from);
    doubtful = doubtful || isDoubtful(m);
  }
  if (op === OP_UNMAP) flushTaken(v, n, gpa, size);
  unlockTables(r, held);
  if (doubtful && byAddress(v, gpa, size, op, level) > 0) n |= 1;
  leaveMaps(v);
  return n;
}

/** Unmaps all mappings of a range of memory, and flushes. */
export function unmapThrough(v: Vm, gpa: u64, size: u64): void {
  onRange<Unmap>(v, gpa, size, OP_UNMAP, 0);
}

/** Removes write permission of all mappings of a range. The caller flushes, `flushOthers` too. */
export function protectThrough(v: Vm, gpa: u64, size: u64): void {
  onRange<WriteProtect>(v, gpa, size, OP_WRPROTECT, 0);
}

/** Was one of the mappings of a range accessed? With `clear` their access flags are clear afterwards. */
export function ageThrough(v: Vm, gpa: u64, size: u64, clear: bool): bool {
  if (clear) return onRange<Age>(v, gpa, size, OP_TEST_CLEAR_YOUNG, 1) !== 0;
  return onRange<IsYoung>(v, gpa, size, OP_TEST_CLEAR_YOUNG, 0) !== 0;
}

/**
 * The host is about to change [start, end): what a slot on its way out still maps of it goes, and what the unmapper has taken is flushed
 * before this returns, by whoever is first [HZ-5]. How many such slots there were.
 */
export function unmapInvalid(v: Vm, start: u64, end: u64): u32 {
  const r = mapsOf(v);
  let met: u32 = 0;
  enterMaps(v);
  const held = lockTables(r);
  for (let m = changetype<Memory>(firstMemory(r)); m; m = changetype<Memory>(m.next)) {
    const from = max(start, m.hva),
      to = min(end, m.hva + m.size);
    if (from >= to || !isInvalid(m)) continue;
    met++;
    const gpa = m.gpa + (from - m.hva),
      n = eachLevel<Unmap>(r, m, gpa, to - from);
    flushTaken(v, n, gpa, to - from);
    if (!(r.quirks & QUIRK_NO_PENDING) && peek(pendingWord(m)) !== 0) {
      tally(r, offsetof<Maps>("pendingFlushes"));
      flushMapped(v, m.gpa, m.size);
    }
  }
  unlockTables(r, held);
  leaveMaps(v);
  return met;
}
