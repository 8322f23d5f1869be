// A TLB of one vCPU: banks of entries in a block that the host gives, in memory that other threads may share.
//
//   byte    0  magic, flags, seed, clock; lock, generation; what waits; whims of the adversary; statistics
//         256  BANKS banks: place and shape, which the host writes, and what went through them
//         768  QUEUE invalidations that wait for their DSB
//        2816  hints: where the last entry for an address is, so that a hit is found without a search
//        6976  bank after bank: entries, set after set; when each was used last; a key of each
//
// An entry belongs to its vCPU's thread, which alone writes one; any thread may take one away, or a page of a run out of it,
// by its tag. A fill that races with an invalidation is discarded: the filling thread publishes its tag and then reads
// `generation`, the invalidating one changes `generation` and then reads the tags, so one of the two sees the other. That
// needs sequential consistency. Tags are published behind the entry (release) and read before it (acquire).

import { bit, extract, put as field, get, insert, LOW, ones, WIDTH } from "../arch/field";
import { FIRST_LEVEL } from "../arch/granule";
import { demand, RULE_BANK, RULE_ENTRIES, RULE_LOCKED, RULE_RUN_HOLE, RULE_STAGE } from "../demand";
import { clearRun } from "../memory/cell";
import { EINVAL, OK } from "../memory/errno";
import { Lanes } from "../memory/lanes";
import { isInMemory, memoryBytes } from "../memory/physical";
import { observe, publish } from "../memory/shared";
import { acquireAs, isHeld, relinquish, tryAcquire } from "../memory/spin";

export const TLB_MAGIC: u32 = 0x626c7467; // "gtlb"
export const TLB_HEADER_BYTES: u32 = 6976;
export const TLB_BANKS_AT: u32 = 256;
export const TLB_BANK_BYTES: u32 = 96;
export const TLB_ENTRY_BYTES: u32 = 64;
export const ENTRY_BYTES_SHIFT: u32 = 6;
/** What of each entry lies apart: the clock when it was used last, four bytes, and its key, one byte. */
export const TLB_APART_BYTES: u32 = 5;
/** From the bytes of an entry to those of its use. */
const USE_SHIFT: u32 = 4;
const USE_BYTES_SHIFT: u32 = 2;
/** What a vector that begins at the last key reads behind it. */
const BEYOND: u32 = 15;
/** What a bank takes at most beside its entries and what lies apart of them. */
export const TLB_BANK_SLACK: u32 = 80;
const QUEUE_AT: u32 = 768;
const MESSAGE_SHIFT: u32 = 5;
/** Invalidations that can wait; one more, and the oldest is applied. */
export const TLB_QUEUE: u32 = 64;
const HINTS_AT: u32 = 2816;
/** The page, times the four bytes of a slot; and higher bits folded in. */
const HINT_PAGE: u32 = 10;
const HINT_FOLD: u32 = 19;
/** Hints for data, one for each value of the folded bits; as many follow for fetches. */
export const HINTS: u32 = 1 << (HINT_FOLD - HINT_PAGE);

// Banks.
/** First level: data, or everything where there is no bank for fetches. */
export const B_DATA: u32 = 0;
export const B_FETCH: u32 = 1;
/** Second level. */
export const B_SECOND: u32 = 2;
/** Leaves of stage 2, IPA -> PA. */
export const B_STAGE2: u32 = 3;
/** Tables: the walk caches. */
export const B_WALK: u32 = 4;
export const BANKS: u32 = 5;

// Which entry goes.
export const POLICY_LRU: u32 = 0;
/** A tree of one bit a node, each away from where it was used last. */
export const POLICY_PLRU: u32 = 1;
export const POLICY_FIFO: u32 = 2;
export const POLICY_RANDOM: u32 = 3;

// Tlb.flags, by the host.
/** Keeps entries for as long as the architecture allows, and drops them when it may; see docs/mmu.md. */
export const TLB_ADVERSARIAL: u32 = 1 << 0;
/** Walk caches hold a stage-1 table's physical address too. */
export const TLB_COMBINED_WALKS: u32 = 1 << 1;
/** A contiguous group is held as one entry [HWM-37]. */
export const TLB_CONTIGUOUS: u32 = 1 << 2;

