// The reverse maps of a VM: which descriptors map a page of guest memory [RMAP-1, RMAP-9]. One block of the arena:
//
//   byte    0  Maps: the VM, what it was told, counts
//         128  the hazard word: the head that the unmapper is in, 0 for none (hazard.ts)
//         256  the pool of descriptors of chains (pool.ts)
//         384  the tables whose leaves are known: that of the VM, and its shadows
//         512  aliases (alias.ts)
//
// Each slot has a Memory: for every level an array of heads, as sparse as its population. KVM has reverse maps for shadow pages
// on x86; on arm64 it has none, and finds what maps a page by its guest address. Here a page may have several: aliases, and
// shadow tables, as for a guest of the guest.
//
// Who may look at a Memory: walkers inside an operation that VM counts in `Agent.inside`. A Memory is put in front of the list
// before it is used, and taken out by the one thread that changes slots; it goes when nobody is inside who may have seen it.

import { decodeAddress } from "../../arch/descriptor";
import { FIRST_LEVEL, LAST_LEVEL, pageBytes, shift } from "../../arch/granule";
import { EBUSY, EINVAL, ENOMEM, OK } from "../../memory/errno";
import { giveFrames, takeFrames } from "../../memory/frames";
import { handOver } from "../../memory/intent";
import { header, parallel, T_FWB, Table } from "../../memory/layout";
import { tableAt } from "../../memory/tables";
import { isTooLate, nap } from "../../memory/wait";
import { add, peek, publish } from "../../memory/word";
import { flushVmid } from "../../record/maintenance";
import { drop, find, KEY_BITS, make } from "../sparse";
import { Agent, agent, agentOf, tableOf, Vm } from "../state";
import { dropDescriptors } from "./pool";

/** Tables whose leaves are known, at most. */
export const MAX_MAPPED_TABLES: u32 = 16;

// Maps.quirks: what the series of 2013 does, each hole of [INV-14] by itself.
/** A remover looks for a leaf among the slots in use alone, not in the one that is on its way out. */
export const QUIRK_CURRENT_SLOTS: u32 = 1 << 0;
/** Descriptors and arrays are freed as soon as the unmapper is through, though a remover may be searching them. */
export const QUIRK_NO_GRACE: u32 = 1 << 1;
/** Who finds an entry empty does not wait for whoever emptied it. */
export const QUIRK_SKIPS_ABSENT: u32 = 1 << 2;
/** A notifier that finds nothing returns, though the unmapper has not flushed yet. */
export const QUIRK_NO_PENDING: u32 = 1 << 3;
export const QUIRKS_2013: u32 = QUIRK_CURRENT_SLOTS | QUIRK_NO_GRACE | QUIRK_SKIPS_ABSENT | QUIRK_NO_PENDING;

@view()
@unmanaged
export class Maps {
  /** Pointer of the VM. */
  vm: u32;
  /** QUIRK_* */
  quirks: u32;
  /** log2 of the granule, and how descriptors pack addresses, of all tables. */
  ps: u32;
  layout: u32;
  /** Pointer of the first Memory, the newest. */
  first: u32;
  /** Tables and aliases that there are. */
  tables: u32;
  aliases: u32;
  /** Number of the next Memory. */
  generation: u32;
  // Counts, of all walkers together.
  /** Times that somebody waited for the unmapper to leave a head, and times that it did not come. */
  waits: u32;
  abandoned: u32;
  /** Flushes of the unmapper, and of notifiers that found one of them pending. */
  batches: u32;
  pendingFlushes: u32;
  /** Chains that were emptied because they were too long [RMAP-8]. */
  recycled: u32;
  /** Leaves that the unmapper took, and those of them that are not flushed yet. */
  taken: u32;
  batch: u32;
}

/** The reverse maps of one life of a slot. */
@unmanaged
export class Memory {
  /** Pointer of the next older one. */
  next: u32;
  /** NORMAL, or INVALID once its slot is on its way out. */
  state: u32;
  /** Which life of all that there were. */
  generation: u32;
  id: u32;
  gpa: u64;
  size: u64;
  hva: u64;
  /** Batches of the unmapper that were cleared and not flushed yet [HZ-1]. */
  pending: u32;
  /** There was no memory for an entry once: what it maps is found by address from then on. */
  doubtful: u32;
  /** Top nodes of the heads of FIRST_LEVEL.. */
  heads: u32;
}

export const NORMAL: u32 = 0;
export const INVALID: u32 = 1;

/** Bytes of each part of the block but the last, on cache lines of its own. */
const PART: u32 = 128;
/** Where the hazard word is in Maps. */
export const HAZARD_AT: u32 = PART;
const POOL_AT: u32 = 2 * PART;
const TABLES_AT: u32 = 3 * PART;
const ALIASES_AT: u32 = 4 * PART;

