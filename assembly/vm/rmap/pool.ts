// Descriptors of chains: 64 bytes each, a line of the cache, from a cache of the walker, which is filled from a pool of all.
//
//   more | here: the next descriptor, and in its low bits how many entries are used here; FREED while it is free
//   behind:      entries of all descriptors behind it
//   ENTRIES words: pointers of descriptors of a table
//
// Pages of descriptors are chained by the first word of each, and go with the VM.

import { UNIT_BYTES } from "../../arch/granule";
import { giveFrames, takeFrames } from "../../memory/frames";
import { handOver } from "../../memory/intent";
import { acquire, relinquish } from "../../memory/spin";
import { Agent } from "../state";

/** Entries of a descriptor, as in 6.12 [RMAP-3]. */
export const ENTRIES: u32 = 14;
/** Low bits of `more`. */
export const HERE: u32 = 63;
/** What they say of a descriptor that is free. */
export const FREED: u32 = HERE;
export const DESCRIPTOR_BYTES: u32 = 64;
/** Descriptors that a walker keeps, and how many go between it and the pool at once. */
const MOST: u32 = 64;
const SOME: u32 = 32;

@unmanaged
export class Descriptor {
  more: u32;
  behind: u32;
}

@unmanaged
class Pool {
  lock: u32;
  /** The first free descriptor, and how many there are here. */
  free: u32;
  count: u32;
  /** The first page of descriptors, and how many were made. */
  pages: u32;
  made: u32;
}

export function descriptorAt(p: u32): Descriptor {
  return changetype<Descriptor>(p);
}

function pool(p: usize): Pool {
  return changetype<Pool>(p);
}

/** Descriptors that were ever made in the pool at `p`. */
export function descriptorsMade(p: usize): u32 {
  return pool(p).made;
}

function nextFree(p: u32): u32 {
  return descriptorAt(p).more & ~HERE;
}

/** Makes a page of descriptors. Precondition: the pool's lock. */
function grow(q: Pool): void {
  const page = <u32>takeFrames(0);
  if (page === 0) return;
  descriptorAt(page).more = q.pages;
  q.pages = page;
  handOver();
  for (let p = page + DESCRIPTOR_BYTES; p < page + UNIT_BYTES; p += DESCRIPTOR_BYTES) {
    descriptorAt(p).more = q.free | FREED;
    q.free = p;
    q.count++;
    q.made++;
  }
}

/** Fills this walker's cache, as far as there is memory. */
function fill(q: Pool, a: Agent): void {
  if (acquire(changetype<usize>(q))) return;
  if (q.count < SOME) grow(q);
  for (let i: u32 = 0; i < SOME && q.free !== 0; i++) {
    const p = q.free;
    q.free = nextFree(p);
    q.count--;
    descriptorAt(p).more = a.descriptors | FREED;
    a.descriptors = p;
    a.descriptorCount++;
  }
  relinquish(changetype<usize>(q));
}

/** An empty descriptor from the walker's cache, or the pool at `at`; 0 when memory is spent. */
export function takeDescriptor(at: usize, a: Agent): u32 {
  if (a.descriptors === 0) fill(pool(at), a);
  const p = a.descriptors;
  if (p === 0) return 0;
  a.descriptors = nextFree(p);
  a.descriptorCount--;
  descriptorAt(p).more = 0;
  descriptorAt(p).behind = 0;
  return p;
}

/** Gives a descriptor to the walker's cache, or the pool at `at`. Precondition: nobody may be in it. */
export function giveDescriptor(at: usize, a: Agent, p: u32): void {
  descriptorAt(p).more = a.descriptors | FREED;
  a.descriptors = p;
  if (++a.descriptorCount >= MOST) spill(pool(at), a);
}

/** Gives a part of this walker's cache to the pool. */
function spill(q: Pool, a: Agent): void {
  if (acquire(changetype<usize>(q))) return;
  for (let i: u32 = 0; i < SOME; i++) {
    const p = a.descriptors;
    a.descriptors = nextFree(p);
    a.descriptorCount--;
    descriptorAt(p).more = q.free | FREED;
    q.free = p;
    q.count++;
  }
  relinquish(changetype<usize>(q));
}

/** Gives all pages back. Precondition: nobody uses a descriptor any more. */
export function dropDescriptors(at: usize): void {
  const q = pool(at);
  while (q.pages !== 0) {
    const page = q.pages;
    q.pages = descriptorAt(page).more;
    giveFrames(page);
  }
}
