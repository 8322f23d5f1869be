/**
 * The TypeScript peer: what a careful author gets out of JavaScript without Wasm.
 *
 * Table pages lie in one typed array as pairs of 32-bit words (low, high), so that the memory is a real table image; page
 * and slot numbers are small integers; bigint is nowhere. The tables are traversed once a run of up to 512 entries; the
 * loops over the entries of a run are in `runs.ts`.
 *
 * @module
 */
import {
  EAGAIN,
  EINVAL,
  ENOMEM,
  ERANGE,
  endPage,
  firstPage,
  IPA_PAGES,
  LeafDigest,
  type LeafVisitor,
  mapError,
  PAGE_SIZE,
  type Peer,
  type PeerCounters,
  PROT_R,
  PROT_W,
  PROT_X,
  TLBI_RANGE_PAGES,
} from "./peer.js";
import { clearRun, countRun, dropRun, fillRun, seenRun } from "./runs.js";

const VALID = 1;
const TYPE = 3;
const TABLE = 3;
const BLOCK = 1;
const READ = 1 << 6;
const WRITE = 1 << 7;
const YOUNG = 1 << 10;
/** Normal write-back under FWB, inner shareable, access flag. */
const NORMAL = (0x6 << 2) | (0x3 << 8) | YOUNG;
/** Execute-never, bit 54, in the high word. */
const NO_EXEC = 1 << 22;

const ENTRIES = 512;
/** Words of a table page. */
const WORDS = 2 * ENTRIES;
const START_PAGES = 2;
const GIG = ENTRIES * ENTRIES;
/** Bytes that an entry of level 1, 2, 3 covers. */
const SPAN = [0, 1 << 30, 1 << 21, 1 << 12];
/** The table pages' physical addresses: one bit above any offset in the arena, so that a mask takes it off. */
const PHYS_BASE = 0x8000_0000;
const OFFSET_MASK = 0x7fff_f000;
/** 64 GiB of pages take 32,832 tables; the kernel's benchmark has as many pages as this. */
const ARENA_PAGES = 40_960;

/** Word offset of the table that a table descriptor names. */
function tableOf(low: number): number {
  return (low & OFFSET_MASK) >>> 2;
}

/** Low word of the descriptor of a table. */
function descriptorOf(table: number): number {
  return (table << 2) | PHYS_BASE | TABLE;
}

/** Receives `count` neighbouring leaf entries of one table, from `slot` on; `page` is the first one's input page. */
type RunVisitor = (slot: number, count: number, level: number, page: number) => void;

/** The peer on typed arrays. An entry is zero or valid: there are neither annotations nor locks here. */
export class TypedPeer implements Peer {
  readonly name: string = "typescript";
  foundHigh = 0;
  foundLevel = 0;

  private readonly memory: Uint32Array;
  /** Reference count of each table page. */
  private readonly counts: Int32Array;
  /** Stack of the numbers of free pages. */
  private readonly free: Int32Array;
  private freeCount = 0;
  private tlbiIpa = 0;
  private tlbiLocal = 0;
  private tlbiRange = 0;

  // The current map request: fields, so that its levels need not pass five parameters.
  private frameOffset = 0;
  private attributesLow = 0;
  private attributesHigh = 0;
  private onlyPages = false;

  constructor(arenaPages: number = ARENA_PAGES) {
    this.memory = new Uint32Array(arenaPages * WORDS);
    // The host allocates memory at the first write; that must not happen inside a measured part.
    this.memory.fill(0);
    this.counts = new Int32Array(arenaPages);
    this.free = new Int32Array(arenaPages);
    this.reset();
  }

  reset(): void {
    const pages = this.counts.length;
    this.freeCount = pages - START_PAGES;
    for (let i = 0; i < this.freeCount; i++) this.free[i] = pages - 1 - i;
    this.counts.fill(1, 0, START_PAGES);
    this.memory.fill(0, 0, START_PAGES * WORDS);
    this.tlbiIpa = 0;
    this.tlbiLocal = 0;
    this.tlbiRange = 0;
  }

