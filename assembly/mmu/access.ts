// Accesses through a TLB: an entry alone answers a hit, a miss walks and fills. accessMany is fast for hits.

import { AF, DBM, XN } from "../arch/descriptor";
import { FAULT_CONFLICT, FAULT_PERMISSION } from "../arch/fault";
import { get, mask, put } from "../arch/field";
import { UNIT_SHIFT } from "../arch/granule";
import { VA_HALF } from "../arch/registers";
import { RIGHT_PR, RIGHT_UR, RIGHTS_ALL } from "../arch/rights";
import { read, write } from "../memory/cell";
import { memoryBytes } from "../memory/physical";
import { observe } from "../memory/shared";
import { leafSize, metaOfLeaf } from "./cached";
import { isContested, markClashes } from "./clash";
import * as C from "./context";
import { dropOne, invalidateOne } from "./invalidate";
import * as T from "./tlb";
import {
  accessOf,
  faultInfo,
  INFO_DIRTYABLE,
  INFO_NOT_GLOBAL,
  INFO_RIGHTS,
  INFO_UPDATED,
  ignoresTop,
  infoOf,
  ROW_BYTES,
  ROW_INFO,
  report,
  resolve,
  stageOf,
  untagged,
} from "./translate";
import { A_EL0, A_FETCH, A_KIND, A_PAN, A_READ, A_WRITE, rights } from "./walk";
import * as W from "./ways";

// What an entry says of an access.
const GRANTED: u32 = 0;
const DENIED1: u32 = 1;
const DENIED2: u32 = 2;
/** Writable and clean: only the descriptor in memory can tell [HWM-24]. */
const CLEAN: u32 = 3;

/** The address that entries are found by. */
function keyOf(c: C.Context, s: C.Stage, addr: u64, access: u32): u64 {
  if (c.flags & C.M_STAGE1) return untagged(c, s, addr, access);
  return ignoresTop(s, access) ? addr & mask(VA_HALF, 0) : addr;
}

/** Tag of entries that are shared by all ASIDs. */
export function sharedTag(c: C.Context, access: u32): u64 {
  const tag = c.tag | T.TAG_GLOBAL;
  // With stage 1 off memory is of another type for a fetch.
  const apart = (access & A_KIND) === A_FETCH && !(c.flags & (C.M_STAGE1 | C.M_DC));
  return apart ? tag | T.TAG_FETCH : tag;
}

export function ownTag(c: C.Context, shared: u64): u64 {
  return (shared & ~T.TAG_GLOBAL) | put(c.asid, T.TAG_ASID);
}

export function wanted(access: u32): u32 {
  return (access & A_EL0 ? RIGHT_UR : RIGHT_PR) << (access & A_KIND);
}

export function firstBank(t: T.Tlb, access: u32): u32 {
  return (access & A_KIND) === A_FETCH && T.bank(t, T.B_FETCH).ways !== 0 ? T.B_FETCH : T.B_DATA;
}

/** Does PAN deny the access? It does where EL0 can read, and with EPAN where EL0 can execute. */
function isBarred(c: C.Context, e: T.Entry, access: u32): bool {
  if (!(access & A_PAN) || access & A_EL0 || (access & A_KIND) === A_FETCH || !(c.flags & C.M_STAGE1)) return false;
  return <bool>(e.meta & RIGHT_UR) || (<bool>(c.flags & C.M_EPAN) && <bool>(e.meta & T.META_USER_RUNS));
}

function judge(c: C.Context, e: T.Entry, access: u32): u32 {
  const want = <u64>wanted(access),
    writes = (access & A_KIND) === A_WRITE;
  if (isBarred(c, e, access)) return DENIED1;
  if (!(e.meta & want)) return writes && get(e.info, INFO_DIRTYABLE) ? CLEAN : DENIED1;
  if (!(get(e.info, INFO_RIGHTS) & want)) return writes && get(e.info, INFO_DIRTYABLE + 1) ? CLEAN : DENIED2;
  return GRANTED;
}

