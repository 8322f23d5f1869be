// What one head knows: the descriptors that map its page [RMAP-2..6].
//
//   head  0                      nothing
//         an address             of the one descriptor
//         an address | MANY      of the first Descriptor of a chain (pool.ts)
//         | LOCKED               somebody changes it
//
// A slot in use: whoever changes a chain has its head locked, so plain accesses are enough behind the lock. An invalid slot: a chain
// keeps its shape, and its entries change from an address to SKIP alone, each by an exchange. Whoever reads it beside that loads
// words that somebody else may exchange: atomic loads, and the order that hazard.ts asks for.

import { demand, RULE_DESCRIPTOR, RULE_ENTRY } from "../../demand";
import { POINT_EXCHANGE, POINT_EXCHANGED, POINT_READ, visit } from "../../memory/guard";
import { parallel } from "../../memory/layout";
import { isTooLate, nap } from "../../memory/wait";
import { claim, peek, publish } from "../../memory/word";
import { agent } from "../state";
import { Maps, poolAt, vmOf } from "./maps";
import { DESCRIPTOR_BYTES, Descriptor, descriptorAt, ENTRIES, giveDescriptor, HERE, takeDescriptor } from "./pool";

/** What an entry holds that is not to be used any more. */
export const SKIP: u32 = 0xfffffff8;
const MANY: u32 = 1;
export const LOCKED: u32 = 2;
const FLAGS: u32 = MANY | LOCKED;
const ENTRIES_AT: u32 = <u32>offsetof<Descriptor>();
/** `add` found no memory, or the head's lock did not come. */
export const NO_ENTRY: i32 = -1;

/** Locks a head: what it holds. LOCKED if its holder makes no progress; it is not locked by this walker then. */
export function lockHead(head: usize): u32 {
  if (!parallel()) return peek(head);
  for (let i: u32 = 0; !isTooLate(i); i++) {
    const seen = peek(head);
    if (!(seen & LOCKED) && claim(head, seen, seen | LOCKED)) return seen;
    nap(i);
  }
  return LOCKED;
}

/** Unlocks a head, which holds `value` from now on. */
export function unlockHead(head: usize, value: u32): void {
  publish(head, value);
}

/** Unlocks a head in which an entry may be exchanged meanwhile. */
function unlockAsIs(head: usize): void {
  if (!parallel()) return;
  for (;;) {
    const seen = peek(head);
    if (claim(head, seen, seen & ~LOCKED)) return;
  }
}

/** What a head holds, whoever has it locked. */
export function look(head: usize): u32 {
  return peek(head) & ~LOCKED;
}

export function isChain(value: u32): bool {
  return (value & MANY) !== 0;
}

function descriptorOf(value: u32): u32 {
  return value & ~FLAGS;
}

function hereOf(d: Descriptor): u32 {
  const here = peek(changetype<usize>(d)) & HERE;
  // Else somebody has freed it.
  demand(here <= ENTRIES, RULE_DESCRIPTOR);
  return here;
}

function moreOf(d: Descriptor): u32 {
  return peek(changetype<usize>(d)) & ~HERE;
}

function entryAt(d: Descriptor, i: u32): usize {
  return changetype<usize>(d) + ENTRIES_AT + (i << 2);
}

/** How many entries a head that holds `value` has, SKIP among them. */
export function countOf(value: u32): u32 {
  if (!isChain(value)) return value === 0 ? 0 : 1;
  const d = descriptorAt(descriptorOf(value));
  return hereOf(d) + d.behind;
}

// --- iteration: the words that hold entries, one after the other [RMAP-6] ----------------------

/** The word of the first entry of `head`, which holds `value`; 0 if it has none. */
export function first(head: usize, value: u32): usize {
  if (value === 0) return 0;
  return isChain(value) ? entryAt(descriptorAt(descriptorOf(value)), 0) : head;
}

/** The word of the entry after that at `at`; 0 if there is none. The chain must not have lost an entry since `first`. */
export function next(head: usize, at: usize): usize {
  if (at === head) return 0;
  const d = descriptorAt(<u32>at & ~(DESCRIPTOR_BYTES - 1)),
    i = (<u32>at - <u32>changetype<usize>(d) - ENTRIES_AT) >> 2;
  if (i + 1 < hereOf(d)) return at + 4;
  const more = moreOf(d);
  return more === 0 ? 0 : entryAt(descriptorAt(more), 0);
}