// Entry.tag:  63:48 holes: pages of a run that were invalidated one by one   47:32 VMID   31:16 ASID
//             15:13 level + 1 of a table   11 fetches only   10 stage 2 on   9 stage 1 off   8 global   6:5 regime
//             4:2 kind   1 another entry may say otherwise   0 valid
export const TAG_VALID: u64 = 1;
export const TAG_SUSPECT: u64 = 2;
export const TAG_KIND: u32 = 2 | (3 << WIDTH);
export const TAG_REGIME: u32 = 5 | (2 << WIDTH);
export const TAG_GLOBAL: u64 = 1 << 8;
export const TAG_STAGE1_OFF: u64 = 1 << 9;
export const TAG_STAGE2_ON: u64 = 1 << 10;
export const TAG_FETCH: u64 = 1 << 11;
export const TAG_LEVEL: u32 = 13 | (3 << WIDTH);
export const TAG_ASID: u32 = 16 | (16 << WIDTH);
export const TAG_VMID: u32 = 32 | (16 << WIDTH);
export const TAG_HOLES: u32 = 48 | (16 << WIDTH);
/** log2 of the pages that a run can have: one hole for each. */
export const RUN_BITS: u32 = 4;
const RUN_PAGES: u32 = 1 << RUN_BITS;
/** What other threads, or later entries, change in a tag while the entry stands. */
const TAG_STATE: u64 = TAG_SUSPECT | ((<u64>0xffff) << (TAG_HOLES & LOW));

// Kinds of entries.
/** A translation of the regime: both stages together, or the one that there is. */
export const KIND_LEAF: u32 = 0;
export const KIND_STAGE2: u32 = 1;
/** A table of stage 1, of stage 2, and of stage 1 with its physical address. */
export const KIND_TABLE1: u32 = 2;
export const KIND_TABLE2: u32 = 3;
export const KIND_TABLE_BOTH: u32 = 4;

/** Tags' regimes: EL1&0, EL2, EL2&0. */
export const REGIME_TAG_EL10: u32 = 0;
export const REGIME_TAG_EL2: u32 = 1;
export const REGIME_TAG_EL20: u32 = 2;

// Entry.meta:  47:44 level + 1 of the leaf of stage 2   43:40 of stage 1, 7: none   37:32 log2 granule, stage 2   29:24 stage 1
//              22 a run of leaves of stage 2   14 of stage 1: contiguous leaves in one entry, invalidated one by one [HWM-37]
//              21:16 log2 of what one address of stage 2 invalidates [HWM-42]   13:8 stage 1   6 EL0 may run it   5:0 rights of stage 1
export const META_USER_RUNS: u64 = 1 << 6;
const META_REACH_LOW: u32 = 8;
const META_RUN_BIT: u32 = 14;
const META_GRANULE_LOW: u32 = 24;
const META_LEVEL_LOW: u32 = 40;
/** Reaches of both stages, and whether they are runs. */
export const META_LEAF: u64 = 0x7f7f00;

@view()
@unmanaged
export class Entry {
  tag: u64;
  /** The input address it begins at, all 64 bits, and the mask of the bits that count. */
  base: u64;
  mask: u64;
  /** Output address; of a table, the table's. */
  out: u64;
  /** INFO of a translation; a stage-2 leaf; attributes of tables. */
  info: u64;
  meta: u64;
  /** Intermediate address; of a table of KIND_TABLE_BOTH, its physical one. */
  ipa: u64;
  /** The clock when it came. When it was used last lies apart. */
  born: u32;
  spare: u32;
}

@view("writes")
@unmanaged
export class Bank {
  pointer: u32;
  sets: u32;
  ways: u32;
  policy: u32;
  /** Sizes that it holds: bit n for 2^n bytes. */
  sizes: u64;
  /** Sizes that came in. */
  present: u64;
  inserts: u64;
  evicted: u64;
  flushed: u64;
  /** Taken away without need, by the adversary. */
  dropped: u64;
  hits: u64;
  misses: u64;
  /** The last look-up that found nothing: its address and tag. Nothing is there until a new entry comes; then the tag is 0. */
  absent: u64;
  absentTag: u64;
}

@unmanaged
export class Message {
  form: u32;
  issuer: u32;
  operand: u64;
  vmid: u32;
  spare: u32;
}

@unmanaged
class Hint {
  at: u32;
}

