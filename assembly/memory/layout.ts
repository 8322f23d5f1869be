// The map of an engine's range of the linear memory, and the only place with its addresses.
//
//   base     + HEADER_BYTES                                                  chosen by the host
//   +--------+--------+---------+----------+-------------+------------+-     -+----------+
//   | header | tables | walkers | journals | frame words | counts of  |       | arena    |
//   |        |        |         |          | 12 B a unit | walkers, 4 |       | 4K units |
//   +--------+--------+---------+----------+-------------+------------+-     -+----------+
//
// `base` is the engine's own: the host gives it to every instance that works in this engine, and other engines, or anything
// else, may lie beside the range. What lies outside is never read or written. Handles of tables count from `base`.
//
// Frame number and physical address are one shift and one base apart:
// PA = physBase + (pointer - arena).
//
// Words that several walkers write have cache lines of their own: those of the allocator, of the epoch and of the limbo in
// the header, the lock of a table after its geometry, the slot of a walker after its scratch.

import { UNIT_SHIFT } from "../arch/granule";
import { EBUSY, EEXIST, EINVAL, ENOMEM, OK } from "./errno";
import { base } from "./host";
import { add64, claim, peek, publish, publish64 } from "./word";

export const MAGIC: u32 = 0x6e617267; // "gran"
export const LAYOUT_VERSION: u32 = 2;
/** The header, and alignment of `base`: pointers of table records keep the low bits of their offset from it. */
export const HEADER_BYTES: u32 = 1024;
/** The arena starts on, and grows by, the largest unit that can be asked for: 16 start tables of 64K. */
export const ARENA_ALIGN: u32 = 1 << 20;
/** Alignment of the arena's pointer: table pages of every granule are aligned in the linear memory too. */
export const ARENA_POINTER_ALIGN: u32 = 1 << 16;
/** Free-list orders: 4K << 0 to 4K << 8. */
export const ORDERS: u32 = 9;
/** Bytes of metadata for one 4K unit, and for its reference count by each walker. */
export const FRAME_BYTES: u32 = 12;
export const COUNT_BYTES: u32 = 4;
export const TABLE_BYTES: u32 = 256;
export const JOURNAL_BYTES: u32 = 48;
export const MAX_TABLES: u32 = 1 << 10;
export const MAX_WALKERS: u32 = 64;

/** Walkers that write to different lines of so many bytes do not slow each other down. */
export const LINE: usize = 128;

/** The engine: one for a range. Its free lists and their lock, the epoch and the limbo follow, a line each. */
@view("writes")
@unmanaged
export class Header {
  magic: u32;
  version: u32;
  /** `base`: whatever else looks like a header elsewhere is a copy. */
  self: u32;
  /** Bytes from `base` to the arena's end. */
  bytes: u32;
  /** A number that the host gives to this engine, so that it is not taken for the next one in its range. */
  life: u32;
  arena: u32;
  /** Units in the arena. */
  units: u32;
  physBase: u64;
  arenaBytes: u32;
  tables: u32;
  maxTables: u32;
  walkers: u32;
  maxWalkers: u32;
  frames: u32;
  /** Reference counts of walker 0; those of the others follow, `units` each. */
  counts: u32;
}

/** Free frames; all of it belongs to the holder of `lock`. */
@view("inside")
@unmanaged
export class Pool {
  lock: u32;
  /** Units taken now, and the most that ever were. */
  taken: u32;
  peak: u32;
  free0: u32; // heads of the free lists, ORDERS words from here
}

/** The epoch, and the tables that wait for it; see memory/epoch.ts. */
@view("inside")
@unmanaged
export class Limbo {
  /** Guards the queue. */
  lock: u32;
  /** Units + 1 of the oldest and the youngest retired table. */
  oldest: u32;
  youngest: u32;
  /** Tables in the queue, and all that ever were. */
  waiting: u32;
  retired: u32;
  /** A walker died in a shared walk: reference counts of waiting tables may be wrong. */
  doubtful: u32;
}

