// A world: one memory and the walkers that share it. Everything that a walker is between two steps lies in this memory too, in its
// control block, so a state of the memory is a state of the world.

import { type AccessKind, isAtomic, type Site, writes } from "./build.js";
import { CHUNK_BYTES, type KeptStates, States } from "./state.js";
import type { WeakMemory } from "./weak-memory.js";

/** Bytes of a walker's control block: a chunk of words, then its stack while it is put aside. */
export const BLOCK_BYTES = 8192;
/** Walkers of one world at most: `met` has 8 bits for each kind of access. */
export const MAX_WALKERS = 8;

// Words of a control block.
const STATUS = 0;
/** 1: something has changed since the walker last waited. Else where it waited: 0, or in an exact search 2 + its loop. */
export const NEWS = 1;
const OPERATION = 2;
const SITE = 3;
const ADDRESS = 4;
const EXPECTED = 5;
const RESULTS = 6;
/** A word that is a fibre's own. */
export const OWN = 7;
const FIRST_RESULT = 8;
const MAX_RESULTS = 48;
/** Of the first walker's block: the number of what a weak memory holds. */
const WEAK = 63;
/** Where a fibre's own bytes begin in the block. */
export const STACK_AT: number = CHUNK_BYTES;

/** Loops of waits that are told apart; the others count as one. */
const MAX_LOOPS = 32;

const IDLE = 0;
const PENDING = 1;
const DONE = 2;
const DEAD = 3;

// Modes: see assembly/memory/schedule.ts.
export const QUIET = 0;
export const EXPLORING = 1;
export const SEEN = 2;
export const EVERYWHERE = 4;
export const COMMON = 8;

/** The access that a walker is about to make. */
export interface Pending {
  readonly site: number;
  readonly kind: AccessKind;
  readonly address: number;
  readonly bytes: number;
}

/** Sees every access of a step, in order. */
export interface Observer {
  /** Walker `id` is about to access `bytes` from `address`; `ordered`: others could have come in before it. */
  access(id: number, site: number, kind: AccessKind, address: number, bytes: number, ordered: boolean): void;
}

/** How a walker runs: up to its next place where others may come in. */
export interface Fibre {
  /** Begins operation `n`; true if it ended without such a place. */
  begin(n: number): boolean;
  /** Makes the pending access and goes on; true if the operation ended. */
  resume(): boolean;
  /** Operations of its program. */
  readonly operations: number;
  setMode(mode: number): void;
  /** Forgets a step that ended in an error. */
  reset(): void;
  /** The end of what its stack has ever taken, if it has one: for a world that takes up what another one has left. */
  high?: number;
}

/** What a search knows of its world, as it can be written to a file. */
export interface KeptWorld {
  readonly states: KeptStates;
  readonly first: number;
  readonly meeting: Uint8Array;
  readonly met: Uint16Array;
  readonly highs: readonly (number | undefined)[];
  /** Of the memory before the walkers began. */
  readonly hash: number;
  /** What a kind of worlds keeps beside it. */
  readonly more: unknown;
}

/** What a world's memory holds beside the scenario's own bytes. */
export interface Room {
  readonly buffer: ArrayBufferLike;
  /** Control blocks, one a walker. */
  readonly blocks: number;
  /** Bytes from 0 to here are the world's state: all below is in chunks. */
  readonly end: number;
  /** The tables of schedule.ts. */
  readonly dirty: number;
  readonly meeting: number;
  readonly met: number;
  readonly touched: number;
}

/** How many bytes the tables of schedule.ts take for `end` bytes of state. */
export function tablesFor(end: number): { dirty: number; meeting: number; met: number; touched: number } {
  return { dirty: (end / CHUNK_BYTES + 15) & ~7, meeting: end >>> 3, met: (end >>> 3) * 2, touched: end >>> 3 };
}

/**
 * One memory, and the walkers that share it: what a scenario makes.
 *
 * @example
 * ```ts
 * import { protocol } from "granule/explore";
 * const made = protocol({ name: "idle", title: "", words: { a: 0 }, walkers: [function* (m) { yield* m.load("a"); }] });
 * console.log(made.make(undefined, 0).walkers); // 1
 * ```
 */
