// The exports of the core, and nothing else: handles are checked here, addresses are joined here.
// Statuses are 0 or a negative errno. What a function answers beside its status is a record of record/result.ts.

import { vttbrAlignment as alignmentOf, tcrEl2 as tcrOf, vtcr as vtcrOf, vttbr as vttbrOf } from "./arch/control";
import { addressLayout, addressMask, decodeAddress, encodeAddress, leafDescriptor } from "./arch/descriptor";
import * as G from "./arch/granule";
import { isStage1Prot, stage1Attributes, stage1MemoryType, stage1Prot } from "./arch/stage1";
import { isStage2Prot, stage2Attributes, stage2MemoryType, stage2Prot } from "./arch/stage2";
import { ipaOperand, rangeNum, rangeOperand, rangePages, rangeScale } from "./arch/tlbi";
import { CACHE_ARENA, cached, createCache, destroyCache, fillTo, giveOwn, isCache, topUp } from "./memory/cache";
import { advance as advanceEpoch, inSection, slotOfWalker } from "./memory/epoch";
import { EBUSY, EDEADLK, EINVAL, EPERM, OK } from "./memory/errno";
import { giveFrames, initFrames, references, takeFrames } from "./memory/frames";
import { handOver, intendNothing } from "./memory/intent";
import * as L from "./memory/layout";
import { isReader, isWriter, MODE_EXCLUSIVE, MODE_SHARED, writerOf } from "./memory/lock";
import * as T from "./memory/tables";
import { peek } from "./memory/word";
import { setJournal as journalSwitch } from "./record/journal";
import {
  EngineInfo,
  JournalInfo,
  LimboInfo,
  RangeStep,
  result,
  TableInfo,
  Unlinked,
  WalkerInfo,
} from "./record/result";
import { bury as burial } from "./table/burial";
import { mapPages as mapColumn, relaxPages as relaxColumn } from "./table/columns";
import { setForcePte as forcePte, createHyp as makeHyp, createStage2 as makeStage2 } from "./table/config";
import { splitsExecute } from "./table/hyp";
import { getLeaves as leavesOf, translated } from "./table/lookup";
import * as V from "./table/outside";
import { scan as scanTable } from "./table/scan";
import { begin, end as endUse, modeOf, SHARES_NOTHING, SHARES_READ } from "./table/sharing";
import { createUnlinked as makeUnlinked } from "./table/split";
import { operate, SUBMIT_BYTES, submit as submitRecords } from "./table/submit";
import { collect, drain, release, releaseSubtree, resumeTeardowns } from "./table/teardown";

// --- engine -----------------------------------------------------------------------------------

/**
 * Lays out an engine at `base`, its arena at `arena`, and attaches as walker 0. What lies between is zeroed. `physBase` is the arena's.
 */
export function initialise(arena: u32, arenaBytes: u32, physBase: u64, tables: u32, walkers: u32, ring: u32): i32 {
  const r = L.layOut(arena, arenaBytes, physBase, tables, walkers, ring);
  if (r) return r;
  initFrames();
  return L.attach(0, false);
}

/** Becomes walker `id` of an engine that is laid out; EBUSY if another instance is that walker. `sleeps`: this thread may sleep. */
export function attach(id: u32, sleeps: bool): i32 {
  return L.attach(id, sleeps);
}

/** Two blocks of the arena that this walker's thread works with, so that they are not lost with it: EINVAL if they are none. */
export function entrust(a: u32, b: u32): i32 {
  if (L.me === 0 || !L.isArenaPage(a, G.UNIT_SHIFT) || !L.isArenaPage(b, G.UNIT_SHIFT)) return EINVAL;
  L.walker().block0 = a;
  L.walker().block1 = b;
  return OK;
}

/** Stops being a walker, and gives back its own page caches. EBUSY while it holds a lock or a section. */
export function detach(): i32 {
  if (L.me === 0) return EINVAL;
  const w = L.walker();
  if (w.sections !== 0 || w.writing !== 0 || w.depth !== 0) return EBUSY;
  giveOwn();
  w.block0 = 0;
  w.block1 = 0;
  L.detach();
  return OK;
}

/** The result block, RESULT_BLOCK_BYTES. */
export function resultPointer(): u32 {
  return L.resultBlock();
}

/** A walker's counters, COUNTERS u64; 0 for no such walker. */
export function counterPointer(id: u32): u32 {
  const h = L.header();
  return L.me !== 0 && id < h.maxWalkers ? h.walkers + id * L.WALKER_BYTES : 0;
}