  map(ipa: number, size: number, pa: number, prot: number, forcePages: boolean): number {
    const error = mapError(ipa, size, pa, prot);
    if (error !== 0) return error;
    let page = firstPage(ipa) | 0;
    const end = endPage(ipa, size) | 0;
    this.frameOffset = pa / PAGE_SIZE - page;
    this.attributesLow = NORMAL | ((prot & PROT_R) !== 0 ? READ : 0) | ((prot & PROT_W) !== 0 ? WRITE : 0);
    this.attributesHigh = (prot & PROT_X) !== 0 ? 0 : NO_EXEC;
    this.onlyPages = forcePages;
    if (end - page === 1) return this.mapPage(page, pa);
    while (page < end) {
      const next = Math.min((page | (GIG - 1)) + 1, end);
      const status = this.mapGig(page, next);
      if (status !== 0) return status;
      page = next;
    }
    return 0;
  }

  unmap(ipa: number, size: number): number {
    const end = endPage(ipa, size);
    if (end < 0) return -ERANGE;
    const first = firstPage(ipa);
    let page = first;
    while (page < end) {
      const next = Math.min((page | (GIG - 1)) + 1, end);
      this.unmapGig(page, next);
      page = next;
    }
    this.tlbiRange += Math.ceil((end - first) / TLBI_RANGE_PAGES);
    return 0;
  }

  wrprotect(ipa: number, size: number): number {
    const end = endPage(ipa, size);
    if (end < 0) return -ERANGE;
    const memory = this.memory;
    this.visitRuns(firstPage(ipa), end, (slot, count) => {
      dropRun(memory, slot, count, WRITE);
    });
    return 0;
  }

  testClearYoung(ipa: number, size: number, clear: boolean): number {
    const end = endPage(ipa, size);
    if (end < 0) return -ERANGE;
    const memory = this.memory;
    let seen = 0;
    this.visitRuns(firstPage(ipa), end, (slot, count) => {
      seen |= clear ? dropRun(memory, slot, count, YOUNG) : seenRun(memory, slot, count);
    });
    return (seen & YOUNG) !== 0 ? 1 : 0;
  }

  relax(ipa: number, prot: number): number {
    if (endPage(ipa, 1) < 0) return -ERANGE;
    if ((prot & ~(PROT_R | PROT_W | PROT_X)) !== 0) return -EINVAL;
    const memory = this.memory;
    const slot = this.find((ipa * (1 / PAGE_SIZE)) | 0);
    // This CPU's TLB may hold an older entry that denies access, whether or not the entry changes [S2-17].
    this.tlbiLocal += 1;
    const low = memory[slot]!;
    if ((low & VALID) === 0) return -EAGAIN;
    const wanted = low | ((prot & PROT_R) !== 0 ? READ : 0) | ((prot & PROT_W) !== 0 ? WRITE : 0);
    if (wanted !== (low | 0)) memory[slot] = wanted;
    if ((prot & PROT_X) !== 0) memory[slot + 1]! &= ~NO_EXEC;
    return 0;
  }

  split(ipa: number, size: number): number {
    const end = endPage(ipa, size);
    if (end < 0) return -ERANGE;
    let page = firstPage(ipa);
    while (page < end) {
      const next = Math.min((page | (GIG - 1)) + 1, end);
      const status = this.splitGig(page, next);
      if (status !== 0) return status;
      page = next;
    }
    return 0;
  }

  lookup(ipa: number): number {
    if (!(ipa >= 0 && ipa < IPA_PAGES * PAGE_SIZE)) return -ERANGE;
    // Multiplying by the reciprocal of a power of two is exact, and cheaper than a division.
    const slot = this.find((ipa * (1 / PAGE_SIZE)) | 0);
    this.foundHigh = this.memory[slot + 1]!;
    return this.memory[slot]!;
  }

  countLeaves(ipa: number, size: number): number {
    const end = endPage(ipa, size);
    if (end < 0) return -ERANGE;
    const memory = this.memory;
    let valid = 0;
    this.visitRuns(firstPage(ipa), end, (slot, count) => {
      valid += countRun(memory, slot, count);
    });
    return valid;
  }

  walkLeaves(ipa: number, size: number, visit: LeafVisitor): number {
    const end = endPage(ipa, size);
    if (end < 0) return -ERANGE;
    const memory = this.memory;
    let visits = 0;
    this.visitRuns(firstPage(ipa), end, (slot, count, level, page) => {
      const span = SPAN[level]!;
      let address = page * PAGE_SIZE;
      for (let at = slot; at < slot + 2 * count; at += 2) {
        visit(address, level, memory[at]!, memory[at + 1]!);
        address += span;
      }
      visits += count;
    });
    return visits;
  }