export class World {
  /** The memory, in words of 32 bits. */
  readonly words: Int32Array;
  /** @internal */
  readonly room: Room;
  /** @internal */
  readonly sites: readonly Site[];
  /** How many there are. */
  readonly walkers: number;
  /** @internal */
  readonly fibres: Fibre[] = [];
  /** Places where others may come in: a byte for each 8 bytes of memory. */
  readonly meeting: Uint8Array;
  /** @internal */
  readonly met: Uint16Array;
  /** @internal */
  readonly dirty: Uint8Array;
  /** @internal */
  states!: States;
  /** The state in which all walkers are about to begin. */
  first = 0;
  /** @internal */
  observer: Observer | undefined;
  /** @internal */
  weak: WeakMemory | undefined;
  /** Words whose change by a walker is news for itself too: it naps until it has moved them itself. */
  readonly progress = new Set<number>();
  /** What does not make states different: put back to zero, as byte ranges. */
  readonly #masks = new Map<number, [number, number][]>();
  #mode = QUIET;
  /** Is only what a walker polls news for it? Else every change is. */
  #exact = false;
  readonly #loops = new Map<number, number>();
  /** Bit n for each 8 bytes: they are accessed in each round of loop n. */
  readonly #polled: Int32Array;
  #newlyPolled = 0;
  readonly #touched: Uint8Array;
  #common = 0;

  constructor(room: Room, sites: readonly Site[], walkers: number) {
    if (walkers > MAX_WALKERS) throw new Error(`${walkers} walkers: a world has ${MAX_WALKERS} at most`);
    const { buffer, end } = room,
      tables = tablesFor(end);
    this.room = room;
    this.sites = sites;
    this.walkers = walkers;
    this.words = new Int32Array(buffer, 0, end >> 2);
    this.dirty = new Uint8Array(buffer, room.dirty, tables.dirty);
    this.meeting = new Uint8Array(buffer, room.meeting, tables.meeting);
    this.met = new Uint16Array(buffer, room.met, tables.met >> 1);
    this.#touched = new Uint8Array(buffer, room.touched, tables.touched);
    this.#polled = new Int32Array(end >>> 3);
  }

  /** `bytes` from `from` never make two states different, and are zero in every state. */
  mask(from: number, bytes: number): void {
    for (let at = from; at < from + bytes; ) {
      const chunk = Math.floor(at / CHUNK_BYTES),
        end = Math.min((chunk + 1) * CHUNK_BYTES, from + bytes);
      const ranges = this.#masks.get(chunk) ?? [];
      ranges.push([at >> 2, end >> 2]);
      this.#masks.set(chunk, ranges);
      at = end;
    }
  }

  /** @internal */
  block(id: number): number {
    return this.room.blocks + id * BLOCK_BYTES;
  }