/** Answers an EngineInfo. */
export function engineInfo(): i32 {
  if (L.me === 0) return EINVAL;
  const h = L.header(),
    frames = L.pool();
  const r = result<EngineInfo>();
  r.arena = h.arena;
  r.arenaBytes = h.arenaBytes;
  r.physBase = h.physBase;
  r.taken = frames.taken;
  r.peak = frames.peak;
  r.walkers = h.maxWalkers;
  r.walker = L.walker().id;
  return OK;
}

/** Records these kinds in this walker's journal from now on, 0 for none; it starts empty. */
export function setJournal(kinds: u32): i32 {
  if (L.me === 0) return EINVAL;
  journalSwitch(kinds);
  return OK;
}

/** Answers the JournalInfo of walker `id`. */
export function journalInfo(id: u32): i32 {
  if (L.me === 0 || id >= L.header().maxWalkers) return EINVAL;
  const w = L.walkerAt(id);
  const r = result<JournalInfo>();
  r.pointer = w.journal;
  r.capacity = w.capacity;
  r.total = w.total;
  return OK;
}

// --- frames and caches ------------------------------------------------------------------------

/** 4K << order zeroed bytes of the arena; 0 when it is spent. */
export function takeBlock(order: u32): u32 {
  if (L.me === 0 || order >= L.ORDERS) return 0;
  const p = takeFrames(order);
  handOver();
  return p;
}

/** Gives a block of takeBlock back; EINVAL for anything else. */
export function giveBlock(p: u32): i32 {
  if (L.me === 0 || !L.isArenaPage(p, G.UNIT_SHIFT)) return EINVAL;
  return giveFrames(p) ? OK : EINVAL;
}

/** References on the page at `p`, -1 for no page. */
export function pageReferences(p: u32): i32 {
  return L.me !== 0 && L.isArenaPage(p, G.UNIT_SHIFT) ? references(p) : -1;
}

/** A page cache for tables of granule `ps`, empty, of at most `capacity` pages; handle or errno. */
export function cacheCreate(ps: u32, capacity: u32): i32 {
  return L.me === 0 ? EINVAL : createCache(ps, capacity);
}

function realCache(cache: u32, ps: u32): bool {
  return L.me !== 0 && cache > CACHE_ARENA && isCache(cache, ps);
}

/** Frees a page cache and the pages in it. */
export function cacheDestroy(cache: u32, ps: u32): i32 {
  if (!realCache(cache, ps)) return EINVAL;
  destroyCache(cache);
  return OK;
}

/** At least `min` pages, ENOMEM otherwise. */
export function cacheTopUp(cache: u32, ps: u32, min: u32): i32 {
  return realCache(cache, ps) ? topUp(cache, min) : EINVAL;
}

/** Exactly `n` pages. */
export function cacheFill(cache: u32, ps: u32, n: u32): i32 {
  return realCache(cache, ps) ? fillTo(cache, n) : EINVAL;
}

/** Pages in a cache, or errno. */
export function cacheCount(cache: u32, ps: u32): i32 {
  return realCache(cache, ps) ? <i32>cached(cache) : EINVAL;
}

// --- tables -----------------------------------------------------------------------------------

/** A stage-2 table; handle or errno. */
export function createStage2(ps: u32, vtcr: u64, flags: u32, hooks: u32): i32 {
  return L.me === 0 ? EINVAL : makeStage2(ps, vtcr, flags, hooks);
}

/** An EL2 stage-1 table; handle or errno. */
export function createHyp(ps: u32, vaBits: u32, flags: u32, hooks: u32): i32 {
  return L.me === 0 ? EINVAL : makeHyp(ps, vaBits, flags, hooks);
}

/** Gives a destroyed table's handle back. */
export function releaseTable(table: u32): i32 {
  return T.isTableHandle(table) ? release(T.tableAt(table)) : EINVAL;
}

/** Answers a TableInfo. */
export function tableInfo(table: u32): i32 {
  if (!T.isTableHandle(table)) return EINVAL;
  const t = T.tableAt(table);
  const r = result<TableInfo>();
  r.root = T.rootOf(t);
  r.rootPages = t.rootPages;
  r.startLevel = t.startLevel;
  r.inputBits = t.inputBits;
  r.pages = T.growthOf(t).pages;
  r.peak = T.growthOf(t).peak;
  r.outputBits = t.paBits;
  r.flags = t.flags;
  return OK;
}

