// States of the world: the memory in chunks. Equal chunks are kept once, and so are equal groups of chunks, so a state is one
// number, two states are the same exactly if their numbers are, and to go from one to another copies what differs.

/** Bytes of a chunk: `CHUNK` of assembly/memory/schedule.ts. */
export const CHUNK_BYTES = 256;
const CHUNK_WORDS = CHUNK_BYTES / 4;
/** Chunks in a group, and groups in a state. */
const GROUP = 16;
const GROUPS = 64;

/** Tuples of `width` words, each kept once. Full contents are compared: no two different tuples have one number. */
export class Tuples {
  readonly width: number;
  data: Int32Array;
  count = 0;
  #slots = new Int32Array(1 << 10).fill(-1);

  constructor(width: number) {
    this.width = width;
    this.data = new Int32Array(width << 8);
  }

  /** The number of the tuple that begins at `at` of `words`. */
  intern(words: Int32Array, at: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = this.#hash(words, at) & mask; ; slot = (slot + 1) & mask) {
      const id = this.#slots[slot] as number;
      if (id < 0) return this.#add(words, at, slot);
      if (this.#equals(id, words, at)) return id;
    }
  }

  #hash(words: Int32Array, at: number): number {
    let h = 0x811c9dc5;
    for (let i = at, end = at + this.width; i < end; i++)
      h = Math.imul(h ^ (words[i] as number), 0x5bd1e995) ^ (h >>> 15);
    h ^= h >>> 13;
    return Math.imul(h, 0x85ebca6b) >>> 8;
  }

  #equals(id: number, words: Int32Array, at: number): boolean {
    const { data, width } = this;
    for (let i = 0, p = id * width; i < width; i++) if (data[p + i] !== words[at + i]) return false;
    return true;
  }

  #add(words: Int32Array, at: number, slot: number): number {
    const { width } = this,
      id = this.count++,
      p = id * width;
    if (p + width > this.data.length) {
      const larger = new Int32Array(this.data.length * 2);
      larger.set(this.data);
      this.data = larger;
    }
    for (let i = 0; i < width; i++) this.data[p + i] = words[at + i] as number;
    this.#slots[slot] = id;
    if (this.count * 2 > this.#slots.length) this.#grow();
    return id;
  }

  #grow(): void {
    const slots = new Int32Array(this.#slots.length * 2).fill(-1),
      mask = slots.length - 1;
    for (let id = 0; id < this.count; id++) {
      let slot = this.#hash(this.data, id * this.width) & mask;
      while ((slots[slot] as number) >= 0) slot = (slot + 1) & mask;
      slots[slot] = id;
    }
    this.#slots = slots;
  }

  get bytes(): number {
    return this.data.byteLength + this.#slots.byteLength;
  }

  /** All tuples, in the order of their numbers. */
  kept(): Int32Array {
    return this.data.slice(0, this.count * this.width);
  }

  clear(): void {
    this.count = 0;
    this.#slots.fill(-1);
  }

  /** Puts tuples that were kept into an object that has none. */
  restore(kept: Int32Array): void {
    for (let at = 0; at < kept.length; at += this.width) this.intern(kept, at);
  }
}

/** States as they can be written to a file. */
export interface KeptStates {
  readonly contents: Int32Array;
  readonly groups: Int32Array;
  readonly roots: Int32Array;
  readonly hot: readonly number[];
}

/**
 * The states of a memory. `words` is all of it; a byte of `dirty` says that a chunk may have changed since the last `save` or
 * `load`. The first state is what the memory holds when the object is made.
 */
export class States {
  readonly #words: Int32Array;
  readonly #dirty: Uint8Array;
  /** `dirty`, four at a time. */
  readonly #dirtyWords: Int32Array;
  readonly #base: Int32Array;
  readonly #contents = new Tuples(CHUNK_WORDS);
  readonly #groups = new Tuples(GROUP);
  readonly #roots = new Tuples(GROUPS);
  /** Chunks that ever changed, and where each is among them. */
  readonly #hot: number[] = [];
  readonly #place: Int32Array;
  /** For each hot chunk: the number of its first contents. */
  readonly #first: number[] = [];
  /** What is in the memory now: for each hot chunk 0 for its first contents, else the number of its contents + 1. */
  readonly #now = new Int32Array(GROUP * GROUPS);
  readonly #nowGroups = new Int32Array(GROUPS);
  #current: number;

  constructor(words: Int32Array, dirty: Uint8Array) {
    this.#words = words;
    this.#dirty = dirty;
    this.#dirtyWords = new Int32Array(dirty.buffer, dirty.byteOffset, dirty.length >> 2);
    this.#place = new Int32Array(dirty.length).fill(-1);
    dirty.fill(0);
    this.#base = words.slice();
    this.#groups.intern(this.#now, 0);
    this.#current = this.#roots.intern(this.#nowGroups, 0);
  }