/** Reports the output of the entry as a walk would. */
function follow(c: C.Context, e: T.Entry, addr: u64): void {
  c.pa = e.out | (addr & ~e.mask);
  c.ipa = c.flags & C.M_STAGE2 ? e.ipa | (addr & ~e.mask) : 0;
  c.info = e.info;
}

function refuse(c: C.Context, kind: u32, level: i32, stage2: bool): bool {
  c.kind = kind;
  c.level = level;
  c.where = stage2 ? C.W_STAGE2 : 0;
  if (!stage2) c.ipa = 0;
  c.pa = 0;
  c.info = faultInfo(c);
  return false;
}

/** Level of a stage that is off: no hint names it. */
const FLAT: i32 = 6;

/** Rights and sizes of the translation that was just found, for Entry.meta; `first` and `second`: log2 of what its leaves map as one. */
function metaOf(c: C.Context, t: T.Tlb, s: C.Stage, first: u32, second: u32): u64 {
  let meta: u64 = 0;
  if (c.flags & C.M_STAGE1) {
    meta = metaOfLeaf(t, s, 0, first) | rights(c, s);
    if (!(s.leaf & XN)) meta |= T.META_USER_RUNS;
  } else {
    meta = T.leafMeta(0, FLAT, s.ps, 0, 0) | RIGHTS_ALL;
  }
  if (c.flags & C.M_STAGE2) meta |= metaOfLeaf(t, C.stage2(c), 1, second);
  return meta;
}

/** After a permission fault: did the walk find a whole translation, which may be cached [HWM-30]? */
function isDenialWhole(c: C.Context, s: C.Stage, access: u32): bool {
  if (c.kind !== FAULT_PERMISSION || c.where & C.W_S1PTW) return false;
  const both = <bool>(c.flags & C.M_STAGE1) && <bool>(c.flags & C.M_STAGE2);
  const last = c.flags & C.M_STAGE2 ? C.stage2(c) : s;
  if (both && !(c.where & C.W_STAGE2)) return false;
  const dirtied = (access & A_KIND) === A_WRITE && <bool>(last.flags & C.S_HD) && <bool>(last.raw & DBM);
  return <bool>(last.raw & AF) && !dirtied;
}

/** Size of a stage that is off. */
const WHOLE: u32 = 64;

/** Keeps what `resolve` has just said about `addr`; the first level's entry, or 0. */
function fill(c: C.Context, t: T.Tlb, s: C.Stage, addr: u64, access: u32, found: bool): usize {
  if (!found && !isDenialWhole(c, s, access)) return 0;
  const info = (found ? c.info : infoOf(c, s, access)) & ~INFO_UPDATED,
    out = c.flags & C.M_STAGE2 ? C.stage2(c).output : s.output,
    first = c.flags & C.M_STAGE1 ? leafSize(t, s, addr) : WHOLE,
    second = c.flags & C.M_STAGE2 ? leafSize(t, C.stage2(c), s.output) : WHOLE,
    meta = metaOf(c, t, s, first, second),
    size = min(first, second) === WHOLE ? UNIT_SHIFT : min(first, second),
    ipa = c.flags & C.M_STAGE2 ? s.output : 0,
    shared = sharedTag(c, access),
    tag = info & INFO_NOT_GLOBAL ? ownTag(c, shared) : shared;
  const far = W.put(t, T.B_SECOND, tag, addr, out, size, info, meta, ipa);
  const clashes = far !== 0 && markClashes(t, far);
  const near = W.put(t, firstBank(t, access), tag, addr, out, size, info, meta, ipa);
  // Of the same size they say the same, so one of them clashes with what the other does.
  if (near && (!far || clashes || T.entry(near).mask !== T.entry(far).mask)) markClashes(t, near);
  return near;
}