export function mapsAt(p: u32): Maps {
  return changetype<Maps>(p);
}

export function vmOf(r: Maps): Vm {
  return changetype<Vm>(r.vm);
}

/** The reverse maps of a VM; null if it has none. */
export function mapsOf(v: Vm): Maps {
  return changetype<Maps>(v.rmaps);
}

export function hazardWord(r: Maps): usize {
  return changetype<usize>(r) + HAZARD_AT;
}

export function poolAt(r: Maps): usize {
  return changetype<usize>(r) + POOL_AT;
}

export function aliasAt(r: Maps, bytes: u32, i: u32): usize {
  return changetype<usize>(r) + ALIASES_AT + i * bytes;
}

function tableWord(r: Maps, i: u32): usize {
  return changetype<usize>(r) + TABLES_AT + (i << 2);
}

/** Table `i`; null once it was given back. Table 0 is the VM's own. It is not this walker's to use yet (memory/tables.ts). */
export function mappedTable(r: Maps, i: u32): Table {
  const t = changetype<Table>(peek(tableWord(r, i)));
  return t.rmaps === <u32>changetype<usize>(r) ? t : changetype<Table>(0);
}

/** Flushes all translations of all tables. */
export function flushTables(r: Maps): void {
  for (let i: u32 = 0; i < r.tables; i++) {
    const t = mappedTable(r, i);
    if (t) flushVmid(t);
  }
}

/** Adds one to a count of Maps; no order is needed. */
export function tally(r: Maps, field: usize): void {
  add(changetype<usize>(r) + field, 1);
}

// --- their life -------------------------------------------------------------------------------

/** Gives the VM reverse maps. EINVAL if it has them, or for a table without forced write-back; ENOMEM. Precondition: nothing is mapped. */
export function createMaps(v: Vm, quirks: u32): i32 {
  if (v.rmaps !== 0 || quirks & ~QUIRKS_2013) return EINVAL;
  const p = takeFrames(0);
  if (!p) return ENOMEM;
  const r = changetype<Maps>(p),
    t = tableOf(v);
  r.vm = <u32>changetype<usize>(v);
  r.quirks = quirks;
  r.ps = v.ps;
  r.layout = t.addressLayout;
  const bad = addTable(r, v.table);
  if (bad) {
    giveFrames(p);
    return bad;
  }
  v.rmaps = <u32>p;
  handOver();
  return OK;
}

/** The leaves of one more table are known from now on. EINVAL unless it is empty and its descriptors are as those of the VM's; EBUSY when there are too many. */
export function addTable(r: Maps, table: u32): i32 {
  const t = tableAt(table);
  if (t.rmaps !== 0 || t.ps !== r.ps || t.addressLayout !== r.layout || !(t.flags & T_FWB)) return EINVAL;
  if (r.tables >= MAX_MAPPED_TABLES) return EBUSY;
  t.rmaps = <u32>changetype<usize>(r);
  publish(tableWord(r, r.tables), <u32>changetype<usize>(t));
  r.tables++;
  return OK;
}

/** Forgets all that is known, without a look at the tables. Precondition: nobody is inside. */
export function discardMaps(v: Vm): void {
  const r = mapsOf(v);
  if (!r) return;
  for (let i: u32 = 0; i < r.tables; i++) {
    const t = mappedTable(r, i);
    if (t) t.rmaps = 0;
  }
  while (r.first !== 0) {
    const m = changetype<Memory>(r.first);
    r.first = m.next;
    freeMemory(m);
  }
  dropDescriptors(poolAt(r));
  v.rmaps = 0;
  giveFrames(changetype<usize>(r));
}

function firstWord(r: Maps): usize {
  return changetype<usize>(r) + offsetof<Maps>("first");
}

/** The reverse maps of a slot that is about to be there; ENOMEM. */
export function addMemory(r: Maps, id: u32, gpa: u64, size: u64, hva: u64): i32 {
  const p = <u32>takeFrames(0);
  if (p === 0) return ENOMEM;
  const m = changetype<Memory>(p);
  m.next = r.first;
  m.generation = ++r.generation;
  m.id = id;
  m.gpa = gpa;
  m.size = size;
  m.hva = hva;
  publish(firstWord(r), p);
  handOver();
  return OK;
}

/** Takes `m` out of the list. It may still be seen until everybody has left who is inside. */
export function unlist(r: Maps, m: Memory): void {
  let word = firstWord(r);
  while (peek(word) !== <u32>changetype<usize>(m)) word = changetype<usize>(peek(word)) + offsetof<Memory>("next");
  publish(word, m.next);
}

