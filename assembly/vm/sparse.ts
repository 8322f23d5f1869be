// A sparse array of 64-bit records, for what a VM keeps of each page or block: only what was used takes memory.
//
//   root word -> 1024 pointers -> 1024 pointers -> 512 records      each node is one 4 KiB block of the arena
//                key [28:19]      key [18:9]       key [8:0]
//
// A node is filled before its pointer is published, and only one walker's pointer is taken, so several walkers may add to
// one array. Nodes go back when the whole array does; nobody may use it then.

import { UNIT_BYTES, UNIT_SHIFT } from "../arch/granule";
import { demand, RULE_SPARSE_KEY } from "../demand";
import { fillHoles } from "../memory/cell";
import { giveFrames, takeFrames } from "../memory/frames";
import { handOver } from "../memory/intent";
import { claim, peek } from "../memory/word";

const POINTER_SHIFT: u32 = 2;
const RECORD_SHIFT: u32 = 3;
const NODE_BITS: u32 = UNIT_SHIFT - POINTER_SHIFT;
/** log2 of the records of one leaf. */
export const LEAF_BITS: u32 = UNIT_SHIFT - RECORD_SHIFT;
/** Keys are smaller than 1 << KEY_BITS. */
export const KEY_BITS: u32 = 2 * NODE_BITS + LEAF_BITS;
const POINTERS: u32 = 1 << NODE_BITS;
/** No key. */
export const NO_KEY: u32 = u32.MAX_VALUE;

function slotIn(node: usize, key: u32, shift: u32): usize {
  return node + (((key >> shift) & (POINTERS - 1)) << POINTER_SHIFT);
}

function recordIn(leaf: usize, key: u32): usize {
  return leaf + ((key & ((1 << LEAF_BITS) - 1)) << RECORD_SHIFT);
}

/** The record of `key` in the array whose root word is at `root`; 0 if it has none yet. */
export function find(root: usize, key: u32): usize {
  demand(key >> KEY_BITS === 0, RULE_SPARSE_KEY);
  const top = peek(root);
  if (top === 0) return 0;
  const middle = peek(slotIn(top, key, NODE_BITS + LEAF_BITS));
  if (middle === 0) return 0;
  const leaf = peek(slotIn(middle, key, LEAF_BITS));
  return leaf === 0 ? 0 : recordIn(leaf, key);
}

/** The node that the word at `p` points to, made with `value` in all of its records if there is none; 0 when memory is spent. */
function node(p: usize, value: u64): u32 {
  const there = peek(p);
  if (there !== 0) return there;
  const made = <u32>takeFrames(0);
  if (made === 0) return 0;
  if (value !== 0) fillHoles(made, made + UNIT_BYTES, value, 0);
  if (claim(p, 0, made)) {
    handOver();
    return made;
  }
  giveFrames(made); // another walker was faster
  return peek(p);
}

/** The record of `key`, made if there is none; new records hold `value`. 0 when memory is spent. */
export function make(root: usize, key: u32, value: u64): usize {
  demand(key >> KEY_BITS === 0, RULE_SPARSE_KEY);
  const top = node(root, 0);
  if (top === 0) return 0;
  const middle = node(slotIn(top, key, NODE_BITS + LEAF_BITS), 0);
  if (middle === 0) return 0;
  const leaf = node(slotIn(middle, key, LEAF_BITS), value);
  return leaf === 0 ? 0 : recordIn(leaf, key);
}

/** The first key of a leaf that exists, from `key` on: `key` itself if its leaf does. NO_KEY if there is none. */
export function nextKey(root: usize, key: u32): u32 {
  const top = peek(root);
  if (top === 0) return NO_KEY;
  while (key >> KEY_BITS === 0) {
    const middle = peek(slotIn(top, key, NODE_BITS + LEAF_BITS));
    if (middle === 0) {
      key = ((key >> (NODE_BITS + LEAF_BITS)) + 1) << (NODE_BITS + LEAF_BITS);
      continue;
    }
    if (peek(slotIn(middle, key, LEAF_BITS)) !== 0) return key;
    key = ((key >> LEAF_BITS) + 1) << LEAF_BITS;
  }
  return NO_KEY;
}

/** The last key of a leaf that exists, from `key` down: `key` itself if its leaf does. NO_KEY if there is none. */
export function previousKey(root: usize, key: u32): u32 {
  demand(key >> KEY_BITS === 0, RULE_SPARSE_KEY);
  const top = peek(root);
  while (top !== 0) {
    const middle = peek(slotIn(top, key, NODE_BITS + LEAF_BITS)),
      shift: u32 = middle === 0 ? NODE_BITS + LEAF_BITS : LEAF_BITS;
    if (middle !== 0 && peek(slotIn(middle, key, LEAF_BITS)) !== 0) return key;
    if (key >> shift === 0) break;
    key = ((key >> shift) << shift) - 1;
  }
  return NO_KEY;
}

function dropNode(node: usize): void {
  for (let i: u32 = 0; i < POINTERS; i++) {
    const leaf = peek(slotIn(node, i, 0));
    if (leaf !== 0) giveFrames(leaf);
  }
  giveFrames(node);
}

/** Gives all nodes below the top node `top` back, and `top`; 0 is allowed. Precondition: nobody uses the array any more. */
export function drop(top: u32): void {
  if (top === 0) return;
  for (let i: u32 = 0; i < POINTERS; i++) {
    const middle = peek(slotIn(top, i, 0));
    if (middle !== 0) dropNode(middle);
  }
  giveFrames(top);
}