/** Copies an entry of the second level into the first, unless it has holes: those are counted from its own start. */
function promote(t: T.Tlb, i: u32, addr: u64, p: usize): usize {
  const e = T.entry(p),
    tag = observe(p),
    inside = addr & ~e.mask;
  if (tag === 0 || T.hasHoles(tag)) return 0;
  return W.put(t, i, tag, addr, e.out | inside, T.sizeOf(e), e.info, e.meta, e.ipa | inside);
}

/** The entry for an address, from the first level or by way of it; 0 if there is none. */
function search(t: T.Tlb, i: u32, own: u64, shared: u64, addr: u64): usize {
  const first = T.bank(t, i),
    second = T.bank(t, T.B_SECOND);
  const near = W.find(t, first, own, shared, addr);
  if (near) {
    first.hits++;
    W.touch(t, first, near);
    return near;
  }
  first.misses++;
  const far = W.find(t, second, own, shared, addr);
  if (second.ways !== 0) {
    if (far) second.hits++;
    else second.misses++;
  }
  if (!far) return 0;
  W.touch(t, second, far);
  const copy = promote(t, i, addr, far);
  return copy ? copy : far;
}

/** A walk with what the TLB knows, and the entry that it leaves. */
function walkAndFill(c: C.Context, t: T.Tlb, s: C.Stage, raw: u64, addr: u64, access: u32): bool {
  c.tlb = <u32>changetype<usize>(t);
  const found = resolve(c, raw, access);
  c.tlb = 0;
  const p = fill(c, t, s, addr, access, found);
  if (p) T.setHint(T.hintSlot(T.hintsOf(t, hintKind(access)), addr), p);
  return found;
}

export function hintKind(access: u32): u32 {
  return (access & A_KIND) === A_FETCH ? 1 : 0;
}

/** May an entry answer? Not for EL0 where E0PD forbids its walks. */
function isAnswerable(s: C.Stage, c: C.Context, access: u32): bool {
  return !(c.flags & C.M_STAGE1 && s.flags & C.S_E0PD && access & A_EL0);
}

export function countHits(t: T.Tlb, access: u32, n: u32): void {
  const kind = access & A_KIND;
  if (kind === A_WRITE) t.writeHits += n;
  else if (kind === A_FETCH) t.fetchHits += n;
  else t.readHits += n;
}

function countMiss(t: T.Tlb, access: u32): void {
  const kind = access & A_KIND;
  if (kind === A_WRITE) t.writeMisses++;
  else if (kind === A_FETCH) t.fetchMisses++;
  else t.readMisses++;
}

/** Answers by the entry at `p`. A permission fault needs no walk [HWM-32]. */
function useEntry(c: C.Context, t: T.Tlb, s: C.Stage, p: usize, raw: u64, addr: u64, access: u32): bool {
  const e = T.entry(p);
  countHits(t, access, 1);
  if (observe(p) & T.TAG_SUSPECT && isContested(t, p, addr)) {
    t.conflicts++;
    follow(c, e, addr);
    // Of stage 2 where that is the only stage, HCR_EL2.DC included (Arm ARM R_ZMVZT); of stage 1 where there are both.
    return refuse(c, FAULT_CONFLICT, 0, !(c.flags & C.M_STAGE1) && <bool>(c.flags & C.M_STAGE2));
  }
  const verdict = judge(c, e, access);
  if (verdict === CLEAN) {
    t.rewalks++;
    return walkAndFill(c, t, s, raw, addr, access);
  }
  follow(c, e, addr);
  if (verdict === GRANTED) {
    T.setHint(T.hintSlot(T.hintsOf(t, hintKind(access)), addr), p);
    return true;
  }
  t.permissionFaults++;
  const at = verdict === DENIED1 ? 0 : 1;
  return refuse(c, FAULT_PERMISSION, T.levelOf(e.meta, at), <bool>at);
}

