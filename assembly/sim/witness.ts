// The witness of dirty logging. Every store of every CPU is counted by page, and whoever collects a dirty log copies the counts of
// the pages that are reported, as a migration copies the pages. If the last collection of a guest that stands still leaves a
// count that was not copied, a store went unlogged [DBM-10].

import { UNIT_SHIFT } from "../arch/granule";
import { takeFrames } from "../memory/frames";
import { handOver } from "../memory/intent";
import { WORD_SHIFT } from "../vm/dirty/bitmap";
import { reported } from "../vm/dirty/log";
import { offsetOf } from "../vm/rmap/alias";
import { Slot } from "../vm/state";
import { CHUNKS, Cpu, copiedWord, cpuAt, Machine, storesWord, vmOf } from "./machine";

const COUNT_SHIFT: u32 = 2;
/** log2 of the block of a chunk in units, and of the counts in it. */
const CHUNK_ORDER: u32 = isDefined(EXPLORE) ? 0 : 8;
const CHUNK_PAGES_SHIFT: u32 = CHUNK_ORDER + UNIT_SHIFT - COUNT_SHIFT;

/** The chunk that the word at `p` names, made if there is none; 0 when memory is spent. */
function chunk(p: usize): u32 {
  const there = load<u32>(p);
  if (there !== 0) return there;
  const made = <u32>takeFrames(CHUNK_ORDER);
  store<u32>(p, made);
  if (made !== 0) handOver();
  return made;
}

function within(page: u32): u32 {
  return (page & ((1 << CHUNK_PAGES_SHIFT) - 1)) << COUNT_SHIFT;
}

/** Counts a store of the CPU to the page of `addr`. Pages beyond all chunks are not counted. */
export function witness(m: Machine, cpu: Cpu, addr: u64): void {
  const page = <u32>((addr - offsetOf(vmOf(m), addr)) >> vmOf(m).ps),
    i = page >> CHUNK_PAGES_SHIFT;
  if (i >= CHUNKS) return;
  const counts = chunk(storesWord(cpu, i));
  if (counts !== 0) store<u32>(counts + within(page), load<u32>(counts + within(page)) + 1);
}

/** The collector copies what is stored in a page of the guest. */
function copyPage(m: Machine, page: u32): void {
  const i = page >> CHUNK_PAGES_SHIFT;
  if (i >= CHUNKS) return;
  for (let id: u32 = 0; id < m.cpus; id++) {
    const counts = load<u32>(storesWord(cpuAt(m, id), i));
    if (counts === 0) continue;
    const copies = chunk(copiedWord(cpuAt(m, id), i));
    if (copies !== 0) store<u32>(copies + within(page), load<u32>(counts + within(page)));
  }
}

/** The collector copies the pages of a slot that were last taken out of its dirty log. */
export function copyReported(m: Machine, s: Slot): void {
  const v = vmOf(m),
    first = <u32>(s.gpa >> v.ps);
  for (let i: u32 = 0; i < v.reportWords; i++) {
    for (let bits = reported(v, i); bits !== 0; bits &= bits - 1)
      copyPage(m, first + (i << WORD_SHIFT) + <u32>ctz(bits));
  }
}

/** The collector copies all of the guest's memory. */
export function copyAll(m: Machine): void {
  for (let id: u32 = 0; id < m.cpus; id++) {
    for (let i: u32 = 0; i < CHUNKS; i++) {
      const counts = load<u32>(storesWord(cpuAt(m, id), i));
      if (counts === 0) continue;
      const copies = chunk(copiedWord(cpuAt(m, id), i));
      if (copies !== 0) memory.copy(copies, counts, 4 << CHUNK_PAGES_SHIFT);
    }
  }
}

/** Stores of a CPU to pages whose count was not copied since: pages, of each CPU for itself. Precondition: the guest stands still. */
export function uncopied(m: Machine): u32 {
  let pages: u32 = 0;
  for (let id: u32 = 0; id < m.cpus; id++) {
    for (let i: u32 = 0; i < CHUNKS; i++) {
      const counts = load<u32>(storesWord(cpuAt(m, id), i)),
        copies = load<u32>(copiedWord(cpuAt(m, id), i));
      if (counts === 0) continue;
      for (let at: u32 = 0; at < 4 << CHUNK_PAGES_SHIFT; at += 4) {
        if (load<u32>(counts + at) !== (copies === 0 ? 0 : load<u32>(copies + at))) pages++;
      }
    }
  }
  return pages;
}

/** Pages that any CPU stored to. Precondition: the guest stands still. */
export function written(m: Machine): u32 {
  let pages: u32 = 0;
  for (let i: u32 = 0; i < CHUNKS; i++) {
    for (let id: u32 = 0; id < m.cpus; id++) {
      const counts = load<u32>(storesWord(cpuAt(m, id), i));
      if (counts === 0) continue;
      for (let at: u32 = 0; at < 4 << CHUNK_PAGES_SHIFT; at += 4) {
        if (load<u32>(counts + at) !== 0 && !isWrittenBefore(m, id, i, at)) pages++;
      }
    }
  }
  return pages;
}

/** Did a CPU before `id` store to the page whose count is at byte `at` of chunk `i`? */
function isWrittenBefore(m: Machine, id: u32, i: u32, at: u32): bool {
  for (let other: u32 = 0; other < id; other++) {
    const counts = load<u32>(storesWord(cpuAt(m, other), i));
    if (counts !== 0 && load<u32>(counts + at) !== 0) return true;
  }
  return false;
}
