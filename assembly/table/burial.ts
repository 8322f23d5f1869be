// What happens after a walker died: its locks are released, and pages that it had in hand are given back. Its section stays open
// until then, so that no table that it was in is freed meanwhile. Nothing here waits for the lock of a table: a table whose
// reference counts may be wrong is marked, and the next walker that has it to itself repairs it (table/repair.ts).

import { isTable, lockedMarker } from "../arch/descriptor";
import { UNIT_SHIFT } from "../arch/granule";
import { giveAll } from "../memory/cache";
import { read } from "../memory/cell";
import { expel, inSection, slotOfWalker } from "../memory/epoch";
import { EBUSY, EINVAL, EPERM, ETIMEDOUT, OK } from "../memory/errno";
import { giveFrames, isTaken, recoverFrames } from "../memory/frames";
import { COUNTED, forgetLinked, intendNothing, isClaimed, LEVEL_BIAS, LEVEL_BITS, MAKING } from "../memory/intent";
import {
  ATTACHED,
  attachedWord,
  BURIED_BY,
  DETACHED,
  header,
  isArenaPage,
  orderLock,
  T_HYP,
  T_TYPED,
  Table,
  Walker,
  walker,
  walkerAt,
} from "../memory/layout";
import { appendStrays, doubtLimbo, recoverLimbo, retire } from "../memory/limbo";
import { inheritWriteLock, writerOf, writeUnlock } from "../memory/lock";
import { inherit, relinquish } from "../memory/spin";
import { giveTable, isServed, rootOf, tableOfIndex, USED_BY } from "../memory/tables";
import { isTooLate, nap } from "../memory/wait";
import { claim, peek, publish } from "../memory/word";
import { J_BURIED, record } from "../record/journal";
import { flushVmid } from "../record/maintenance";
import { result } from "../record/result";
import { put } from "./bbm";
import { tableBelow } from "./down";
import { freePagesExact, giveTablePage } from "./mmops";
import { doubt, isDoubtful, mend, mendIfAlone } from "./repair";
import { orphan, resumeTeardowns } from "./teardown";
import { close, open, SHARED } from "./walk";

/** What a walker held when it died. */
@view()
@unmanaged
export class Burial {
  /** Was it in a read section? */
  inSection: u32;
  /** Tables in which it may have written alone. */
  wroteTables: u32;
  /** Locks of the core that it held. */
  coreLocks: u32;
  /** Descriptors that it had locked: holes now. */
  unlocked: u32;
}

/**
 * Walker `id` does not run any more: releases its locks, completes or undoes its unfinished steps, gives back the pages in its hand,
 * its caches and its blocks, ends its section and frees its place. Answers a Burial.
 * EINVAL: nobody is that walker; EBUSY: another walker buries it; ETIMEDOUT: another dead walker is in the way; EPERM: it was
 * writing to a table of which this walker lacks a function. Then it is not buried, nothing that it had in hand is forgotten, and
 * the burial can be repeated.
 */
export function bury(id: u32): i32 {
  const word = attachedWord(id);
  if (!claim(word, ATTACHED, walker().id + BURIED_BY)) return peek(word) === DETACHED ? EINVAL : EBUSY;
  const r = settle(walkerAt(id));
  publish(word, r === OK ? DETACHED : ATTACHED);
  intendNothing(walker());
  if (r === OK && !inSection()) resumeTeardowns();
  return r;
}

function settle(w: Walker): i32 {
  const reads = <u32>(slotOfWalker(w.id) >> 32);
  const locks = recoverLocks(w);
  record(J_BURIED, 0, 0, 0, w.id, 0);
  let unlocked: u32 = 0,
    tables: u32 = 0;
  for (let i: u32 = 0; i < header().maxTables; i++) {
    const t = tableOfIndex(i);
    if (writerOf(t) === w.id + 1 && !isServed(t)) return EPERM;
    const wrote = inheritWriteLock(t, w.id);
    orphan(t, w.id);
    if (!wrote) continue;
    tables++;
    const mine = <u32>changetype<usize>(t) === w.owner;
    if (mine && w.breaking !== 0 && isLocked(w.breaking, t)) holdUnlinked(w, t);
    if (rootOf(t)) unlocked += mend(t, rootOf(t), w);
    if (mine) w.breaking = 0;
    if (!(t.flags & T_HYP)) flushVmid(t); // it may have died before its own flush
    writeUnlock(t);
  }
  if (reads !== 0 && (w.breaking | w.counting | w.hand | w.giving | w.tree) !== 0) {
    doubt(changetype<Table>(reads));
    doubtLimbo();
  }
  if (w.giving & COUNTED) doubt(changetype<Table>(w.owner)); // the page may be counted off already
  const open = w.breaking !== 0 ? finishBreak(w) : 0;
  if (open < 0) return open;
  if (w.tree !== 0) doubtLimbo(); // it may have died while it built or freed the detached table
  if (!giveHeld(w)) return ETIMEDOUT;
  const section = expel(w.id);
  w.sections = 0;
  w.writing = 0;
  w.depth = 0;
  intendNothing(w);
  mendSoon(reads);
  if (w.owner !== reads) mendSoon(w.owner);
  const found = result<Burial>();
  found.inSection = section ? 1 : 0;
  found.wroteTables = tables;
  found.coreLocks = locks;
  found.unlocked = unlocked + open;
  return OK;
}

