// A slot goes: what it maps is found through its reverse maps, and taken without a lock [INV-1, INV-4, HZ-2].
//
//   1  no vCPU can map anything of the slot any more (slots.ts)
//   2  the slot is invalid; wait until nobody is left who took it for one in use
//   3  take all leaves, from the highest index down, and flush
//   4  wait until nobody searches its chains; then free chains and arrays [HZ-4]
//
// Upstream went another way and drops whole roots by a generation number [HZ-9]. Tables that become empty here stay where they are,
// as shadow pages do: whoever frees them needs the lock.

import { ENTRY_BYTES, FIRST_LEVEL, LAST_LEVEL } from "../../arch/granule";
import { add } from "../../memory/word";
import { OP_UNMAP } from "../../table/submit";
import { awaitReaders } from "../slots";
import { find, KEY_BITS, LEAF_BITS, NO_KEY, nextKey, previousKey } from "../sparse";
import { agent, Vm } from "../state";
import { dropAliases } from "./alias";
import { dropChain, entry, first, look, next, SKIP, skipWord } from "./chain";
import { announce, withdraw } from "./hazard";
import {
  awaitInside,
  flushTables,
  freeMemory,
  indexOf,
  invalidate,
  isDoubtful,
  Maps,
  Memory,
  mapsOf,
  memoryFrom,
  pendingWord,
  QUIRK_NO_GRACE,
  rootOf,
  unlist,
  vmOf,
} from "./maps";
import { takeLeaf } from "./operations";
import { byAddress } from "./ranges";

/** Leaves that are taken before their translations are flushed. */
const BATCH: u32 = 1 << 13;

/** Takes the leaf at `p`, which belongs to a batch that is pending before the leaf goes [HZ-2]. */
function takeInBatch(r: Maps, m: Memory, p: u32, level: i32, index: u32): bool {
  if (r.batch === 0) add(pendingWord(m), 1);
  if (takeLeaf(r, m, p, level, index)) {
    r.batch++;
    r.taken++;
    return true;
  }
  if (r.batch === 0) add(pendingWord(m), -1);
  return false;
}

/** What was taken is in no TLB any more; only now nobody else need flush it [HZ-5]. */
function flushBatch(r: Maps, m: Memory): void {
  if (r.batch === 0) return;
  flushTables(r);
  r.batch = 0;
  r.batches++;
  add(pendingWord(m), -1);
}

/** One head: between `announce` and `withdraw` nobody frees what its entries name. */
function takeHead(r: Maps, m: Memory, head: usize, level: i32, index: u32): void {
  announce(r, head);
  const value = look(head); // behind the announcement, as all loads of entries
  for (let at = first(head, value); at !== 0; at = next(head, at)) {
    const p = entry(at);
    if (p === 0 || p === SKIP || !takeInBatch(r, m, p, level, index)) continue;
    if (skipWord(at, p)) agent(vmOf(r)).entriesRemoved++;
  }
  withdraw(r);
}

/** All heads of a level, from the highest index down: whoever removes entries upwards rarely meets the unmapper. False if the slot is another one now. */
function takeLevel(r: Maps, m: Memory, level: i32, generation: u32): bool {
  const root = rootOf(m, level),
    last = min<u64>(indexOf(r, m, level, m.gpa + m.size - 1), ((<u64>1) << KEY_BITS) - 1);
  for (let i = previousKey(root, <u32>last); i !== NO_KEY; ) {
    const base = (i >> LEAF_BITS) << LEAF_BITS;
    for (let head = find(root, i); ; head -= ENTRY_BYTES, i--) {
      if (look(head) !== 0) {
        if (m.generation !== generation) return false; // [HZ-2]
        takeHead(r, m, head, level, i);
        if (r.batch >= BATCH) flushBatch(r, m);
      }
      if (i === base) break;
    }
    i = base === 0 ? NO_KEY : previousKey(root, base - 1);
  }
  return true;
}

/** Takes every leaf of an invalid slot, and flushes. Precondition: this is the one thread that changes slots. */
function takeAll(r: Maps, m: Memory): void {
  const generation = m.generation;
  for (let level = LAST_LEVEL; level >= FIRST_LEVEL; level--) if (!takeLevel(r, m, level, generation)) break;
  flushBatch(r, m);
}

/** Gives the chains of a level back. */
function dropLevel(r: Maps, m: Memory, level: i32): void {
  const root = rootOf(m, level);
  for (let i = nextKey(root, 0); i !== NO_KEY; ) {
    const end = ((i >> LEAF_BITS) + 1) << LEAF_BITS;
    for (let head = find(root, i); i < end; head += ENTRY_BYTES, i++) if (look(head) !== 0) dropChain(r, head);
    i = end >> KEY_BITS === 0 ? nextKey(root, end) : NO_KEY;
  }
}

/**
 * Unmaps the memory of a slot that is not in use any more, and forgets it. When this returns no translation of it is left.
 * Preconditions: nobody can fault in the slot any more, and this walker holds no lock.
 */
export function removeMemory(v: Vm, gpa: u64): void {
  const r = mapsOf(v),
    m = memoryFrom(r.first, gpa);
  if (!m) return;
  invalidate(m);
  const alone = awaitInside(v);
  if (alone) takeAll(r, m);
  if (!alone || isDoubtful(m)) byAddress(v, m.gpa, m.size, OP_UNMAP, 0);
  dropAliases(r, m.gpa, m.size);
  if (!alone) return; // somebody makes no progress: what it may read stays
  unlist(r, m);
  if (!(r.quirks & QUIRK_NO_GRACE) && !(awaitInside(v) && awaitReaders(v))) return;
  for (let level = FIRST_LEVEL; level <= LAST_LEVEL; level++) dropLevel(r, m, level);
  freeMemory(m);
}
