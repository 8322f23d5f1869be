// What each walker does by itself, as far as a search has seen: a graph whose nodes are what a walker is (its program's place, its
// stack, its results) and whose edges are its steps, each with the value that its access found. From here, and from what memory
// holds now, one can tell which accesses some walkers may yet make while others stand still.

import { writes } from "./build.js";
import { CHUNK_BYTES, Tuples } from "./state.js";
import { BLOCK_BYTES, NEWS, type World } from "./world.js";

const CHUNKS = BLOCK_BYTES / CHUNK_BYTES;
const CHUNK_WORDS = CHUNK_BYTES / 4;

/** What the pending access of a node is. */
const READS = 0;
const WRITES = 1;
/** It writes, and the walker does not learn what was there. */
const STORES = 2;
const WAITS = 3;
const ENDED = 4;

/** One step of a walker: what its access found, what it has accessed, and what the walker is then. */
interface Edge {
  readonly low: number;
  readonly high: number;
  readonly marks: Marks;
  readonly to: number;
}

/** Accesses of a step to what others have accessed too: words of 8 bytes, times 2, and 1 more for a write. Equal ones are one object. */
export type Marks = readonly number[];

interface Node {
  readonly walker: number;
  readonly does: number;
  /** The 8 bytes that the access is to. */
  readonly word: number;
  /** Words of 32 bits that the access covers, from here on: one or two. */
  readonly at: number;
  readonly wide: boolean;
  /** Of a wait: see `loopOf` of a world; else -1. */
  readonly loop: number;
  readonly edges: Edge[];
}

const writesWord = ({ does }: Node) => does === WRITES || does === STORES;

/** The walkers of one search. */
export class Locals {
  readonly #world: World;
  readonly #heads = new Tuples(CHUNK_WORDS);
  readonly #keys = new Tuples(CHUNKS + 1);
  readonly #head = new Int32Array(CHUNK_WORDS);
  readonly #key = new Int32Array(CHUNKS + 1);
  readonly #nodes: Node[] = [];
  /** Grows with each node and edge that was not known before. */
  version = 0;
  #polled = -1;

  // Marks of the question that is asked, and of the pass over the nodes: those with other numbers are old.
  #question = 0;
  #pass = 0;
  readonly #passed: number[] = [];
  readonly #written: Int32Array;
  readonly #pruned: Int32Array;
  /** What the next steps of those access that stand still: words that are read, and words that are written. */
  readonly #heldRead: Int32Array;
  readonly #heldWritten: Int32Array;
  /** Bit n: a word that loop n polls may have been written. */
  #news = 0;
  /** Was something written for which a walker was not followed before? */
  #again = false;
  readonly #todo: number[] = [];

  constructor(world: World) {
    this.#world = world;
    const words = world.words.length >> 1;
    this.#written = new Int32Array(words);
    this.#pruned = new Int32Array(words);
    this.#heldRead = new Int32Array(words);
    this.#heldWritten = new Int32Array(words);
  }

  /** What walker `id` is, in the state that was saved or loaded last. */
  node(id: number): number {
    const world = this.#world,
      block = world.block(id),
      key = this.#key;
    this.#head.set(world.words.subarray(block >> 2, (block >> 2) + CHUNK_WORDS));
    this.#head[NEWS] = 0; // others change it: what is news depends on the state, and is looked up there
    key[0] = this.#heads.intern(this.#head, 0);
    for (let i = 1, chunk = (block >>> 8) + 1; i < CHUNKS; i++, chunk++) key[i] = world.states.contentsOf(chunk);
    key[CHUNKS] = id;
    const n = this.#keys.intern(key, 0);
    if (n === this.#nodes.length) this.#add(id);
    return n;
  }

  #add(id: number): void {
    const pending = this.#world.pending(id);
    this.version++;
    this.#passed.push(0);
    if (pending === undefined) {
      this.#nodes.push({ walker: id, does: ENDED, word: -1, at: 0, wide: false, loop: -1, edges: [] });
      return;
    }
    const { kind, address, bytes } = pending;
    const stores = kind === "atomic store" || kind === "store",
      does = kind === "wait" ? WAITS : stores ? STORES : writes(kind) ? WRITES : READS;
    const loop = does === WAITS ? this.#world.loopOf(id) : -1;
    this.#nodes.push({ walker: id, does, word: address >>> 3, at: address >>> 2, wide: bytes > 4, loop, edges: [] });
  }

