// What walkers do about each other, for tests that are several walkers on one thread. AssemblyScript, compiled by the tests.

import { giveAll } from "../../../assembly/memory/cache";
import * as F from "../../../assembly/memory/frames";
import * as I from "../../../assembly/memory/intent";
import { limbo, orderWord, pool, slotOf, Table, walkerAt } from "../../../assembly/memory/layout";
import * as L from "../../../assembly/memory/limbo";
import { tryAcquire } from "../../../assembly/memory/spin";
import * as T from "../../../assembly/memory/tables";

export {
  available,
  cached,
  createCache,
  destroyCache,
  fillTo,
  giveOwn,
  isCache,
  resolve,
  takePage,
  topUp,
} from "../../../assembly/memory/cache";
export {
  advance,
  enter,
  epoch,
  inSection,
  isPast,
  leave,
  reading,
  slotOfWalker,
  synchronize,
} from "../../../assembly/memory/epoch";
export {
  giveFrames,
  initFrames,
  isPlain,
  isTaken,
  markSoftware,
  recoverFrames,
  references,
  takeFrames,
} from "../../../assembly/memory/frames";
export {
  attach,
  detach,
  isArenaPage,
  isArenaRange,
  layOut,
  physToVirt,
  virtToPhys,
} from "../../../assembly/memory/layout";
export { doubtLimbo, isLimboDoubtful, levelOf, release, retire, someWait } from "../../../assembly/memory/limbo";
export {
  inheritWriteLock,
  isReader,
  isWriter,
  lock,
  readLock,
  readUnlock,
  tryWriteLock,
  unlock,
  writeLock,
  writerOf,
  writeUnlock,
} from "../../../assembly/memory/lock";
export { isInMemory, wordAt } from "../../../assembly/memory/physical";
export {
  acquire,
  acquireAs,
  inherit,
  isHeld,
  relinquish,
  relinquishMine,
  tryAcquire,
} from "../../../assembly/memory/spin";
export { addPages, finishTable, giveTable, isTableHandle, raisePeak, takeTable } from "../../../assembly/memory/tables";

export function giveAllOf(id: u32): bool {
  return giveAll(walkerAt(id));
}

export function cachesOf(id: u32): u32 {
  return walkerAt(id).caches;
}

export function poolLock(): usize {
  return changetype<usize>(pool());
}

export function limboLock(): usize {
  return changetype<usize>(limbo());
}

export function waiting(): u32 {
  return limbo().waiting;
}

export function oldest(): u32 {
  return limbo().oldest;
}

export function youngest(): u32 {
  return limbo().youngest;
}

export function taken(): u32 {
  return pool().taken;
}

export function strays(id: u32): u32 {
  return walkerAt(id).strays;
}

export function appendStraysOf(id: u32): void {
  L.appendStrays(walkerAt(id));
}

export function recoverLimboOf(id: u32): bool {
  return L.recoverLimbo(walkerAt(id));
}

export function ownerOf(p: usize): usize {
  return changetype<usize>(L.ownerOf(p));
}

export function nameOf(p: usize): u32 {
  return F.nameOf(p);
}

export function addReference(p: usize, n: i32): void {
  F.addReferences(p, n);
}

/** What walker `id` has in hand, and is about to change, WORDS_OF_INTENT words: see memory/intent.ts. */
export function intent(id: u32, word: u32): u32 {
  const w = walkerAt(id);
  if (word === 0) return w.breaking;
  if (word === 1) return w.hand;
  if (word === 2) return w.giving;
  if (word === 3) return w.tree;
  if (word === 4) return w.counting;
  return w.owner;
}

/** Walker `id` says that it is about to write, as `writeLock` does before it looks for readers. */
export function announce(t: Table, id: u32): bool {
  return tryAcquire(changetype<usize>(t) + offsetof<Table>("writer"), id + 1);
}

/** Words that walkers sleep on, and the count of sleepers. */
export function writerWordOf(t: Table): usize {
  return changetype<usize>(t) + offsetof<Table>("writer");
}

export function leftWordOf(t: Table): usize {
  return changetype<usize>(t) + offsetof<Table>("left");
}

export function sleepersWordOf(t: Table): usize {
  return changetype<usize>(t) + offsetof<Table>("sleepers");
}

/** Where the slot of walker `id` is, or would be. */
export function slotAt(id: u32): usize {
  return slotOf(id);
}

/** Whoever waits for something that wakes nobody sleeps on this word: see memory/wait.ts. */
export function idleWord(): usize {
  return orderWord() + 64;
}

export function writes(t: Table): u32 {
  return t.writes;
}

export function writing(id: u32): u32 {
  return walkerAt(id).writing;
}

export function handle(t: Table): u32 {
  return T.handleOf(t);
}

export {
  abandonBreak,
  countHeld,
  finishGive,
  finishMake,
  handOver,
  handOverTree,
  holdPage,
  holdTree,
  intendBreak,
  intendCount,
  intendGive,
  intendGiveCounted,
  intendMake,
  isClaimed,
} from "../../../assembly/memory/intent";

export function intendNothingOf(id: u32): void {
  I.intendNothing(walkerAt(id));
}