@view("writes")
@unmanaged
export class Tlb {
  magic: u32;
  flags: u32;
  seed: u32;
  clock: u32;
  /** A spin lock, of whoever invalidates. */
  lock: u32;
  spare: u32;
  /** Twice the invalidations; odd while one runs. */
  generation: u64;
  /** `generation` when the access at hand began. */
  began: u64;
  /** Messages in the queue. */
  pending: u32;
  bytes: u32;
  // Whims of the adversary: once in so many accesses, 0 never.
  early: u32;
  drop: u32;
  prefetch: u32;
  /** Entries that the last search found. */
  matches: u32;
  // What recallTable found.
  level: i32;
  /** Rows of the batch at hand that no hint answered. */
  slow: u32;
  table: u64;
  tables: u64;
  direct: u64;
  // Statistics; the first six by kind of access.
  readHits: u64;
  readMisses: u64;
  writeHits: u64;
  writeMisses: u64;
  fetchHits: u64;
  fetchMisses: u64;
  flushAll: u64;
  flushMva: u64;
  flushMvaAsid: u64;
  flushAsid: u64;
  flushIpa: u64;
  permissionFaults: u64;
  conflicts: u64;
  prefetches: u64;
  rewalks: u64;
}

export function tlbAt(p: usize): Tlb {
  return changetype<Tlb>(p);
}

export function bank(t: Tlb, i: u32): Bank {
  demand(i < BANKS, RULE_BANK);
  return changetype<Bank>(changetype<usize>(t) + TLB_BANKS_AT + i * TLB_BANK_BYTES);
}

export function entry(p: usize): Entry {
  return changetype<Entry>(p);
}

export function message(t: Tlb, i: u32): Message {
  return changetype<Message>(changetype<usize>(t) + QUEUE_AT + ((i & (TLB_QUEUE - 1)) << MESSAGE_SHIFT));
}

/** The hints for data, or for fetches. */
export function hintsOf(t: Tlb, fetch: u32): usize {
  return changetype<usize>(t) + HINTS_AT + ((fetch * HINTS) << 2);
}

/** Slot of the hint for an address. */
export function hintSlot(hints: usize, addr: u64): usize {
  return hints + ((<u32>(addr >> HINT_PAGE) ^ <u32>(addr >> HINT_FOLD)) & ((HINTS - 1) << 2));
}

export function hintOf(slot: usize): u32 {
  return changetype<Hint>(slot).at;
}

export function setHint(slot: usize, e: usize): void {
  changetype<Hint>(slot).at = <u32>e;
}

function entriesOf(b: Bank): u64 {
  return <u64>b.sets * <u64>b.ways;
}

/** Entries, uses, keys, up to the next multiple of an entry. */
function bankBytes(b: Bank): u64 {
  const n = entriesOf(b);
  if (n === 0) return 0;
  return (n * (TLB_ENTRY_BYTES + TLB_APART_BYTES) + BEYOND + TLB_ENTRY_BYTES - 1) & ~(<u64>TLB_ENTRY_BYTES - 1);
}

/** Where the uses of a bank begin, a u32 for each entry. */
export function usesOf(b: Bank): usize {
  return b.pointer + ((b.sets * b.ways) << ENTRY_BYTES_SHIFT);
}

/** Where its keys begin, a byte for each entry; see ways.ts. */
export function keysOf(b: Bank): usize {
  return usesOf(b) + ((b.sets * b.ways) << USE_BYTES_SHIFT);
}

/** When an entry of a bank was used last: a step of every hit, so it is inlined. */
@final
@unmanaged
export class Use {
  /** Where the uses of the bank would begin if its entries began at 0. */
  @inline static base(b: Bank): usize {
    return usesOf(b) - (b.pointer >> USE_SHIFT);
  }

  /** Where that of the entry at `p` is. */
  @inline static place(base: usize, p: usize): usize {
    return base + (p >> USE_SHIFT);
  }

  /** The entry at `p` is used at `clock`. */
  @inline static at(base: usize, p: usize, clock: u32): void {
    Lanes.setWord(Use.place(base, p), clock);
  }
}

/** Has every way an entry? Of the entries' own thread: another may be about to count what it took away. */
export function isFull(b: Bank): bool {
  return b.inserts - b.evicted - b.flushed - b.dropped >= entriesOf(b);
}