/** Gives the arrays and `m` back; its chains have gone. Precondition: nobody may see it. */
export function freeMemory(m: Memory): void {
  for (let level = FIRST_LEVEL; level <= LAST_LEVEL; level++) drop(topOf(m, level));
  giveFrames(changetype<usize>(m));
}

// --- who is inside ----------------------------------------------------------------------------

function insideWord(a: Agent): usize {
  return changetype<usize>(a) + offsetof<Agent>("inside");
}

/**
 * This walker may be in a chain, or about to free a page that an entry names, until it leaves. Not nested. The store must not pass the
 * loads behind it, nor the store of `state` or of the list the loads of these words: sequential consistency, as in slots.ts.
 */
export function enterMaps(v: Vm): void {
  if (v.rmaps !== 0) publish(insideWord(agent(v)), agent(v).inside + 1);
}

export function leaveMaps(v: Vm): void {
  if (v.rmaps !== 0) publish(insideWord(agent(v)), agent(v).inside + 1);
}

/** Waits until everybody has left who was inside; false if one makes no progress. Precondition: this walker is not inside. */
export function awaitInside(v: Vm): bool {
  if (!parallel()) return true;
  for (let id: u32 = 0; id < header().maxWalkers; id++) {
    const word = insideWord(agentOf(v, id)),
      seen = peek(word);
    for (let i: u32 = 0; seen & 1 && peek(word) === seen; i++) {
      if (isTooLate(i)) return false;
      nap(i);
    }
  }
  return true;
}

// --- finding a head ---------------------------------------------------------------------------

export function rootOf(m: Memory, level: i32): usize {
  return changetype<usize>(m) + offsetof<Memory>("heads") + ((<usize>(level - FIRST_LEVEL)) << 2);
}

function topOf(m: Memory, level: i32): u32 {
  return peek(rootOf(m, level));
}

/** The newest Memory from `p` on that has guest address `gpa`; null if there is none. */
export function memoryFrom(p: u32, gpa: u64): Memory {
  let m = changetype<Memory>(p);
  while (m && gpa - m.gpa >= m.size) m = changetype<Memory>(m.next);
  return m;
}

/** The first of the list. */
export function firstMemory(r: Maps): u32 {
  return peek(firstWord(r));
}

export function isInvalid(m: Memory): bool {
  return peek(changetype<usize>(m) + offsetof<Memory>("state")) === INVALID;
}

export function invalidate(m: Memory): void {
  publish(changetype<usize>(m) + offsetof<Memory>("state"), INVALID);
}

/** Guest address that a leaf maps, whatever its input address. */
export function gpaOf(r: Maps, leaf: u64): u64 {
  return decodeAddress(r.layout, r.ps, leaf) - vmOf(r).physBase;
}

/** Number of the head of `gpa` at `level` [RMAP-1]. */
export function indexOf(r: Maps, m: Memory, level: i32, gpa: u64): u64 {
  const sh = shift(r.ps, level);
  return (gpa >> sh) - (m.gpa >> sh);
}

/** The guest address where the leaf of head `index` begins. */
export function gpaOfIndex(r: Maps, m: Memory, level: i32, index: u32): u64 {
  const sh = shift(r.ps, level);
  return ((m.gpa >> sh) + index) << sh;
}

/** The head of `gpa`; 0 if it has none yet. */
export function findHead(r: Maps, m: Memory, level: i32, gpa: u64): usize {
  const index = indexOf(r, m, level, gpa);
  return index >> KEY_BITS === 0 ? find(rootOf(m, level), <u32>index) : 0;
}

/** The head of `gpa`, made if there is none; 0 when memory is spent. */
export function makeHead(r: Maps, m: Memory, level: i32, gpa: u64): usize {
  const index = indexOf(r, m, level, gpa);
  return index >> KEY_BITS === 0 ? make(rootOf(m, level), <u32>index, 0) : 0;
}

/** There is a leaf without an entry: what the slot maps is found by address from now on. */
export function doubtMemory(m: Memory): void {
  publish(changetype<usize>(m) + offsetof<Memory>("doubtful"), 1);
}

export function isDoubtful(m: Memory): bool {
  return peek(changetype<usize>(m) + offsetof<Memory>("doubtful")) !== 0;
}

export function pendingWord(m: Memory): usize {
  return changetype<usize>(m) + offsetof<Memory>("pending");
}

/** The table page that holds the slot at `p`. */
export function pageOf(r: Maps, p: usize): usize {
  return p & ~(<usize>pageBytes(r.ps) - 1);
}