/** One access, whatever it takes; c.pa, c.info and c.ipa as `resolve` leaves them. */
export function through(c: C.Context, t: T.Tlb, raw: u64, access: u32): bool {
  access = accessOf(c, access);
  if ((access & A_KIND) === A_FETCH) raw &= ~(<u64>3);
  T.begin(t);
  if (t.flags & T.TLB_ADVERSARIAL) misbehave(c, t, raw, access);
  const s = stageOf(c, raw),
    addr = keyOf(c, s, raw, access),
    shared = sharedTag(c, access);
  c.updates = 0;
  const p = isAnswerable(s, c, access) ? search(t, firstBank(t, access), ownTag(c, shared), shared, addr) : 0;
  if (p) return useEntry(c, t, s, p, raw, addr, access);
  countMiss(t, access);
  const found = walkAndFill(c, t, s, raw, addr, access);
  if (!found && c.kind === FAULT_CONFLICT) t.conflicts++;
  return found;
}

/** A speculative read: caches what a walk finds, as hardware may at any time; a fault is not reported [HWM-20, HWM-23]. */
export function speculate(c: C.Context, t: T.Tlb, raw: u64, access: u32): void {
  T.begin(t);
  const kind = accessOf(c, (access & (A_EL0 | A_PAN)) | A_READ),
    s = stageOf(c, raw),
    addr = keyOf(c, s, raw, kind),
    shared = sharedTag(c, kind),
    own = ownTag(c, shared);
  if (!isAnswerable(s, c, kind) || W.find(t, T.bank(t, T.B_DATA), own, shared, addr)) return;
  t.prefetches++;
  walkAndFill(c, t, s, raw, addr, kind);
}

const NEIGHBOURS: u32 = 32;

/** What hardware may do at any time: complete an invalidation, lose an entry, read ahead. */
function misbehave(c: C.Context, t: T.Tlb, raw: u64, access: u32): void {
  if (T.oneIn(t, t.early)) invalidateOne(t);
  if (T.oneIn(t, t.drop)) dropOne(t);
  if (!T.oneIn(t, t.prefetch)) return;
  const pages = <i64>(T.random(t) % NEIGHBOURS) - <i64>(NEIGHBOURS >> 1);
  speculate(c, t, raw + <u64>(pages << UNIT_SHIFT), access);
}

/** One access and its whole record at `out`; 0, or 1 for a fault. */
export function accessOne(c: C.Context, t: T.Tlb, addr: u64, access: u32, out: usize): i32 {
  if ((access & A_KIND) === A_FETCH) addr &= ~(<u64>3);
  return report(c, addr, access, through(c, t, addr, access), out);
}

/** What a hint must find for an access, and may: the parts of a hit that do not depend on the address. */
@final
@unmanaged
export class Hinted {
  /**
   * Does the entry at `at`, which a hint named, answer for `addr` by its rights alone? A hint may hold any value up to the last entry
   * but 0, which is none: a guest's RAM may begin there. Aligned or not, whatever lies there is in memory and is compared in full, and the tag is read plainly, since an atomic load traps
   * at an address that is not aligned. Only this thread writes entries, and an entry that another thread takes away meanwhile is a
   * hit before that thread's TLBI.
   */
  @inline static answers(at: usize, addr: u64, shared: u64, own: u64, need: u64): bool {
    const e = T.entry(at),
      tag = read(at, false);
    return ((addr ^ e.base) & e.mask) === 0 && (tag === shared || tag === own) && (e.info & need) !== 0;
  }
}

function row(c: C.Context, t: T.Tlb, raw: u64, access: u32, rows: usize): void {
  if (!through(c, t, raw, access)) c.faults++;
  write(rows, c.pa);
  write(rows + ROW_INFO, c.info);
}

/**
 * Accesses whose addresses are their own keys: those that a hint answers here, all others by `row`. Returns how many went to
 * `row`. The loop has few conditions so that all it needs stays in registers.
 */