  kept(): KeptStates {
    const [contents, groups, roots] = [this.#contents.kept(), this.#groups.kept(), this.#roots.kept()];
    return { contents, groups, roots, hot: [...this.#hot] };
  }

  /** Takes up states that were kept where the memory began with the same contents; the memory is in the first one. */
  restore({ contents, groups, roots, hot }: KeptStates): void {
    this.load(0);
    for (const tuples of [this.#contents, this.#groups, this.#roots]) tuples.clear();
    this.#contents.restore(contents);
    this.#groups.restore(groups);
    this.#roots.restore(roots);
    this.#hot.length = 0;
    this.#first.length = 0;
    this.#place.fill(-1);
    for (const chunk of hot) this.#heat(chunk);
  }

  /** The number of the state that was saved or loaded last. */
  get current(): number {
    return this.#current;
  }

  get count(): number {
    return this.#roots.count;
  }

  /** Bytes that the states take. */
  get bytes(): number {
    return this.#contents.bytes + this.#groups.bytes + this.#roots.bytes;
  }

  /** Contents of chunks, each counted once. */
  get contents(): number {
    return this.#contents.count;
  }

  /** The number of what chunk `chunk` held at the last `save` or `load`: 0 for its first contents. */
  contentsOf(chunk: number): number {
    const place = this.#place[chunk] as number;
    return place < 0 ? 0 : (this.#now[place] as number);
  }

  /** The chunk of byte `p` may have changed. */
  touch(p: number): void {
    this.#dirty[p >>> 8] = 1;
  }

  #heat(chunk: number): number {
    const place = this.#hot.length;
    if (place === GROUP * GROUPS) throw new Error(`a search changes more than ${(place * CHUNK_BYTES) >> 10} KiB`);
    this.#hot.push(chunk);
    this.#first.push(this.#contents.intern(this.#base, chunk * CHUNK_WORDS));
    this.#place[chunk] = place;
    return place;
  }

  /** The number of the state that the memory is in. */
  save(): number {
    const dirty = this.#dirtyWords;
    let groups = 0;
    for (let w = 0; w < dirty.length; w++) {
      if (dirty[w] === 0) continue;
      for (let chunk = w << 2, end = chunk + 4; chunk < end; chunk++) {
        if (this.#dirty[chunk] !== 0) groups |= this.#saveChunk(chunk);
      }
      dirty[w] = 0;
    }
    if (groups === 0) return this.#current;
    for (let g = 0; g < GROUPS && g * GROUP < this.#hot.length; g++) {
      if (groups & (1 << (g & 31))) this.#nowGroups[g] = this.#groups.intern(this.#now, g * GROUP);
    }
    this.#current = this.#roots.intern(this.#nowGroups, 0);
    return this.#current;
  }

  /** The bit of the group that changed, 0 if none did. */
  #saveChunk(chunk: number): number {
    let place = this.#place[chunk] as number;
    if (place < 0) {
      if (!this.#differs(chunk)) return 0;
      place = this.#heat(chunk);
    }
    const id = this.#contents.intern(this.#words, chunk * CHUNK_WORDS);
    const next = id === this.#first[place] ? 0 : id + 1;
    if (this.#now[place] === next) return 0;
    this.#now[place] = next;
    return 1 << ((place >> 4) & 31);
  }

  /** Is a chunk that never changed before another one than at first? */
  #differs(chunk: number): boolean {
    const words = this.#words,
      base = this.#base;
    for (let i = chunk * CHUNK_WORDS, end = i + CHUNK_WORDS; i < end; i++) if (words[i] !== base[i]) return true;
    return false;
  }

  /** Puts the memory into state `id`. */
  load(id: number): void {
    this.#undo();
    if (id === this.#current) return;
    const root = id * GROUPS,
      roots = this.#roots.data,
      groups = this.#groups.data;
    for (let g = 0; g < GROUPS && g * GROUP < this.#hot.length; g++) {
      const group = roots[root + g] as number;
      if (this.#nowGroups[g] === group) continue;
      this.#nowGroups[g] = group;
      for (let place = g * GROUP, i = group * GROUP, end = i + GROUP; i < end; i++, place++) {
        if (this.#now[place] === groups[i]) continue;
        this.#now[place] = groups[i] as number;
        this.#restore(place);
      }
    }
    this.#current = id;
  }

  #restore(place: number): void {
    const id = this.#now[place] as number,
      to = (this.#hot[place] as number) * CHUNK_WORDS;
    const source = id === 0 ? this.#base : this.#contents.data,
      from = id === 0 ? to : (id - 1) * CHUNK_WORDS;
    const words = this.#words;
    for (let i = 0; i < CHUNK_WORDS; i++) words[to + i] = source[from + i] as number;
  }

  /** What has changed since the last `save` or `load` is undone. */
  #undo(): void {
    const dirty = this.#dirtyWords;
    for (let w = 0; w < dirty.length; w++) {
      if (dirty[w] === 0) continue;
      for (let chunk = w << 2, end = chunk + 4; chunk < end; chunk++) {
        if (this.#dirty[chunk] === 0) continue;
        const place = this.#place[chunk] as number;
        if (place >= 0) this.#restore(place);
        else this.#words.set(this.#base.subarray(chunk * CHUNK_WORDS, (chunk + 1) * CHUNK_WORDS), chunk * CHUNK_WORDS);
      }
      dirty[w] = 0;
    }
  }
}