/** The entry in the word at `at`: the address of a descriptor, or SKIP. A load that must not come before the hazard word was stored [INV-13]. */
export function entry(at: usize): u32 {
  visit(POINT_READ, at);
  return peek(at) & ~LOCKED;
}

// --- of a slot in use -------------------------------------------------------------------------

/** Adds the descriptor at `p`: how many entries there were before; NO_ENTRY, and nothing has changed [RMAP-4]. */
export function addEntry(r: Maps, head: usize, p: u32): i32 {
  demand(p !== 0 && (p & FLAGS) === 0 && p !== SKIP, RULE_ENTRY);
  const value = lockHead(head);
  if (value === LOCKED) return NO_ENTRY;
  const result = value === 0 ? p : extended(r, value, p);
  unlockHead(head, result === 0 ? value : result);
  return result === 0 ? NO_ENTRY : <i32>countOf(result) - 1;
}

/** What a head holds that held `value`, with one more entry; 0 when memory is spent. */
function extended(r: Maps, value: u32, p: u32): u32 {
  let d = descriptorAt(descriptorOf(value));
  if (!isChain(value) || hereOf(d) === ENTRIES) {
    const made = takeDescriptor(poolAt(r), agent(vmOf(r)));
    if (made === 0) return 0;
    const old = d;
    d = descriptorAt(made);
    if (isChain(value)) {
      d.more = descriptorOf(value); // only the first is ever not full
      d.behind = old.behind + ENTRIES;
    } else {
      append(d, value);
    }
  }
  append(d, p);
  return <u32>changetype<usize>(d) | MANY;
}

function append(d: Descriptor, p: u32): void {
  publish(entryAt(d, hereOf(d)), p);
  d.more++; // the low bits
}

/** Removes the descriptor at `p`; false if it is not there [RMAP-5]. */
export function removeEntry(r: Maps, head: usize, p: u32): bool {
  const value = lockHead(head);
  if (value === LOCKED) return false;
  const at = wordOf(head, value, p);
  unlockHead(head, at === 0 ? value : without(r, value, at));
  return at !== 0;
}

/** The word that holds `p`; 0 if none does. */
function wordOf(head: usize, value: u32, p: u32): usize {
  if (!isChain(value)) return value === p ? head : 0;
  for (let q = descriptorOf(value); q !== 0; q = moreOf(descriptorAt(q))) {
    const d = descriptorAt(q);
    for (let i: u32 = 0; i < hereOf(d); i++) if (entry(entryAt(d, i)) === p) return entryAt(d, i);
  }
  return 0;
}

/** What a locked head holds that held `value`, without the entry at `at`: the last of the first descriptor takes its place. */
export function without(r: Maps, value: u32, at: usize): u32 {
  if (!isChain(value)) return 0;
  const d = descriptorAt(descriptorOf(value)),
    last = entryAt(d, hereOf(d) - 1);
  publish(at, peek(last));
  d.more--;
  if (hereOf(d) !== 0) return value;
  const more = d.more;
  giveDescriptor(poolAt(r), agent(vmOf(r)), descriptorOf(value));
  return more === 0 ? 0 : more | MANY;
}

// --- of an invalid slot -----------------------------------------------------------------------

/** The entry in the word at `at` becomes SKIP; false if it was not `p` any more. A full barrier, as every exchange. */
export function skipWord(at: usize, p: u32): bool {
  visit(POINT_EXCHANGE, at);
  let won: bool = false;
  for (let seen = peek(at); (seen & ~LOCKED) === p && !won; seen = peek(at))
    won = claim(at, seen, SKIP | (seen & LOCKED));
  visit(POINT_EXCHANGED, at);
  return won;
}

/**
 * Clear concurrently: the descriptor at `p` is to be used by nobody any more, and the chain keeps its shape, since somebody may be
 * walking it [INV-3, INV-6]. False if it was not there. The lock keeps out those who still take the slot for one in use.
 */
export function skipEntry(head: usize, p: u32): bool {
  if (lockHead(head) === LOCKED) return false;
  const at = wordOf(head, look(head), p),
    found = at !== 0 && skipWord(at, p);
  unlockAsIs(head);
  return found;
}

/** Gives the descriptors of a head back, which is empty then. Precondition: nobody else may see it. */
export function dropChain(r: Maps, head: usize): void {
  const value = look(head);
  publish(head, 0);
  if (!isChain(value)) return;
  for (let p = descriptorOf(value); p !== 0; ) {
    const more = moreOf(descriptorAt(p));
    giveDescriptor(poolAt(r), agent(vmOf(r)), p);
    p = more;
  }
}