/** Is `at`, any value, an entry of a first-level bank of the TLB, with all of it in memory? Banks lie one behind the other; 0, where a guest's RAM may begin, is no hint. */
export function isFirstLevel(t: Tlb, at: u32): bool {
  return (
    t.magic === TLB_MAGIC && at !== 0 && at < bank(t, B_SECOND).pointer && <u64>at + TLB_ENTRY_BYTES <= memoryBytes()
  );
}

/** Pointer of the last entry of a bank that is there. */
export function lastEntry(b: Bank): usize {
  demand(isThere(b), RULE_ENTRIES);
  return usesOf(b) - TLB_ENTRY_BYTES;
}

const MOST_ENTRIES: u32 = 1 << 16;

function isShape(b: Bank): bool {
  if (b.ways === 0) return true;
  if (b.sets === 0 || (b.sets & (b.sets - 1)) !== 0 || b.sets > MOST_ENTRIES) return false;
  return b.ways <= MOST_ENTRIES && b.policy <= POLICY_RANDOM && <u64>b.sets * b.ways <= MOST_ENTRIES;
}

/** Is there a bank, and does it lie in memory? Asked at each use: a hardware update may change this very record. */
export function isThere(b: Bank): bool {
  return b.ways !== 0 && b.sets !== 0 && isInMemory(b.pointer, bankBytes(b));
}

/** Lays the banks out and empties everything; EINVAL for shapes that cannot be, or `bytes` that do not hold them. */
export function initialiseTlb(p: usize, bytes: u32): i32 {
  const t = tlbAt(p);
  let at: u64 = TLB_HEADER_BYTES;
  t.magic = 0;
  for (let i: u32 = 0; i < BANKS; i++) {
    const b = bank(t, i);
    if (!isShape(b) || (i === B_DATA && b.ways === 0)) return EINVAL;
    b.pointer = <u32>(p + <usize>at);
    at += bankBytes(b);
    if (at > bytes) return EINVAL;
    clearRun(changetype<usize>(b) + offsetof<Bank>("present"), changetype<usize>(b) + TLB_BANK_BYTES);
  }
  const flags = t.flags,
    seed = t.seed,
    early = t.early,
    drop = t.drop,
    prefetch = t.prefetch;
  clearRun(p, p + TLB_BANKS_AT);
  clearRun(p + QUEUE_AT, p + bytes);
  t.flags = flags;
  t.seed = seed ? seed : 1;
  t.early = early;
  t.drop = drop;
  t.prefetch = prefetch;
  t.bytes = bytes;
  t.magic = TLB_MAGIC;
  return OK;
}

/** Is this a TLB, with banks inside of its block? The host may have written here since. */
export function isUsableTlb(p: u32): bool {
  if (!isInMemory(p, TLB_HEADER_BYTES)) return false;
  const t = tlbAt(p);
  if (t.magic !== TLB_MAGIC || !isInMemory(p, t.bytes)) return false;
  if (bank(t, B_DATA).ways === 0) return false;
  for (let i: u32 = 0; i < BANKS; i++) {
    const b = bank(t, i);
    if (b.ways === 0) continue;
    if (!isShape(b) || !isInMemory(b.pointer, bankBytes(b))) return false;
  }
  return true;
}

/** The next number of the seed (xorshift). */
export function random(t: Tlb): u32 {
  let x = t.seed;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  t.seed = x;
  return x;
}

/** Once in `n` times; never for 0. */
export function oneIn(t: Tlb, n: u32): bool {
  return n !== 0 && random(t) % n === 0;
}

export function kindOf(tag: u64): u32 {
  return <u32>get(tag, TAG_KIND);
}

/** Level of a table's descriptor. */
export function tableLevel(tag: u64): i32 {
  return <i32>get(tag, TAG_LEVEL) + FIRST_LEVEL;
}

/** log2 of the bytes that an entry maps. */
export function sizeOf(e: Entry): u32 {
  return <u32>popcnt(~e.mask);
}

/** A tag as it was published. */
export function plainTag(tag: u64): u64 {
  return tag & ~TAG_STATE;
}

export function isStage2Kind(kind: u32): bool {
  return kind === KIND_STAGE2 || kind === KIND_TABLE2;
}

/** log2 of a page of a run. */
function pageOfRun(e: Entry, tag: u64): u32 {
  return reachOf(e.meta, isStage2Kind(kindOf(tag)) ? 1 : 0);
}