/** One translation table, hypervisor stage 1 or guest stage 2. */
@view("inside")
@unmanaged
export class Table {
  /** Start tables, 0 once destroyed. Destroying takes it away while others look: read it with `rootOf`. */
  root: u32;
  rootPages: u32;
  flags: u32;
  ps: u32;
  startLevel: i32;
  inputBits: u32;
  addressLayout: u32;
  /** log2 of the first output address that is not valid [GEO-5]. */
  paBits: u32;
  /** FORCE_* */
  force: u32;
  /** Replaced operations, 1 << HOOK_*. */
  hooks: u32;
  /** Pages of the arena that table descriptors name without packed bits; 0 when the host translates. See table/mmops.ts. */
  reach: u32;
  /** FREE, MADE, or the walker id + USED_BY of whoever is making the table. */
  used: u32;
  /** Descriptor of a table in the arena's first page. */
  origin: u64;
  /** The first input address that is not valid. */
  inputEnd: u64;
  vtcr: u64;
  forceBelow: u64;
  /** The handle that names this life of the record; see `handleOf`. */
  life: u32;
  /** Start tables that are being torn down: the root that was taken away. */
  dying: u32;
  /** A walker died in the table: the next walker that has it to itself counts its references again. */
  doubtful: u32;
  /** The reverse maps that know its leaves, 0 for none; see vm/rmap. */
  rmaps: u32;
  /** Walker id + 1 of whoever tears them down, and RELEASED once the handle was given back meanwhile. */
  destroyer: u32;
  // The lock outlives the table: a walker may still wait for it when the record is given to the next one.
  /** Walker id + 1 that holds the table for writing, or waits for its readers to leave; 0 for nobody. See memory/lock.ts. */
  writer: u32;
  /** How often that walker took it; 0 while it waits for readers. */
  writes: u32;
  /** Walkers that sleep until `writer` changes. */
  sleepers: u32;
  /** Changes when a reader leaves that a writer waits for. */
  left: u32;
  /** The machine whose TLBs hear the table's TLBIs, 0 for none; see sim/interconnect.ts. */
  machine: u32;
}

/** Size of a table. Walkers write it while they share the table, so it has a cache line of its own. */
@view("inside")
@unmanaged
export class Growth {
  /** Table pages in use, and the most that ever were. */
  pages: u32;
  peak: u32;
}

// Table.flags
export const T_HYP: u32 = 1 << 0;
export const T_LPA2: u32 = 1 << 1;
/** Forced write-back applies: the CPUs have it and the table did not refuse it [FMT-21]. */
export const T_FWB: u32 = 1 << 2;
export const T_RANGE_TLBI: u32 = 1 << 3;
export const T_XNX: u32 = 1 << 4;
export const T_HVHE: u32 = 1 << 5;
export const T_BTI: u32 = 1 << 6;
/** 7.x typed annotations and marker [FMT-41]. */
export const T_TYPED: u32 = 1 << 7;
export const T_IDMAP: u32 = 1 << 8;
/** Reproduce Linux 6.12 bit by bit. */
export const T_LINUX: u32 = 1 << 9;
/** Optional operations that exist [WLK-16]. */
export const T_DCACHE: u32 = 1 << 10;
export const T_ICACHE: u32 = 1 << 11;
export const T_PAGE_COUNT: u32 = 1 << 12;
/** 52-bit output addresses with 64K pages. */
export const T_WIDE: u32 = 1 << 13;
/** Hardware sets dirty state: live leaves change by atomic read-modify-write only [BUG-50]. */
export const T_HD: u32 = 1 << 14;
/** Attributes of leaves may change without the table's lock: live leaves change by atomic read-modify-write only [IDE-1]. */
export const T_LOCK_FREE: u32 = 1 << 15;
/** EL2: lookups take no lock, and a table is freed only after every walker has passed a quiescent point [IDE-3]. */
export const T_BARRIER: u32 = 1 << 16;
export const T_FLAGS: u32 = 0x1ffff;

// Table.force
export const FORCE_NONE: u32 = 0;
export const FORCE_ALL: u32 = 1;
export const FORCE_BELOW: u32 = 2;
export const FORCE_HOST: u32 = 3;

/** Start of a walker's block; its counters come first so that a counter is one address away. */
export const COUNTERS: u32 = 64;
const RESULT: usize = COUNTERS * 8;
export const RESULT_BLOCK_BYTES: u32 = 64;
const WALKER: usize = RESULT + RESULT_BLOCK_BYTES;
const STACK: usize = WALKER + 192;
export const WALK_BYTES: usize = 256;
/** Walks nest: a visitor that calls the table, a split that builds a tree. */
export const WALK_DEPTH: u32 = 8;
const SCRATCH: usize = STACK + WALK_DEPTH * WALK_BYTES;
/** Bytes that an operation may use while it runs; nested operations would overwrite them. */
export const SCRATCH_BYTES: u32 = 2048;
const SLOT: usize = SCRATCH + SCRATCH_BYTES;
export const WALKER_BYTES: u32 = <u32>(SLOT + LINE);

// Walker.attached
export const DETACHED: u32 = 0;
export const ATTACHED: u32 = 1;
/** Added to the id of the walker that buries it. */
export const BURIED_BY: u32 = 2;