function runHints(c: C.Context, t: T.Tlb, addrs: usize, end: usize, rows: usize, access: u32): u32 {
  const shared = sharedTag(c, access),
    own = ownTag(c, shared),
    need = put(wanted(access), INFO_RIGHTS),
    top = T.lastEntry(T.bank(t, firstBank(t, access))),
    hints = T.hintsOf(t, hintKind(access)),
    uses = T.Use.base(T.bank(t, firstBank(t, access)));
  let clock = t.clock;
  t.slow = 0;
  for (; addrs !== end; addrs += 8, rows += ROW_BYTES) {
    const addr = read(addrs, false),
      at = T.hintOf(T.hintSlot(hints, addr));
    if (at - 1 < <u32>top && Hinted.answers(at, addr, shared, own, need)) {
      const e = T.entry(at),
        out = e.out | (addr & ~e.mask),
        info = e.info;
      T.Use.at(uses, at, ++clock);
      write(rows, out);
      write(rows + ROW_INFO, info);
      continue;
    }
    t.clock = clock;
    row(c, t, addr, access, rows);
    clock = t.clock;
    t.slow++;
  }
  t.clock = clock;
  return t.slow;
}

/** Is every address a multiple of 4, as an instruction's is? */
function isAligned(addrs: usize, end: usize): bool {
  let all: u64 = 0;
  for (; addrs !== end; addrs += 8) all |= read(addrs, false);
  return (all & 3) === 0;
}

/** Do the entry's rights alone decide a hit, in both halves? */
export function isPlain(c: C.Context, t: T.Tlb, access: u32): bool {
  if (t.flags & T.TLB_ADVERSARIAL) return false;
  if (!(access & (A_EL0 | A_PAN))) return true;
  if (access & A_PAN && !(access & A_EL0) && c.flags & C.M_STAGE1) return false;
  return isAnswerable(C.stage1(c, 0), c, access) && isAnswerable(C.stage1(c, 1), c, access);
}

/**
 * One access that a hint answers by an entry of the first level, for which the TLB need not be looked at as a whole: its output address,
 * or -1. Then nothing has changed, and `through` must make it. Whatever was written to either block is allowed; they lie in memory.
 */
export function hit(c: C.Context, t: T.Tlb, addr: u64, access: u32): i64 {
  const fetch = hintKind(access),
    at = T.hintOf(T.hintSlot(T.hintsOf(t, fetch), addr));
  if (c.magic !== C.CONTEXT_MAGIC || !T.isFirstLevel(t, at)) return -1;
  if (access & (A_EL0 | A_PAN)) access = accessOf(c, access);
  if (!isPlain(c, t, access) || (fetch && (addr & 3) !== 0)) return -1;
  const shared = sharedTag(c, access);
  if (!Hinted.answers(at, addr, shared, ownTag(c, shared), put(wanted(access), INFO_RIGHTS))) return -1;
  const e = T.entry(at),
    b = T.bank(t, firstBank(t, access)),
    out = e.out | (addr & ~e.mask);
  if (<u64>T.Use.place(T.Use.base(b), at) + 4 > memoryBytes()) return -1;
  W.touch(t, b, at);
  b.hits++;
  countHits(t, access, 1);
  return out;
}

/** Many accesses of one kind: a column of u64 -> rows of physical address and INFO. How many were faults. */
export function accessMany(c: C.Context, t: T.Tlb, addrs: usize, rows: usize, n: u32, access: u32): u32 {
  const end = addrs + (n << 3);
  access = accessOf(c, access);
  c.faults = 0;
  if (
    !isPlain(c, t, access) ||
    !T.isThere(T.bank(t, firstBank(t, access))) ||
    ((access & A_KIND) === A_FETCH && !isAligned(addrs, end))
  ) {
    for (; addrs !== end; addrs += 8, rows += ROW_BYTES) row(c, t, read(addrs, false), access, rows);
    return c.faults;
  }
  const hits = n - runHints(c, t, addrs, end, rows, access),
    b = T.bank(t, firstBank(t, access));
  b.hits += hits;
  countHits(t, access, hits);
  return c.faults;
}