/** Repairs the table at `p`, 0 for none, if it is doubtful and nobody else is in it. */
function mendSoon(p: u32): void {
  const t = changetype<Table>(p);
  if (p !== 0 && isDoubtful(t) && isServed(t)) mendIfAlone(t);
}

/** Releases the locks of the core that `w` held, and the burials that it had begun; returns the number of locks. */
function recoverLocks(w: Walker): u32 {
  let n: u32 = recoverFrames(w.id + 1) ? 1 : 0;
  if (recoverLimbo(w)) n++;
  if (inherit(orderLock(), w.id + 1)) {
    relinquish(orderLock());
    n++;
  }
  for (let id: u32 = 0; id < header().maxWalkers; id++) claim(attachedWord(id), w.id + BURIED_BY, ATTACHED);
  return n;
}

/** `w` died in a shared walk, between its intent to take a slot and the end of its make: 1 if the slot was locked, else 0, or an errno. */
function finishBreak(w: Walker): i32 {
  const t = changetype<Table>(w.owner),
    wasTable = isTable(w.old, w.level),
    locked = unlockSlot(w, t);
  if (locked < 0) return locked;
  if (locked > 0) {
    if (!(t.flags & T_HYP)) flushVmid(t); // it may have died before its own flush
    holdUnlinked(w, t);
  } else if (w.breaking & MAKING) {
    // The make was done: the page that it linked is no longer in its hand; the table that the break unlinked is, and one in which
    // the slot lies.
    w.hand = 0;
    if (!wasTable && w.level <= levelIn(w.tree)) w.tree = 0;
  }
  w.breaking = 0;
  return locked;
}

/** Level of the entry that names the tree in `word`, a word of intent. */
function levelIn(word: u32): i32 {
  return <i32>(word & LEVEL_BITS) - LEVEL_BIAS;
}

/** Does the slot at `at`, a word of intent, hold the locked marker of `t`? */
function isLocked(at: u32, t: Table): bool {
  return read(at & ~MAKING, true) === lockedMarker(<bool>(t.flags & T_TYPED));
}

/** `w` died at once after the exchange that took its slot: the table that was there is in its hand. */
function holdUnlinked(w: Walker, t: Table): void {
  if (w.tree === 0 && isTable(w.old, w.level)) w.tree = <u32>tableBelow(t, w.old) | (w.level + LEVEL_BIAS);
}

/**
 * Makes a hole of the slot that `w` was taking, if it has taken it. The marker there is that of `w`, unless a living walker says
 * that it is taking the slot, too; that one then continues or gives up.
 */
function unlockSlot(w: Walker, t: Table): i32 {
  const p: usize = w.breaking & ~MAKING,
    marker = lockedMarker(<bool>(t.flags & T_TYPED));
  for (let i: u32 = 0; read(p, true) === marker; i++) {
    if (isTooLate(i)) return ETIMEDOUT;
    if (isClaimed(p, w.id)) {
      nap(i);
      continue;
    }
    const walk = open(t, SHARED);
    if (!walk) return EBUSY;
    const done = put(walk, p, marker, 0, w.level);
    close();
    if (done) return 1;
  }
  return 0;
}

/** Gives back what `w` had in hand; false if the free lists cannot be locked. What was given back is forgotten at once. */
function giveHeld(w: Walker): bool {
  const t = changetype<Table>(w.owner);
  // One page may be in two words of intent: it died before it cleared the one from which the page comes. Nothing is given back twice.
  forgetLinked(w, w.giving & ~COUNTED);
  if ((w.hand & ~COUNTED) === (w.tree & ~LEVEL_BITS)) w.hand = 0;
  if (!giveOne(t, w.giving)) return false;
  w.giving = 0;
  if (!giveAll(w)) return false;
  for (let i: u32 = 0; i < header().maxTables; i++)
    if (tableOfIndex(i).used === w.id + USED_BY) unmake(w, tableOfIndex(i));
  if (!giveOne(t, w.hand)) return false;
  w.hand = 0;
  if (w.tree !== 0) {
    retire(t, w.tree & ~LEVEL_BITS, levelIn(w.tree));
    w.tree = 0;
  }
  appendStrays(w);
  if (!giveOne(t, w.block0)) return false;
  w.block0 = 0;
  if (!giveOne(t, w.block1)) return false;
  w.block1 = 0;
  return true;
}

/** The page of `t` or block in `held`, a word of intent; false if it is still there. */
function giveOne(t: Table, held: u32): bool {
  const p: usize = held & ~COUNTED;
  if (!isArenaPage(<u32>p, UNIT_SHIFT) || !isTaken(p)) return true;
  return held & COUNTED ? giveTablePage(t, p) : giveFrames(p);
}

/** A table that `w` was making: its root and its record go back. */
function unmake(w: Walker, t: Table): void {
  const root = rootOf(t);
  if (root !== 0) {
    w.hand = 0;
    freePagesExact(t, root, t.rootPages);
  }
  giveTable(t);
}