/** What one walker (one thread) keeps beside its counters. */
@view("inside")
@unmanaged
export class Walker {
  journal: u32;
  /** Records the ring holds; 0 is off. */
  capacity: u32;
  /** Records ever written; the ring keeps the last `capacity`. */
  total: u64;
  depth: u32;
  id: u32;
  /** Ring size of the layout; `capacity` is this or 0. */
  ring: u32;
  /** Kinds that are recorded, one bit each. */
  kinds: u32;
  /** Is an instance this walker: DETACHED, ATTACHED, or being buried. */
  attached: u32;
  /** May this thread sleep? A browser's main thread may not. */
  sleeps: u32;
  /** Read sections it is in, one inside the other. */
  sections: u32;
  /** Tables it holds for writing. */
  writing: u32;
  /** Its own page caches, of 4K, 16K and 64K pages. */
  cache0: u32;
  cache1: u32;
  cache2: u32;
  /** Its part of the reference counts; see memory/frames.ts. */
  counts: u32;
  /** Blocks that its thread works with; they go when it dies. */
  block0: u32;
  block1: u32;
  /** Where the journal's next record goes: `total` modulo `capacity`. */
  next: u32;
  /** Handle of the table that its operation is about. */
  using: u32;
  /** Milliseconds of the host's clock at which its present wait began. */
  since: u32;
  // What would be lost with it; see memory/intent.ts.
  breaking: u32;
  level: i32;
  old: u64;
  hand: u32;
  giving: u32;
  tree: u32;
  counting: u32;
  owner: u32;
  /** Its page caches, the last one made first, as units + 1. */
  caches: u32;
  /** Unlinked tables that it could not hand to the limbo, as units + 1. */
  strays: u32;
}

/** From the start of a walker's block to the word that says whether somebody is that walker. */
export const ATTACHED_AT: usize = WALKER + offsetof<Walker>("attached");

/** The block of the walker that this instance is; set once by `attach`. */
export let me: usize = 0;

export function header(): Header {
  return changetype<Header>(base);
}

export function pool(): Pool {
  return changetype<Pool>(base + LINE);
}

/** The word that counts epochs. */
export function epochWord(): usize {
  return base + 2 * LINE;
}

export function limbo(): Limbo {
  return changetype<Limbo>(base + 3 * LINE);
}

/** The word that orders the journals of all walkers. */
export function orderWord(): usize {
  return base + 4 * LINE;
}

/** The next number in the order of all journals. Before a walker writes it holds the lock beside the word, so the order is that of the writes. */
export function nextOrder(): u64 {
  return add64(orderWord(), 1);
}

export function resetOrder(): void {
  publish64(orderWord(), 0);
}

export function orderLock(): usize {
  return orderWord() + 8;
}

/** Was this engine made for several walkers? Then every table has a lock, and operations take it. */
export function parallel(): bool {
  return header().maxWalkers > 1;
}

/** The slot in which walker `id` names the table that it reads; see memory/epoch.ts. */
export function slotOf(id: u32): usize {
  return header().walkers + id * WALKER_BYTES + SLOT;
}

/** This walker's slot. */
export function slot(): usize {
  return me + SLOT;
}

export function walkerAt(id: u32): Walker {
  return changetype<Walker>(header().walkers + id * WALKER_BYTES + WALKER);
}

export function walker(): Walker {
  return changetype<Walker>(me + WALKER);
}

/** What the last call answered beside its status, RESULT_BLOCK_BYTES; record/result.ts names its readings. */
export function resultBlock(): usize {
  return me + RESULT;
}

/** This walker's scratch, SCRATCH_BYTES. */
export function scratch(): usize {
  return me + SCRATCH;
}

/** Frame `depth` of the walk stack, WALK_BYTES. */
export function walkFrame(depth: u32): usize {
  return me + STACK + depth * WALK_BYTES;
}

/** Is there room for a header at `base`? */
function isPlace(): bool {
  return <u64>base + HEADER_BYTES <= (<u64>memory.size()) << 16;
}

/**
 * Lays out an engine at `base` whose arena begins at `arena`; what lies between is zeroed. EEXIST if there is an engine, ENOMEM
 * if the records do not end before the arena, or the arena not before the memory's end.
 */