/** When leaves of this table must be pages: `force` is FORCE_*, `below` the bound of FORCE_BELOW. */
export function setForcePte(table: u32, force: u32, below: u64): i32 {
  return T.isTableHandle(table) ? forcePte(T.tableAt(table), force, below) : EINVAL;
}

/** A detached subtree for one entry of `level`; answers an Unlinked. */
export function createUnlinked(table: u32, phys: u64, level: i32, prot: u32, cache: u32, pages: bool): i32 {
  if (!T.isTableHandle(table)) return EINVAL;
  const t = T.tableAt(table);
  if (t.flags & L.T_HYP) return EINVAL;
  if (!T.isServed(t)) return EPERM;
  const r = makeUnlinked(t, phys, level, prot, cache, pages);
  intendNothing(L.walker()); // the subtree is the caller's
  if (r < 0) return <i32>r;
  result<Unlinked>().page = <u32>r;
  return OK;
}

/** Frees the detached subtree at `page`, once named by an entry of `level`. */
export function freeUnlinked(table: u32, page: u32, level: i32): i32 {
  if (!T.isTableHandle(table)) return EINVAL;
  const t = T.tableAt(table);
  if (!L.isArenaPage(page, t.ps) || level < G.FIRST_LEVEL || level > G.LAST_LEVEL) return EINVAL;
  if (!T.isServed(t)) return EPERM;
  const r = releaseSubtree(t, page, level);
  intendNothing(L.walker());
  return r;
}

/** Performs `n` records at `p`; how many were performed, or a negative errno. */
export function submit(p: u32, n: u32, stop: bool): i32 {
  if (L.me === 0 || !L.isArenaRange(p, <u64>n * SUBMIT_BYTES)) return EINVAL;
  return <i32>submitRecords(p, n, stop);
}

/** An address or size that a caller gives as a double: exact, and below 2^53. */
function isExact(wide: u64, given: f64): bool {
  return wide >> 53 === 0 && <f64>(<i64>wide) === given;
}

/**
 * One operation (OP_*) with its fields as arguments instead of in a record, addresses as doubles: a status, EINVAL for a double that is no
 * address. What it answers beside that is the Answer.
 */
export function call(
  op: u32,
  table: u32,
  flags: u32,
  cache: u32,
  addr: f64,
  size: f64,
  phys: f64,
  prot: u32,
  level: i32,
): i32 {
  const a = <u64>(<i64>addr),
    s = <u64>(<i64>size),
    p = <u64>(<i64>phys);
  if (L.me === 0 || !isExact(a, addr) || !isExact(s, size) || !isExact(p, phys)) return EINVAL;
  return operate(op, table, flags, cache, a, s, p, prot, level);
}

/** Output address of the byte at `addr`; -1 where no leaf maps it, or an errno. */
export function lookup(table: u32, addr: f64): f64 {
  const a = <u64>(<i64>addr);
  if (!T.isTableHandle(table) || !isExact(a, addr)) return EINVAL;
  const t = T.tableAt(table);
  if (!L.parallel()) return <f64>translated(t, a);
  const mode = modeOf(t, SHARES_READ, 0);
  const bad = begin(t, mode);
  if (bad) return bad;
  const r = translated(t, a);
  endUse(t, mode);
  return <f64>r;
}

function isStage2(table: u32): bool {
  return T.isTableHandle(table) && !(T.tableAt(table).flags & L.T_HYP);
}

/** Handles `n` translation faults: columns of addresses, outputs and statuses. How many were done, or an errno. */
export function mapPages(
  table: u32,
  addrs: u32,
  physs: u32,
  statuses: u32,
  n: u32,
  prot: u32,
  cache: u32,
  flags: u32,
): i32 {
  if (!isStage2(table) || !L.isArenaRange(addrs, (<u64>n) << 3) || !L.isArenaRange(physs, (<u64>n) << 3)) return EINVAL;
  if (!L.isArenaRange(statuses, n)) return EINVAL;
  return mapColumn(T.tableAt(table), addrs, physs, statuses, n, prot, cache, flags);
}

/** Handles `n` permission faults: columns of addresses and statuses. How many were done, or an errno. */
export function relaxPages(table: u32, addrs: u32, statuses: u32, n: u32, prot: u32, flags: u32): i32 {
  if (!isStage2(table) || !L.isArenaRange(addrs, (<u64>n) << 3) || !L.isArenaRange(statuses, n)) return EINVAL;
  return relaxColumn(T.tableAt(table), addrs, statuses, n, prot, flags);
}