  digest(): string {
    const digest = new LeafDigest();
    this.walkLeaves(0, IPA_PAGES * PAGE_SIZE, (ipa, level, low, high) => {
      if ((low & VALID) !== 0) digest.add(ipa, level, low, high);
    });
    return digest.toString();
  }

  counters(): PeerCounters {
    const { tlbiIpa, tlbiLocal, tlbiRange } = this;
    return { tables: this.counts.length - START_PAGES - this.freeCount, tlbiIpa, tlbiLocal, tlbiRange };
  }

  countsHold(): boolean {
    let tables = 0;
    const check = (table: number, level: number): boolean => {
      let counted = 1;
      for (let at = table; at < table + WORDS; at += 2) {
        const low = this.memory[at]!;
        if (low !== 0) counted += 1;
        if (level === 3 || (low & TYPE) !== TABLE) continue;
        tables += 1;
        if (!check(tableOf(low), level + 1)) return false;
      }
      return counted === this.counts[table / WORDS]!;
    };
    return check(0, 1) && check(WORDS, 1) && tables === this.counters().tables;
  }

  /** Slot of the entry where the walk to a page ends; its level is in `foundLevel`. */
  private find(page: number): number {
    const memory = this.memory;
    let slot = (page >>> 18) << 1;
    let low = memory[slot]!;
    this.foundLevel = 1;
    if ((low & TYPE) !== TABLE) return slot;
    slot = tableOf(low) + (((page >>> 9) & (ENTRIES - 1)) << 1);
    low = memory[slot]!;
    this.foundLevel = 2;
    if ((low & TYPE) !== TABLE) return slot;
    this.foundLevel = 3;
    return tableOf(low) + ((page & (ENTRIES - 1)) << 1);
  }

  /** Word offset of a new zeroed table, or -1. */
  private allocate(): number {
    const table = this.allocateDirty();
    if (table >= 0) this.memory.fill(0, table, table + WORDS);
    return table;
  }

  /** Word offset of a new table, or -1, for callers that write all of it at once. */
  private allocateDirty(): number {
    if (this.freeCount === 0) return -1;
    this.freeCount -= 1;
    const page = this.free[this.freeCount]!;
    this.counts[page] = 1;
    return page * WORDS;
  }

  private release(table: number): void {
    this.free[this.freeCount] = table / WORDS;
    this.freeCount += 1;
  }

  private mapGig(first: number, end: number): number {
    const slot = (first >>> 18) << 1;
    if (this.blockFits(first, end, GIG)) {
      this.placeRun(slot, first, 1, 1);
      return 0;
    }
    const table = this.tableAt(slot);
    if (table < 0) return -ENOMEM;
    let page = first;
    while (page < end) {
      const at = table + (((page >>> 9) & (ENTRIES - 1)) << 1);
      if (this.blockFits(page, end, ENTRIES)) {
        const blocks = (end - page) >>> 9;
        this.placeRun(at, page, blocks, 2);
        page += blocks * ENTRIES;
        continue;
      }
      const next = Math.min((page | (ENTRIES - 1)) + 1, end);
      const leaves = this.tableAt(at);
      if (leaves < 0) return -ENOMEM;
      this.placeRun(leaves + ((page & (ENTRIES - 1)) << 1), page, next - page, 3);
      page = next;
    }
    return 0;
  }

  /** Maps one page, as a fault does, with no block or run to consider. */
  private mapPage(page: number, pa: number): number {
    const memory = this.memory;
    const table = this.tableAt((page >>> 18) << 1);
    const leaves = table < 0 ? table : this.tableAt(table + (((page >>> 9) & (ENTRIES - 1)) << 1));
    if (leaves < 0) return -ENOMEM;
    const slot = leaves + ((page & (ENTRIES - 1)) << 1);
    const low = pa | this.attributesLow | TYPE;
    const high = (pa / 2 ** 32) | this.attributesHigh;
    if (memory[slot]! !== 0) {
      this.replace(slot, low, high, 3);
      return 0;
    }
    memory[slot] = low;
    memory[slot + 1] = high;
    this.counts[slot >>> 10]! += 1;
    return 0;
  }