export function layOut(arena: u32, arenaBytes: u32, physBase: u64, tables: u32, walkers: u32, ring: u32): i32 {
  if (base % HEADER_BYTES || !isPlace()) return EINVAL;
  const h = header();
  if (h.magic === MAGIC && h.self === base) return EEXIST;
  if (arenaBytes === 0 || arenaBytes % ARENA_ALIGN || physBase & (ARENA_ALIGN - 1)) return EINVAL;
  if (arena % ARENA_POINTER_ALIGN) return EINVAL;
  if (tables === 0 || tables > MAX_TABLES || walkers === 0 || walkers > MAX_WALKERS) return EINVAL;
  if (physBase + arenaBytes > (<u64>1) << 52 || physBase >= (<u64>1) << 52) return EINVAL;
  const units = arenaBytes >> UNIT_SHIFT;
  const tablesAt = <u64>base + HEADER_BYTES;
  const walkersAt = tablesAt + tables * TABLE_BYTES; // a multiple of LINE, as WALKER_BYTES is
  const journals = walkersAt + walkers * WALKER_BYTES;
  const frames = journals + <u64>walkers * ring * JOURNAL_BYTES;
  const counts = frames + <u64>units * FRAME_BYTES,
    records = counts + <u64>walkers * units * COUNT_BYTES;
  const end = <u64>arena + arenaBytes;
  // The last pointer behind the arena must not be 0.
  if (records > arena || end > (<u64>memory.size()) << 16 || end > u32.MAX_VALUE) return ENOMEM;
  h.self = base;
  h.bytes = <u32>end - base;
  h.tables = <u32>tablesAt;
  h.maxTables = tables;
  h.walkers = <u32>walkersAt;
  h.maxWalkers = walkers;
  h.frames = <u32>frames;
  h.counts = <u32>counts;
  h.arena = arena;
  h.arenaBytes = arenaBytes;
  h.units = units;
  h.physBase = physBase;
  for (let i: u32 = 0; i < walkers; i++) layOutWalker(i, <u32>journals + i * ring * JOURNAL_BYTES, ring);
  h.version = LAYOUT_VERSION;
  h.magic = MAGIC;
  return OK;
}

function layOutWalker(id: u32, journal: u32, ring: u32): void {
  const w = walkerAt(id);
  w.journal = journal;
  w.ring = ring;
  w.id = id;
  w.counts = header().counts + id * header().units * COUNT_BYTES;
}

/** Makes this instance the walker `id`, which no other instance may be: EBUSY. `sleeps`: its thread may wait. */
export function attach(id: u32, sleeps: bool): i32 {
  const h = header();
  if (!isPlace() || h.magic !== MAGIC || h.version !== LAYOUT_VERSION || h.self !== base || id >= h.maxWalkers)
    return EINVAL;
  const block: usize = h.walkers + id * WALKER_BYTES;
  const taken = block + ATTACHED_AT;
  if (me !== block && (me !== 0 || !claim(taken, DETACHED, ATTACHED))) return EBUSY;
  me = block;
  walker().sleeps = sleeps ? 1 : 0;
  return OK;
}

/** This instance works as walker `id`, as another instance on the same thread does: EINVAL if nobody is that walker. */
export function becomeWalker(id: u32): i32 {
  const h = header();
  if (h.magic !== MAGIC || h.version !== LAYOUT_VERSION || id >= h.maxWalkers) return EINVAL;
  if (peek(attachedWord(id)) !== ATTACHED) return EINVAL;
  me = h.walkers + id * WALKER_BYTES;
  return OK;
}

/** This instance is no walker any more; another may be it. */
export function detach(): void {
  publish(attachedWord(walker().id), DETACHED);
  me = 0;
}

/** Says whether somebody is walker `id`. */
export function attachedWord(id: u32): usize {
  return changetype<usize>(walkerAt(id)) + offsetof<Walker>("attached");
}

/** Pointer -> physical address. `p` lies in the arena. */
export function virtToPhys(p: usize): u64 {
  const h = header();
  return h.physBase + (p - h.arena);
}

/** Physical address -> pointer of `bytes` inside the arena, 0 if it is not there. */
export function physToVirt(pa: u64, bytes: u32): usize {
  const h = header();
  const offset = pa - h.physBase;
  if (offset + bytes > h.arenaBytes || offset >= h.arenaBytes) return 0;
  return h.arena + <usize>offset;
}

/** Do `bytes` from `p` lie in the arena, 8-byte aligned? Any values are allowed. */
export function isArenaRange(p: u32, bytes: u64): bool {
  const h = header();
  return (p & 7) === 0 && p >= h.arena && <u64>(p - h.arena) + bytes <= h.arenaBytes;
}

/** Is `p` an aligned page of 1 << ps inside the arena? Any u32 is allowed. */
export function isArenaPage(p: u32, ps: u32): bool {
  const h = header();
  const offset = p - h.arena;
  return p >= h.arena && offset < h.arenaBytes && (offset & ((1 << ps) - 1)) === 0;
}