/** Leaves of `n` addresses, three columns. */
export function getLeaves(table: u32, addrs: u32, leaves: u32, levels: u32, n: u32): i32 {
  if (!T.isTableHandle(table)) return EINVAL;
  if (!L.isArenaRange(addrs, (<u64>n) << 3) || !L.isArenaRange(leaves, (<u64>n) << 3) || !L.isArenaRange(levels, n))
    return EINVAL;
  // Neither column may write over the other.
  if (<u64>levels + n > leaves && <u64>leaves + ((<u64>n) << 3) > levels) return EINVAL;
  return leavesOf(T.tableAt(table), addrs, leaves, levels, n);
}

/** Records of the entries after a cursor; see table/scan.ts. */
export function scan(
  table: u32,
  root: u32,
  level: i32,
  cursor: u64,
  cursorLevel: i32,
  end: u64,
  what: u32,
  out: u32,
  max: u32,
): i32 {
  if (!T.isTableHandle(table) || !L.isArenaRange(out, (<u64>max) << 5)) return EINVAL;
  const t = T.tableAt(table);
  if (root !== 0 && !L.isArenaPage(root, t.ps)) return EINVAL;
  const mode = modeOf(t, SHARES_NOTHING, 0);
  const bad = begin(t, mode);
  if (bad) return bad;
  const r = scanTable(t, root, level, cursor, cursorLevel, end, what, out, max);
  endUse(t, mode);
  return r;
}

/** Walks with the visitor of this thread's host; shared among several walkers only if the flags say that it does not sleep. */
export function walkOutside(table: u32, addr: u64, size: u64, flags: u32, cache: u32): i32 {
  if (!T.isTableHandle(table)) return EINVAL;
  const t = T.tableAt(table);
  const mode = V.modeOfVisitor(t, flags);
  if (mode < 0) return mode;
  const bad = begin(t, mode);
  if (bad) return bad;
  const r = V.walkOutside(t, addr, size, flags, cache);
  endUse(t, mode);
  return r;
}

/** Stores `descriptor` where the translation of `addr` ends, without a flush; answers the old descriptor and its level. */
export function poke(table: u32, addr: u64, descriptor: u64): i32 {
  if (!T.isTableHandle(table)) return EINVAL;
  const t = T.tableAt(table);
  const mode = modeOf(t, SHARES_NOTHING, 0);
  const bad = begin(t, mode);
  if (bad) return bad;
  const r = V.poke(t, addr, descriptor);
  endUse(t, mode);
  return r;
}

// --- several walkers --------------------------------------------------------------------------

/** Holds the lock of a table, for reading or `exclusive`, over several calls: 0, EDEADLK or ETIMEDOUT. */
export function lockTable(table: u32, exclusive: bool): i32 {
  if (L.me === 0 || !T.isTableHandle(table)) return EINVAL;
  return L.parallel() ? begin(T.tableAt(table), exclusive ? MODE_EXCLUSIVE : MODE_SHARED) : OK;
}

/** Lets go of it; EPERM if this walker does not hold it so. */
export function unlockTable(table: u32, exclusive: bool): i32 {
  if (L.me === 0 || !T.isTableHandle(table)) return EINVAL;
  if (!L.parallel()) return OK;
  const t = T.tableAt(table);
  if (exclusive ? !isWriter(t) : !isReader(t)) return EPERM;
  endUse(t, exclusive ? MODE_EXCLUSIVE : MODE_SHARED);
  return OK;
}

/** Waits for the grace period of all tables in limbo and frees them: 0, EDEADLK in a section, ETIMEDOUT when a walker makes no progress. */
export function reclaim(): i32 {
  if (L.me === 0) return EINVAL;
  if (!L.parallel()) return OK;
  if (inSection()) return EDEADLK;
  resumeTeardowns();
  return drain();
}

/** Frees what may go now, without waiting; answers a LimboInfo. */
export function limboInfo(): i32 {
  if (L.me === 0) return EINVAL;
  collect(u32.MAX_VALUE);
  const l = L.limbo();
  const r = result<LimboInfo>();
  r.waiting = l.waiting;
  r.retired = l.retired;
  r.heldUpBy = advanceEpoch();
  return OK;
}