  private blockFits(page: number, end: number, pages: number): boolean {
    if (this.onlyPages || end - page < pages) return false;
    return ((page | (page + this.frameOffset)) & (pages - 1)) === 0;
  }

  /** The table at a slot, made when there is none; a block there is broken first, and its rest refaults [S2-7]. */
  private tableAt(slot: number): number {
    const old = this.memory[slot]!;
    if ((old & TYPE) === TABLE) return tableOf(old);
    const table = this.allocate();
    if (table < 0) return table;
    if (old !== 0) this.tlbiIpa += 1;
    else this.counts[slot >>> 10]! += 1;
    this.memory[slot] = descriptorOf(table);
    this.memory[slot + 1] = 0;
    return table;
  }

  /** Writes `count` leaves. A run maps 1 GiB at most, so its low word passes 2^32 once at most, and is cut there. */
  private placeRun(slot: number, page: number, count: number, level: number): void {
    const frame = page + this.frameOffset;
    const span = SPAN[level]!;
    const low = (frame * PAGE_SIZE) | this.attributesLow | (level === 3 ? TYPE : BLOCK);
    const high = Math.floor(frame / 2 ** 20);
    const room = (2 ** 20 - (frame & (2 ** 20 - 1))) / (span / PAGE_SIZE);
    // The compiler does not know that a quotient is an integer; the loops below need integers.
    const before = Math.min(count, room) | 0;
    this.writeRun(slot, before, low, high | this.attributesHigh, level);
    if (before === count) return;
    const rest = (low + before * span) | 0;
    this.writeRun(slot + 2 * before, count - before, rest, (high + 1) | this.attributesHigh, level);
  }

  private writeRun(slot: number, count: number, low: number, high: number, level: number): void {
    const memory = this.memory;
    const span = SPAN[level]!;
    const owner = slot >>> 10;
    if (this.counts[owner]! === 1) {
      // An empty table: there is no old entry to look at.
      fillRun(memory, slot, count, low, high, span);
      this.counts[owner]! += count;
      return;
    }
    let added = 0;
    let word = low;
    for (let at = slot; at < slot + 2 * count; at += 2) {
      if (memory[at]! !== 0) {
        this.replace(at, word, high, level);
      } else {
        memory[at] = word;
        memory[at + 1] = high;
        added += 1;
      }
      word = (word + span) | 0;
    }
    this.counts[owner]! += added;
  }

  /** Puts a leaf over a valid entry by break and make, unless only permissions differ [S2-3]. */
  private replace(slot: number, low: number, high: number, level: number): void {
    const oldLow = this.memory[slot]!;
    if (level < 3 && (oldLow & TYPE) === TABLE) {
      this.tlbiRange += 1;
      this.freeTree(tableOf(oldLow), level + 1);
    } else {
      const lowDiffers = (oldLow ^ low) & ~(READ | WRITE);
      const highDiffers = (this.memory[slot + 1]! ^ high) & ~NO_EXEC;
      if ((lowDiffers | highDiffers) === 0) return;
      this.tlbiIpa += 1;
    }
    this.memory[slot] = low;
    this.memory[slot + 1] = high;
  }

  private freeTree(table: number, level: number): void {
    if (level < 3) {
      for (let at = table; at < table + WORDS; at += 2) {
        const low = this.memory[at]!;
        if ((low & TYPE) === TABLE) this.freeTree(tableOf(low), level + 1);
      }
    }
    this.release(table);
  }

  private unmapGig(first: number, end: number): void {
    const slot = (first >>> 18) << 1;
    const low = this.memory[slot]!;
    if ((low & TYPE) !== TABLE) {
      this.counts[slot >>> 10]! -= clearRun(this.memory, slot, 1);
      return;
    }
    const table = tableOf(low);
    let page = first;
    while (page < end) {
      const next = Math.min((page | (ENTRIES - 1)) + 1, end);
      this.unmapBlock(table + (((page >>> 9) & (ENTRIES - 1)) << 1), page, next);
      page = next;
    }
    this.dropIfEmpty(slot, table);
  }