/** Was the page of `addr`, which lies in the entry, invalidated alone? */
export function isHole(e: Entry, tag: u64, addr: u64): bool {
  return hasHoles(tag) && <bool>bit(get(tag, TAG_HOLES), <u32>((addr & ~e.mask) >> pageOfRun(e, tag)));
}

export function hasHoles(tag: u64): bool {
  return get(tag, TAG_HOLES) !== 0;
}

/** The tag when page `i` of the run has gone too; 0 when that was the last of `pages`. */
export function withHole(tag: u64, i: u32, pages: u32): u64 {
  demand(i < pages && pages <= RUN_PAGES, RULE_RUN_HOLE);
  const all = tag | field((<u64>1) << i, TAG_HOLES);
  return get(all, TAG_HOLES) === ones(pages) ? 0 : all;
}

/**
 * Level, granule and reach of a leaf, for Entry.meta; `at` 0 for stage 1, 1 for stage 2. `size`: log2 of what the entry takes
 * for one: more than its reach in a run.
 */
export function leafMeta(at: u32, level: i32, ps: u32, reach: u32, size: u32): u64 {
  demand(at <= 1, RULE_STAGE);
  const low = at << 3;
  return (
    insert(<u64>(level + 1), META_LEVEL_LOW + (at << 2), 4) |
    insert(ps, META_GRANULE_LOW + low, 6) |
    insert(reach, META_REACH_LOW + low, 6) |
    insert(size > reach ? 1 : 0, META_RUN_BIT + low, 1)
  );
}

/** Pages of a run in an entry that can be invalidated one by one; 1 for an entry that goes whole. */
export function runPages(e: Entry, at: u32): u32 {
  const size = sizeOf(e),
    reach = reachOf(e.meta, at);
  if (!bit(e.meta, META_RUN_BIT + (at << 3)) || size <= reach) return 1;
  return min<u32>(1 << min<u32>(size - reach, RUN_BITS), RUN_PAGES);
}

export function levelOf(meta: u64, at: u32): i32 {
  demand(at <= 1, RULE_STAGE);
  return <i32>extract(meta, META_LEVEL_LOW + (at << 2), 4) - 1;
}

export function granuleOf(meta: u64, at: u32): u32 {
  demand(at <= 1, RULE_STAGE);
  return <u32>extract(meta, META_GRANULE_LOW + (at << 3), 6);
}

export function reachOf(meta: u64, at: u32): u32 {
  demand(at <= 1, RULE_STAGE);
  return <u32>extract(meta, META_REACH_LOW + (at << 3), 6);
}

// The lock of whoever invalidates: the queue and the statistics of TLBIs belong to its holder.

function lockOf(t: Tlb): usize {
  return changetype<usize>(t) + offsetof<Tlb>("lock");
}

/** The word of a holder, by the CPU that issues: never 0. */
function holderOf(issuer: u32): u32 {
  return issuer | (1 << 31);
}

/** Takes the lock for what CPU `issuer` has issued; ETIMEDOUT when its holder makes no progress. */
export function lock(t: Tlb, issuer: u32): i32 {
  return acquireAs(lockOf(t), holderOf(issuer));
}

/** Takes the lock if nobody has it: for work that need not be done. */
export function tryLock(t: Tlb): bool {
  return tryAcquire(lockOf(t), holderOf(0));
}

export function unlock(t: Tlb): void {
  relinquish(lockOf(t));
}

function generationAt(t: Tlb): usize {
  return changetype<usize>(t) + offsetof<Tlb>("generation");
}

/** Has no invalidation begun since the access at hand did? */
export function isUndisturbed(t: Tlb): bool {
  return observe(generationAt(t)) === t.began;
}

/** An access begins. What it fills stands only if no invalidation is under way now or begins before it is done. */
export function begin(t: Tlb): void {
  const now = observe(generationAt(t));
  t.began = now & 1 ? u64.MAX_VALUE : now;
}

/** An invalidation begins: `generation` is odd until `settle`. Under the lock. */
export function unsettle(t: Tlb): void {
  demand(isHeld(lockOf(t)), RULE_LOCKED);
  const p = generationAt(t);
  publish(p, (observe(p) + 1) | 1);
}

/** The invalidation is done. Under the lock. */
export function settle(t: Tlb): void {
  demand(isHeld(lockOf(t)), RULE_LOCKED);
  const p = generationAt(t);
  publish(p, observe(p) + 1);
}