/** Answers the WalkerInfo of walker `id`. */
export function walkerInfo(id: u32): i32 {
  if (L.me === 0 || id >= L.header().maxWalkers) return EINVAL;
  const seen = slotOfWalker(id),
    w = L.walkerAt(id);
  const r = result<WalkerInfo>();
  r.attached = peek(L.attachedWord(id)) === L.ATTACHED ? 1 : 0;
  r.reads = T.handleOf(changetype<L.Table>(<usize>(seen >> 32)));
  r.inSection = <u32>seen !== 0 ? 1 : 0;
  r.writes = w.writing;
  return OK;
}

/** Walker that holds `table` for writing, -1 for none. */
export function writerOfTable(table: u32): i32 {
  return T.isTableHandle(table) ? <i32>writerOf(T.tableAt(table)) - 1 : EINVAL;
}

/**
 * Walker `id` has ended and will not run again: takes it out of its section and its locks, and gives back its caches. Answers a Burial. EINVAL:
 * nobody is that walker; EBUSY: another walker is at it; ETIMEDOUT: another dead one is in the way, bury that one and then
 * this one again; EPERM: a table that it wrote to calls a function that this walker lacks. Precondition: its thread does not run any more.
 */
export function bury(id: u32): i32 {
  if (L.me === 0 || id >= L.header().maxWalkers || id === L.walker().id) return EINVAL;
  return burial(id);
}

/** Reads the slot of the visit again; answers its descriptor. EPERM outside a visit, as for the five below. */
export function visitRead(): i32 {
  return L.me === 0 ? EINVAL : V.visitRead();
}

/** Breaks the slot of the visit from its snapshot: marker, barrier, TLBI; EAGAIN if it changed [S2-20]. */
export function visitTryBreak(): i32 {
  return L.me === 0 ? EINVAL : V.visitTryBreak();
}

/** Publishes `next` in the slot that visitTryBreak took. */
export function visitMake(next: u64): i32 {
  return L.me === 0 ? EINVAL : V.visitMake(next);
}

/** Writes `next` over the snapshot in one step, without a flush; EAGAIN if the slot changed. */
export function visitSet(next: u64): i32 {
  return L.me === 0 ? EINVAL : V.visitSet(next);
}

/** A new, empty table from the walk's cache; answers its table descriptor. ENOMEM if there is no page. */
export function visitNewTable(): i32 {
  return L.me === 0 ? EINVAL : V.visitNewTable();
}

/** Frees the subtree of a table descriptor that the visit replaced. */
export function visitFreeTable(descriptor: u64): i32 {
  return L.me === 0 ? EINVAL : V.visitFreeTable(descriptor);
}

// --- what Arm says: pure functions, 0 for invalid arguments ---------------------------

function isLevel(level: i32): bool {
  return level >= G.FIRST_LEVEL && level <= G.LAST_LEVEL;
}

/** log2 of what an entry of `level` covers. */
export function levelShift(ps: u32, level: i32): u32 {
  return G.isGranule(ps) && isLevel(level) ? G.shift(ps, level) : 0;
}

/** Start level of stage 2 for `bits`; -128 for invalid arguments. */
export function stage2StartLevel(ps: u32, bits: u32): i32 {
  return G.isGranule(ps) && bits <= 64 ? 4 - <i32>G.stage2Levels(ps, bits) : i8.MIN_VALUE;
}

/** Start tables side by side for `bits` of input from level `start`, 1..16 [GEO-9]. */
export function startTables(ps: u32, bits: u32, start: i32): u32 {
  return G.isGranule(ps) && start >= 0 && start <= G.LAST_LEVEL && bits <= 64 ? G.startTables(ps, bits, start) : 0;
}

/** Sizes that a leaf can have, as a bitmap of powers of two [GEO-6]. */
export function blockSizes(ps: u32): u64 {
  return G.isGranule(ps) ? G.blockSizes(ps) : 0;
}

/** VTCR_EL2 for `bits` of IPA on a CPU with these ID registers [REG-1..5]. */
export function vtcr(ps: u32, bits: u32, mmfr0: u64, mmfr1: u64, lpa2: bool, wide: bool, af: bool): u64 {
  return G.isGranule(ps) && bits > 0 && bits <= 64 ? vtcrOf(ps, bits, mmfr0, mmfr1, lpa2, wide, af) : 0;
}

/** VTTBR_EL2 from the first start table's address, VMID and CnP [REG-8]. */
export function vttbr(pa: u64, vmid: u32, cnp: bool): u64 {
  return vttbrOf(pa, vmid, cnp);
}

/** log2 of the alignment that the start tables need [REG-8]. */
export function vttbrAlignment(ps: u32, bits: u32): u32 {
  return G.isGranule(ps) && bits <= 64 ? alignmentOf(ps, bits) : 0;
}