  private unmapBlock(slot: number, first: number, end: number): void {
    const low = this.memory[slot]!;
    if ((low & TYPE) !== TABLE) {
      this.counts[slot >>> 10]! -= clearRun(this.memory, slot, 1);
      return;
    }
    const table = tableOf(low);
    if (end - first === ENTRIES) {
      // Everything is removed: with FWB the old leaves need no cache maintenance.
      this.memory.fill(0, table, table + WORDS);
      this.counts[table >>> 10] = 1;
    } else {
      const from = table + ((first & (ENTRIES - 1)) << 1);
      this.counts[table >>> 10]! -= clearRun(this.memory, from, end - first);
    }
    this.dropIfEmpty(slot, table);
  }

  private dropIfEmpty(slot: number, table: number): void {
    if (this.counts[table >>> 10]! !== 1) return;
    this.memory[slot] = 0;
    this.memory[slot + 1] = 0;
    this.tlbiRange += 1;
    this.counts[slot >>> 10]! -= 1;
    this.release(table);
  }

  private splitGig(first: number, end: number): number {
    const slot = (first >>> 18) << 1;
    if ((this.memory[slot]! & TYPE) === BLOCK) {
      const tree = this.freeCount > ENTRIES;
      const table = this.tableOfParts(slot, 1);
      if (table < 0) return -ENOMEM;
      // With pages enough the whole tree is built before it is installed, so that one invalidation does [S2-26].
      if (tree) for (let at = table; at < table + WORDS; at += 2) this.install(at, this.tableOfParts(at, 2));
      this.tlbiIpa += 1;
      this.install(slot, table);
      if (tree) return 0;
    }
    const low = this.memory[slot]!;
    if ((low & TYPE) !== TABLE) return 0;
    const table = tableOf(low);
    for (let page = first; page < end; page = (page | (ENTRIES - 1)) + 1) {
      const at = table + (((page >>> 9) & (ENTRIES - 1)) << 1);
      if ((this.memory[at]! & TYPE) !== BLOCK) continue;
      const leaves = this.tableOfParts(at, 2);
      if (leaves < 0) return -ENOMEM;
      this.tlbiIpa += 1;
      this.install(at, leaves);
    }
    return 0;
  }

  /** A new table, not installed yet, that maps the same as the block at a slot; -1 when there is no page for it. */
  private tableOfParts(slot: number, level: number): number {
    const table = this.allocateDirty();
    if (table < 0) return table;
    const old = this.memory[slot]!;
    const low = (old & ~(SPAN[level]! - 1)) | (old & (READ | WRITE)) | NORMAL | (level === 2 ? TYPE : BLOCK);
    // A block is aligned to its size, so the low word does not pass 2^32 inside.
    fillRun(this.memory, table, ENTRIES, low, this.memory[slot + 1]!, SPAN[level + 1]!);
    this.counts[table >>> 10]! += ENTRIES;
    return table;
  }

  private install(slot: number, table: number): void {
    this.memory[slot] = descriptorOf(table);
    this.memory[slot + 1] = 0;
  }

  /** Hands out the leaf entries of a range, valid or not, in the longest runs that lie in one table. */
  private visitRuns(first: number, end: number, visit: RunVisitor): void {
    let page = first;
    while (page < end) {
      const next = Math.min((page | (GIG - 1)) + 1, end);
      const slot = (page >>> 18) << 1;
      const low = this.memory[slot]!;
      if ((low & TYPE) === TABLE) this.visitTable(tableOf(low), page, next, visit);
      else visit(slot, 1, 1, page & ~(GIG - 1));
      page = next;
    }
  }

  private visitTable(table: number, first: number, end: number, visit: RunVisitor): void {
    const memory = this.memory;
    let page = first;
    while (page < end) {
      const slot = table + (((page >>> 9) & (ENTRIES - 1)) << 1);
      const low = memory[slot]!;
      let next = (page | (ENTRIES - 1)) + 1;
      if ((low & TYPE) === TABLE) {
        next = Math.min(next, end);
        visit(tableOf(low) + ((page & (ENTRIES - 1)) << 1), next - page, 3, page);
      } else {
        let count = 1;
        while (next < end && (memory[slot + 2 * count]! & TYPE) !== TABLE) {
          count += 1;
          next += ENTRIES;
        }
        visit(slot, count, 2, page & ~(ENTRIES - 1));
      }
      page = next;
    }
  }
}