  #word(id: number, word: number): number {
    return this.words[(this.block(id) >> 2) + word] as number;
  }

  #set(id: number, word: number, value: number): void {
    const block = this.block(id);
    this.words[(block >> 2) + word] = value;
    this.dirty[block >>> 8] = 1;
  }

  /** A word of the fibre's own in its control block. */
  own(id: number): number {
    return this.#word(id, OWN);
  }

  /** @internal */
  setOwn(id: number, value: number): void {
    this.#set(id, OWN, value);
  }

  /** @internal */
  get weakState(): number {
    return this.#word(0, WEAK);
  }

  /** @internal */
  setWeakState(value: number): void {
    this.#set(0, WEAK, value);
  }

  /** Has walker `id` ended? */
  isDone(id: number): boolean {
    return this.#word(id, STATUS) >= DONE;
  }

  /** Has walker `id` died? */
  isDead(id: number): boolean {
    return this.#word(id, STATUS) === DEAD;
  }

  /** What the operations of walker `id` that have ended returned. */
  results(id: number): number[] {
    const at = (this.block(id) >> 2) + FIRST_RESULT;
    return [...this.words.subarray(at, at + this.#word(id, RESULTS))];
  }

  /** @internal */
  pushResult(id: number, value: number): void {
    const n = this.#word(id, RESULTS);
    if (n === MAX_RESULTS) throw new Error(`a walker has ${MAX_RESULTS} results at most`);
    this.#set(id, FIRST_RESULT + n, value);
    this.#set(id, RESULTS, n + 1);
  }

  /** The operation that walker `id` is in. */
  operation(id: number): number {
    return this.#word(id, OPERATION);
  }

  /** @internal */
  pending(id: number): Pending | undefined {
    if (this.#word(id, STATUS) !== PENDING) return undefined;
    const site = this.#word(id, SITE),
      { kind, bytes } = this.siteAt(site);
    return { site, kind, address: this.#word(id, ADDRESS), bytes };
  }

  /** @internal */
  siteAt(site: number): Site {
    return this.sites[site] as Site;
  }

  /** Walker `id` is about to make an access before which others may come in. */
  suspend(id: number, site: number, address: number, expected: number): void {
    this.#set(id, STATUS, PENDING);
    this.#set(id, SITE, site);
    this.#set(id, ADDRESS, address);
    this.#set(id, EXPECTED, expected);
  }

  /** An access of walker `id` that nothing comes in before, or that is pending and now made. */
  see(id: number, site: number, address: number, bytes: number, ordered: boolean): void {
    const { kind } = this.siteAt(site);
    this.observer?.access(id, site, kind, address, bytes, ordered);
  }

  /** @internal */
  get mode(): number {
    return this.#mode;
  }

  /** @internal */
  setMode(mode: number): void {
    this.#mode = mode;
    for (const fibre of this.fibres) fibre.setMode(mode);
  }

  /** Runs `work` unobserved. */
  quietly<T>(work: () => T): T {
    const before = this.#mode;
    this.setMode(QUIET);
    try {
      return work();
    } finally {
      this.setMode(before);
    }
  }

  /**
   * As `start`, from the world as it was at the first start. `exact`: a change is news for a walker that waits in a loop only if
   * the loop polls the word. Which words these are is found as meeting places are: see `poll`.
   */
  restartAll(mode: number, exact = false): void {
    this.#exact = exact;
    if (this.states !== undefined) {
      this.load(0);
      this.states = undefined as unknown as States;
    }
    this.start(mode);
  }

  /** What a search has found of this world so far. */
  kept(): KeptWorld {
    const { first, meeting, met } = this,
      highs = this.fibres.map(({ high }) => high);
    return {
      states: this.states.kept(),
      first,
      meeting: meeting.slice(),
      met: met.slice(),
      highs,
      hash: this.#hashOfStart(),
      more: this.keptMore(),
    };
  }

  /** Takes up what was kept of a world of the same scenario; an Error if it is another one. */
  restore(kept: KeptWorld): void {
    if (kept.hash !== this.#hashOfStart() || kept.highs.length !== this.fibres.length) {
      throw new Error("what was kept of a search is of another scenario");
    }
    this.states.restore(kept.states);
    this.first = kept.first;
    this.meeting.set(kept.meeting);
    this.met.set(kept.met);
    for (const [id, fibre] of this.fibres.entries()) {
      const high = kept.highs[id];
      if (high !== undefined) fibre.high = high;
    }
    this.restoreMore(kept.more);
  }

  /** @internal */
  protected keptMore(): unknown {
    return undefined;
  }

  /** @internal */
  protected restoreMore(_more: unknown): void {}

  /** FNV-1a of the memory before the walkers began; the memory is in its first state then. */
  #hashOfStart(): number {
    this.load(0);
    let hash = 0x811c9dc5;
    for (const word of this.words) hash = Math.imul(hash ^ word, 0x01000193);
    return hash;
  }

  /** Walker `id` threw in the middle of a step: the next `load` puts the world right. */
  recover(id: number): void {
    this.fibres[id]?.reset();
  }

  /** All walkers run up to their first access that another may come in before; what the memory holds now is forgotten as a state. */
  start(mode: number): void {
    this.setMode(QUIET);
    for (let id = 0; id < this.walkers; id++) {
      this.words.fill(0, this.block(id) >> 2, (this.block(id) + BLOCK_BYTES) >> 2);
      this.#set(id, NEWS, 1);
    }
    this.states ??= new States(this.words, this.dirty);
    for (const word of this.progress) this.meeting[word >>> 1] = 1;
    this.setMode(mode);
    for (let id = 0; id < this.walkers; id++) this.#begin(id);
    this.first = this.save();
  }

  /** Walker `id`, which has ended, begins its program: another one than before. */
  restart(id: number): void {
    this.#set(id, OPERATION, 0);
    this.#set(id, RESULTS, 0);
    this.#begin(id);
  }

  /** Begins operations until one stops at a place where others may come in. */
  #begin(id: number): void {
    const fibre = this.fibres[id] as Fibre;
    for (let n = this.operation(id); n < fibre.operations; n++) {
      this.#set(id, STATUS, IDLE);
      this.#set(id, OPERATION, n);
      if (!fibre.begin(n)) return;
    }
    this.#set(id, OPERATION, fibre.operations);
    this.#end(id, DONE);
  }

  #end(id: number, status: number): void {
    this.#set(id, STATUS, status);
    this.#set(id, SITE, 0);
    this.#set(id, ADDRESS, 0);
    this.#set(id, EXPECTED, 0);
    this.#set(id, OWN, 0);
    this.#set(id, NEWS, 1);
  }

  /** Walker `id` ends here: its thread is gone, and its stack. */
  kill(id: number): void {
    const block = this.block(id);
    this.words.fill(0, (block + STACK_AT) >> 2, (block + BLOCK_BYTES) >> 2);
    for (let p = block + STACK_AT; p < block + BLOCK_BYTES; p += CHUNK_BYTES) this.dirty[p >>> 8] = 1;
    this.#end(id, DEAD);
  }

  /** Walker `id` makes its pending access and runs on to the next place where others may come in, or to its end. */
  step(id: number): void {
    const at = this.block(id) >> 2,
      words = this.words,
      address = words[at + ADDRESS] as number,
      { kind } = this.siteAt(words[at + SITE] as number),
      p = (address & ~7) >> 2;
    const q = p + 1,
      low = words[p],
      high = words[q];
    if (kind === "wait") this.#set(id, NEWS, this.#exact ? 2 + this.loopOf(id) : 0);
    const ended = (this.fibres[id] as Fibre).resume();
    if (writes(kind) && (words[p] !== low || words[q] !== high)) this.#tell(id, p);
    if (!ended) return;
    this.#set(id, OPERATION, this.operation(id) + 1);
    this.#begin(id);
  }

  /** Something has changed: whoever waits looks again. */
  #tell(id: number, p: number): void {
    for (let other = 0; other < this.walkers; other++) {
      const waits = this.#word(other, NEWS);
      if (waits === 1 || (other === id && !this.progress.has(p))) continue;
      if (!this.#exact || other === id || this.polls(waits - 2, p >>> 1)) this.#set(other, NEWS, 1);
    }
  }

  /** The loop in which walker `id` is about to wait: its operation, the word, and how deep it is in calls. */
  loopOf(id: number): number {
    const at = this.block(id),
      end = (this.words[(at + STACK_AT) >> 2] as number) % BLOCK_BYTES,
      key = ((id * MAX_RESULTS + this.operation(id)) * BLOCK_BYTES + end) * 2 ** 24 + this.#word(id, ADDRESS);
    const loop = this.#loops.get(key) ?? Math.min(this.#loops.size, MAX_LOOPS - 1);
    this.#loops.set(key, loop);
    return loop;
  }

  /** Are the 8 bytes `word` accessed in each round of loop `loop`? */
  polls(loop: number, word: number): boolean {
    return ((this.#polled[word] as number) & (1 << loop)) !== 0;
  }

  /** Were words found that a loop polls, since `addMeetings` was called last? */
  get foundPolls(): boolean {
    return this.#newlyPolled > 0;
  }

  /** Loops that access the 8 bytes `word`, as bits. */
  loopsOf(word: number): number {
    return this.#polled[word] as number;
  }

  /** Loop `loop` accesses the 8 bytes `word`. */
  poll(loop: number, word: number): void {
    if (this.polls(loop, word)) return;
    (this.#polled[word] as number) |= 1 << loop;
    this.#newlyPolled++;
  }

  /** May walker `id` take a step? One that waits may when its word has changed, or when something else has since it last waited. */
  canStep(id: number): boolean {
    const at = this.block(id) >> 2,
      words = this.words;
    if (words[at + STATUS] !== PENDING) return false;
    const news = words[at + NEWS] as number;
    if (news === 1 || this.siteAt(words[at + SITE] as number).kind !== "wait") return true;
    if (this.#exact && news !== 2 + this.loopOf(id)) return true;
    return words[(words[at + ADDRESS] as number) >> 2] !== words[at + EXPECTED];
  }

  /** What lies at `address`, in words. */
  nameOf(address: number): string {
    return `0x${address.toString(16)}`;
  }

  /** Locks and sections that walker `id` holds, in words; "" for none. */
  holdsNow(_id: number): string {
    return "";
  }

  /** The word of `bytes` bytes, 8 at most, at `address`. */
  valueAt(address: number, bytes: number): bigint {
    const p = address >>> 2,
      q = p + 1,
      low = BigInt((this.words[p] as number) >>> 0);
    if (bytes > 4) return low | (BigInt((this.words[q] as number) >>> 0) << 32n);
    return (low >> BigInt((address & 3) * 8)) & ((1n << BigInt(bytes * 8)) - 1n);
  }

  /** Bit n: walker n may take a step. */
  enabled(): number {
    let mask = 0;
    for (let id = 0; id < this.walkers; id++) if (this.canStep(id)) mask |= 1 << id;
    return mask;
  }

  /** Have all ended? */
  allDone(): boolean {
    for (let id = 0; id < this.walkers; id++) if (!this.isDone(id)) return false;
    return true;
  }

  /** @internal */
  save(): number {
    for (const [chunk, ranges] of this.#masks) {
      if (this.dirty[chunk] !== 0) for (const [from, to] of ranges) this.words.fill(0, from, to);
    }
    return this.states.save();
  }

  /** @internal */
  load(id: number): void {
    this.states.load(id);
  }

  /** Two accesses that are pending: does their order matter? */
  depends(a: Pending, b: Pending): boolean {
    if (a.kind === "wait" || b.kind === "wait") return true;
    return a.address >>> 3 === b.address >>> 3 && (writes(a.kind) || writes(b.kind));
  }

  /**
   * Words that two walkers had atomic accesses to, one of them no load, and that are no meeting places yet become such; how many,
   * and how many words were found that a loop polls.
   */
  addMeetings(): number {
    let added = this.#newlyPolled;
    this.#newlyPolled = 0;
    for (let word = 0; word < this.met.length; word++) {
      const seen = this.met[word] as number;
      if (seen === 0 || this.meeting[word] !== 0) continue;
      const wrote = seen >>> 8,
        who = seen & 0xff;
      if (wrote === 0 || (who & (who - 1)) === 0) continue;
      this.meeting[word] = 1;
      added++;
    }
    return added;
  }

  /** Words that several walkers have accessed, since the last call; in mode COMMON their accesses were not all seen before. */
  addCommon(): number {
    let common = 0;
    for (const walkers of this.#touched) if ((walkers & (walkers - 1)) !== 0) common++;
    const added = common - this.#common;
    this.#common = common;
    return added;
  }

  /** Walkers stop at these words too; how many are new. */
  meetAt(addresses: Iterable<number>): number {
    let added = 0;
    for (const address of addresses) {
      if (this.meeting[address >>> 3] !== 0) continue;
      this.meeting[address >>> 3] = 1;
      added++;
    }
    return added;
  }

  /** @internal */
  get meetings(): number {
    let n = 0;
    for (const byte of this.meeting) n += byte;
    return n;
  }
}

export { isAtomic };
