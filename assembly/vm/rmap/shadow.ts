// Shadows: tables that map the memory of slots at addresses of their own, as KVM keeps for a guest's guest. And what a head knows,
// for whoever wants to look.

import { FIRST_LEVEL, LAST_LEVEL } from "../../arch/granule";
import { CACHE_OWN } from "../../memory/cache";
import { EINVAL, OK } from "../../memory/errno";
import { header, parallel } from "../../memory/layout";
import { tableAt } from "../../memory/tables";
import { OP_DESTROY, OP_MAP, OP_UNMAP, operate, SUBMIT_TOP_UP } from "../../table/submit";
import { drain } from "../../table/teardown";
import { HANDLE_FAULT, SHARED } from "../../table/walk";
import { beginReading, endReading, findSlot } from "../slots";
import { agent, agentOf, Slot, Vm } from "../state";
import { countOf, entry, first, isChain, look, next } from "./chain";
import { enterMaps, findHead, firstMemory, leaveMaps, mapsOf, memoryFrom } from "./maps";

/** Is `table` one whose leaves the VM knows, and not its own? */
export function isShadow(v: Vm, table: u32): bool {
  return v.rmaps !== 0 && table !== v.table && tableAt(table).rmaps === v.rmaps;
}

/** Does [gpa, gpa + size) lie in one slot? */
export function isMemory(v: Vm, gpa: u64, size: u64): bool {
  const s = findSlot(v, gpa);
  return contains(s, gpa, size);
}

function contains(s: Slot, gpa: u64, size: u64): bool {
  return s && size !== 0 && size <= s.size && gpa - s.gpa <= s.size - size;
}

/** Maps [ipa, ipa + size) of a shadow to memory of a slot; EINVAL for what is none, or the map's errno. */
export function mapShadow(v: Vm, table: u32, ipa: u64, gpa: u64, size: u64, prot: u32): i32 {
  const a = agent(v);
  beginReading(a); // the slot stays while it is being mapped
  const flags = HANDLE_FAULT | SUBMIT_TOP_UP | (parallel() ? SHARED : 0);
  let status: i32 = EINVAL;
  if (isMemory(v, gpa, size)) {
    enterMaps(v);
    status = operate(OP_MAP, table, flags, CACHE_OWN, ipa, size, v.physBase + gpa, prot, 0);
    leaveMaps(v);
  }
  endReading(a);
  return status;
}

/** Unmaps [ipa, ipa + size) of a shadow; of size 0 all of it, tables and root too, at once. */
export function dropShadow(v: Vm, table: u32, ipa: u64, size: u64): i32 {
  enterMaps(v);
  const status = operate(size === 0 ? OP_DESTROY : OP_UNMAP, table, 0, 0, ipa, size, 0, 0, 0);
  leaveMaps(v);
  return status;
}

/** Frees what was unlinked from tables with reverse maps: only an instance that keeps account of their leaves may do it. */
export function reclaim(v: Vm): i32 {
  enterMaps(v);
  const late = drain();
  leaveMaps(v);
  return late;
}

// What `mappings` answers beside the count of entries.
/** The head has a chain. */
export const MAPPINGS_CHAIN: u32 = 1 << 30;

/**
 * Copies the entries of the head of `gpa` at `level` to `out`, `most` words at most: how many there are, and MAPPINGS_CHAIN. EINVAL outside
 * the slots. Precondition: nobody changes the chain.
 */
export function mappings(v: Vm, gpa: u64, level: i32, out: usize, most: u32): i32 {
  const r = mapsOf(v),
    m = memoryFrom(firstMemory(r), gpa);
  if (!m || level < FIRST_LEVEL || level > LAST_LEVEL) return EINVAL;
  const head = findHead(r, m, level, gpa);
  if (head === 0) return OK;
  const value = look(head);
  let n: u32 = 0;
  for (let at = first(head, value); at !== 0 && n < most; at = next(head, at)) {
    store<u32>(out + (n << 2), entry(at));
    n++;
  }
  return countOf(value) | (isChain(value) ? MAPPINGS_CHAIN : 0);
}

/** Entries of all reverse maps. */
export function entriesOf(v: Vm): u32 {
  let n: u32 = 0;
  for (let id: u32 = 0; id < header().maxWalkers; id++) n += agentOf(v, id).entriesMade - agentOf(v, id).entriesRemoved;
  return n;
}
