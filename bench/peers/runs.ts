/**
 * The loops of the TypeScript peer over `count` neighbouring entries from a slot on. An entry is two words, low and high.
 *
 * Each iteration handles two or four entries, whichever was faster: V8 does not unroll these loops, and its checks in each
 * iteration (bounds, stack) are half of the cost of an entry. Each loop sees one type of array only.
 *
 * @module
 */

const VALID = 1;

/** Writes descriptors, each `span` bytes further than the one before. */
export function fillRun(
  memory: Uint32Array,
  slot: number,
  count: number,
  low: number,
  high: number,
  span: number,
): void {
  const end = slot + 2 * count;
  let at = slot;
  let word = low;
  for (; at < end - 2; at += 4) {
    memory[at] = word;
    memory[at + 1] = high;
    memory[at + 2] = (word + span) | 0;
    memory[at + 3] = high;
    word = (word + (span << 1)) | 0;
  }
  if (at < end) {
    memory[at] = word;
    memory[at + 1] = high;
  }
}

/** Zeroes the entries that are not zero, and returns how many. */
export function clearRun(memory: Uint32Array, slot: number, count: number): number {
  const end = slot + 2 * count;
  let cleared = 0;
  for (let at = slot; at < end; at += 2) {
    if (memory[at]! !== 0) {
      memory[at] = 0;
      memory[at + 1] = 0;
      cleared += 1;
    }
  }
  return cleared;
}

/** Clears `bit` where it is set, and returns the bits that were seen. An entry that would not change is not written (S2-29). */
export function dropRun(memory: Uint32Array, slot: number, count: number, bit: number): number {
  const end = slot + 2 * count;
  let at = slot;
  let seen = 0;
  for (; at < end - 6; at += 8) {
    const a = memory[at]!;
    const b = memory[at + 2]!;
    const c = memory[at + 4]!;
    const d = memory[at + 6]!;
    seen |= a | b | c | d;
    if ((a & bit) !== 0) memory[at] = a & ~bit;
    if ((b & bit) !== 0) memory[at + 2] = b & ~bit;
    if ((c & bit) !== 0) memory[at + 4] = c & ~bit;
    if ((d & bit) !== 0) memory[at + 6] = d & ~bit;
  }
  for (; at < end; at += 2) {
    const low = memory[at]!;
    seen |= low;
    if ((low & bit) !== 0) memory[at] = low & ~bit;
  }
  return seen;
}

/** All bits of the low words. */
export function seenRun(memory: Uint32Array, slot: number, count: number): number {
  const end = slot + 2 * count;
  let seen = 0;
  for (let at = slot; at < end; at += 2) seen |= memory[at]!;
  return seen;
}

/** Number of valid entries. */
export function countRun(memory: Uint32Array, slot: number, count: number): number {
  const end = slot + 2 * count;
  let at = slot;
  let valid = 0;
  for (; at < end - 6; at += 8) {
    valid += (memory[at]! & VALID) + (memory[at + 2]! & VALID) + (memory[at + 4]! & VALID) + (memory[at + 6]! & VALID);
  }
  for (; at < end; at += 2) valid += memory[at]! & VALID;
  return valid;
}