/** TCR_EL2 for `vaBits` of input, `paCode` as its PS field [REG-9]. */
export function tcrEl2(ps: u32, vaBits: u32, paCode: u32, lpa2: bool): u64 {
  return G.isGranule(ps) && vaBits <= 64 ? tcrOf(ps, vaBits, paCode, lpa2) : 0;
}

/** A stage-2 leaf, 0 for impossible protections. `flags` as of tables. */
export function stage2Leaf(ps: u32, level: i32, pa: u64, prot: u32, flags: u32): u64 {
  const xnx = <bool>(flags & L.T_XNX),
    lpa2 = <bool>(flags & L.T_LPA2);
  if (!G.isGranule(ps) || !isLevel(level) || !isStage2Prot(prot, xnx)) return 0;
  const attributes = stage2Attributes(prot, <bool>(flags & L.T_FWB), lpa2, xnx);
  return leafDescriptor(addressLayout(ps, lpa2), ps, pa, attributes, level);
}

/** An EL2 stage-1 leaf, 0 for impossible protections. */
export function hypLeaf(ps: u32, level: i32, pa: u64, prot: u32, flags: u32): u64 {
  const lpa2 = <bool>(flags & L.T_LPA2),
    split = splitsExecute(flags);
  if (!G.isGranule(ps) || !isLevel(level) || !isStage1Prot(prot, split)) return 0;
  const attributes = stage1Attributes(prot, <bool>(flags & L.T_HVHE), <bool>(flags & L.T_BTI), lpa2, split);
  return leafDescriptor(addressLayout(ps, lpa2), ps, pa, attributes, level);
}

/** Protections of a descriptor under `flags` (T_HYP chooses the stage); memory type with `type`. */
export function protectionOf(descriptor: u64, flags: u32, type: bool): u32 {
  const valid = <bool>(descriptor & 1);
  if (flags & L.T_HYP) {
    const prot = stage1Prot(descriptor, <bool>(flags & L.T_HVHE), splitsExecute(flags));
    return type && valid ? prot | stage1MemoryType(descriptor) : prot;
  }
  const prot = stage2Prot(descriptor, <bool>(flags & L.T_XNX));
  return type && valid ? prot | stage2MemoryType(descriptor, <bool>(flags & L.T_FWB)) : prot;
}

/** Descriptor bits of an output address. */
export function addressBits(ps: u32, lpa2: bool, pa: u64): u64 {
  return G.isGranule(ps) ? encodeAddress(addressLayout(ps, lpa2), ps, pa) : 0;
}

/** Output address of a descriptor. */
export function outputAddress(ps: u32, lpa2: bool, descriptor: u64): u64 {
  return G.isGranule(ps) ? decodeAddress(addressLayout(ps, lpa2), ps, descriptor) : 0;
}

/** Which bits of a descriptor are its output address. */
export function outputMask(ps: u32, lpa2: bool): u64 {
  return G.isGranule(ps) ? addressMask(addressLayout(ps, lpa2), ps) : 0;
}

/** Operand of IPAS2E1IS. */
export function tlbiIpaOperand(ps: u32, ipa: u64, level: i32): u64 {
  return G.isGranule(ps) ? ipaOperand(ps, ipa, level) : 0;
}

/**
 * The next instruction for a range of `pages` from `addr`, scales tried from `scale` (first 3) down:
 * answers a RangeStep. EINVAL for invalid arguments.
 */
export function tlbiRangeStep(ps: u32, addr: u64, pages: u64, scale: i32, level: i32, lpa2: bool, ranged: bool): i32 {
  if (L.me === 0 || !G.isGranule(ps) || pages === 0 || scale < 0 || scale > 3) return EINVAL;
  addr = G.alignDown(addr, G.pageBytes(ps));
  const found = rangeScale(addr, pages, scale, lpa2, ranged);
  if (found < 0) return rangeResult(1, -1, 0, ipaOperand(ps, addr, level), scale);
  const num = rangeNum(pages, found),
    operand = rangeOperand(ps, addr, found, num, level, lpa2);
  return rangeResult(rangePages(num, found), found, num, operand, max(found - 1, 0));
}

function rangeResult(pages: u64, scale: i32, num: i32, operand: u64, next: i32): i32 {
  const r = result<RangeStep>();
  r.pages = pages;
  r.scale = scale;
  r.num = num;
  r.operand = operand;
  r.next = next;
  return OK;
}