  /** The value that the access of node `n` finds in memory now: its low or its high word. */
  value(n: number, half: 0 | 1): number {
    const { at, wide } = this.#nodes[n] as Node;
    return half === 0 || wide ? (this.#world.words[at + half] as number) : 0;
  }

  /** Tells the world which words loops of waits poll: those that are accessed between a wait and the next one of its loop. */
  findPolls(): void {
    if (this.#polled === this.version) return;
    this.#polled = this.version;
    for (const [n, { does }] of this.#nodes.entries()) if (does === WAITS) this.#pollsOf(n);
  }

  #pollsOf(wait: number): void {
    const { loop } = this.#nodes[wait] as Node,
      before = new Map<number, number[]>(),
      ends: number[] = [];
    for (const todo = [wait]; todo.length > 0; ) {
      const n = todo.pop() as number;
      for (const { to } of (this.#nodes[n] as Node).edges) {
        const known = before.get(to);
        if (known !== undefined) known.push(n);
        else {
          before.set(to, [n]);
          const node = this.#nodes[to] as Node;
          if (node.does !== WAITS) todo.push(to);
          else if (node.loop === loop) ends.push(to);
        }
      }
    }
    const seen = new Set(ends);
    for (const n of seen) {
      const { does, word } = this.#nodes[n] as Node;
      if (does !== WAITS) this.#world.poll(loop, word);
      for (const from of before.get(n) ?? []) if (from !== wait) seen.add(from);
    }
  }

  /** The step from node `from` leads to node `to` if its access finds this value. */
  learn(from: number, low: number, high: number, marks: Marks, to: number): void {
    const { edges } = this.#nodes[from] as Node;
    for (const edge of edges) {
      if (edge.to === to && edge.low === low && edge.high === high && edge.marks === marks) return;
    }
    edges.push({ low, high, marks, to });
    this.version++;
  }

  /** Does the order of the two pending accesses matter? */
  #depend(a: Node, b: Node): boolean {
    if (a.does === ENDED || b.does === ENDED) return false;
    if (a.word === b.word && (writesWord(a) || writesWord(b))) return true;
    return this.#isNews(a, b) || this.#isNews(b, a);
  }

  /** The next step from this node is not made now. */
  #hold(node: Node): void {
    for (const edge of node.edges) {
      if (!this.#isOpen(node, edge)) continue;
      for (const mark of edge.marks) (mark & 1 ? this.#heldWritten : this.#heldRead)[mark >>> 1] = this.#question;
    }
  }

  #meetsHeld(marks: Marks): boolean {
    for (const mark of marks) {
      if (this.#heldWritten[mark >>> 1] === this.#question) return true;
      if (mark & 1 && this.#heldRead[mark >>> 1] === this.#question) return true;
    }
    return false;
  }

  /** Is the write `a` news for the wait `b`? */
  #isNews(a: Node, b: Node): boolean {
    return b.does === WAITS && writesWord(a) && this.#world.polls(b.loop, a.word);
  }

  /**
   * A walker outside `still` that may make an access whose order with a pending one of `still` matters, while those of `still`
   * make no step; -1 if there is none. `roots`: what each walker is now.
   */
  disturber(still: number, roots: readonly number[]): number {
    this.#question++;
    this.#news = 0;
    for (const [id, root] of roots.entries()) if (still & (1 << id)) this.#hold(this.#nodes[root] as Node);
    do {
      this.#pass++;
      this.#again = false;
      for (const [id, root] of roots.entries()) {
        if ((still & (1 << id)) === 0 && this.#disturbs(root, still, roots)) return id;
      }
    } while (this.#again);
    return -1;
  }

  /** Does the walker whose node is `root` disturb one of `still`, as far as is known by now? */
  #disturbs(root: number, still: number, roots: readonly number[]): boolean {
    this.#todo.length = 0;
    this.#reach(root);
    for (let n = this.#todo.pop(); n !== undefined; n = this.#todo.pop()) {
      const node = this.#nodes[n] as Node;
      for (const [id, other] of roots.entries()) {
        if (still & (1 << id) && this.#depend(node, this.#nodes[other] as Node)) return true;
      }
      if (writesWord(node)) this.#write(node.word);
      if ((n !== root || node.does !== WAITS || this.#wakes(node)) && this.#follow(node)) return true;
    }
    return false;
  }

  #reach(n: number): void {
    if (this.#passed[n] === this.#pass) return;
    this.#passed[n] = this.#pass;
    this.#todo.push(n);
  }

  #write(word: number): void {
    if (this.#written[word] === this.#question) return;
    this.#written[word] = this.#question;
    const news = this.#news | this.#world.loopsOf(word);
    if (news !== this.#news || this.#pruned[word] === this.#question) this.#again = true;
    this.#news = news;
  }

  /** May a walker that waits now go on? */
  #wakes({ walker, word, loop }: Node): boolean {
    if (this.#world.canStep(walker) || this.#news & (1 << loop) || this.#written[word] === this.#question) return true;
    this.#pruned[word] = this.#question;
    return false;
  }

  /** True if a step from here accesses what the next step of those accesses that stand still. */
  #follow(node: Node): boolean {
    for (const edge of node.edges) {
      if (!this.#isOpen(node, edge)) {
        this.#pruned[node.word] = this.#question;
        continue;
      }
      if (this.#meetsHeld(edge.marks)) return true;
      for (const mark of edge.marks) if (mark & 1) this.#write(mark >>> 1);
      this.#reach(edge.to);
    }
    return false;
  }

  /** May the step be made? A word that nobody may have written holds what it holds now. */
  #isOpen({ does, word, at, wide }: Node, { low, high }: Edge): boolean {
    if (does === WAITS || does === STORES || this.#written[word] === this.#question) return true;
    const words = this.#world.words,
      next = at + 1;
    return low === words[at] && high === (wide ? words[next] : 0);
  }
}
