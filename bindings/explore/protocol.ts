// Small protocols in TypeScript: walkers that are generators, over named words that they share.

import type { AccessKind, Site } from "./build.js";
import type { Scenario } from "./scenario.js";
import { BLOCK_BYTES, EVERYWHERE, type Fibre, type Room, SEEN, tablesFor, World } from "./world.js";

/** One access that a walker asks for; the accessors of `Shared` make them. */
export interface Request {
  /** What it does. */
  readonly kind: AccessKind;
  /** The word's name. */
  readonly word: string;
  /** The value after it, from the one before. */
  readonly next?: (old: number) => number;
  /** Of a wait: the value that it waits for to change. */
  readonly expected?: number;
}

/** What an access gives to its walker: use it as `const value = yield* m.load("word")`. */
export type Access = Generator<Request, number, number>;

/** A walker: returns its result, a whole number of 32 bits, or nothing. */
export type ProtocolWalker<W extends string> = (m: Shared<W>, id: number) => Generator<Request, number | void, number>;

/** The words of a protocol, whole numbers of 32 bits. Every accessor is used with `yield*`. */
export interface Shared<W extends string> {
  /** Atomic, sequentially consistent. */
  load(word: W): Access;
  /** Atomic, sequentially consistent. */
  store(word: W, value: number): Access;
  /** Leaves `value`; the value before. */
  exchange(word: W, value: number): Access;
  /** Stores `next` if `old` is there; the value before. */
  compareExchange(word: W, old: number, next: number): Access;
  /** Adds `n`; the value before. */
  add(word: W, n: number): Access;
  /** Sleeps while the word is `value`; it may also wake without a reason, once something else has changed. */
  wait(word: W, value: number): Access;
  /** Accesses that order nothing. Two of them that are not ordered otherwise, one a store, are a race. */
  readonly plain: { load(word: W): Access; store(word: W, value: number): Access };
}

/** What makes a protocol a scenario. */
export interface Protocol<W extends string> {
  /** Its class. */
  readonly name: string;
  /** One line about it. */
  readonly title: string;
  /** Spec ids, mails and commits that it is about. */
  readonly cites?: readonly string[];
  /** The shared words, and what they hold at first. */
  readonly words: Readonly<Record<W, number>>;
  /** How many there are. */
  readonly walkers: readonly ProtocolWalker<W>[];
  /** What is wrong once everybody has ended; undefined for nothing. */
  readonly check?: (words: Readonly<Record<W, number>>, results: readonly (number | undefined)[]) => string | undefined;
}

function* ask(request: Request): Access {
  return yield request;
}

const SHARED: Shared<string> = {
  load: (word) => ask({ kind: "atomic load", word }),
  store: (word, value) => ask({ kind: "atomic store", word, next: () => value }),
  exchange: (word, value) => ask({ kind: "exchange", word, next: () => value }),
  compareExchange: (word, old, next) => ask({ kind: "exchange", word, next: (now) => (now === old ? next : now) }),
  add: (word, n) => ask({ kind: "exchange", word, next: (now) => now + n }),
  wait: (word, expected) => ask({ kind: "wait", word, expected }),
  plain: {
    load: (word) => ask({ kind: "load", word }),
    store: (word, value) => ask({ kind: "store", word, next: () => value }),
  },
};

const KINDS: readonly AccessKind[] = ["load", "store", "atomic load", "atomic store", "exchange", "wait"];
const FIRST_WORD = 256;
const WORD_BYTES = 8;

/** What a generator was given, as one number each: the number of what it was given before, and the last value. */
class Histories {
  readonly #ids = new Map<string, number>();
  readonly #entries: [before: number, value: number][] = [[0, 0]];

  after(before: number, value: number): number {
    const key = `${before} ${value}`,
      had = this.#ids.get(key);
    if (had !== undefined) return had;
    this.#entries.push([before, value]);
    this.#ids.set(key, this.#entries.length - 1);
    return this.#entries.length - 1;
  }

  values(id: number): number[] {
    const values: number[] = [];
    for (let at = id; at !== 0; ) {
      const [before, value] = this.#entries[at] as [number, number];
      values.push(value);
      at = before;
    }
    return values.reverse();
  }
}

class ProtocolFibre implements Fibre {
  readonly operations = 1;
  readonly #world: ProtocolWorld;
  readonly #id: number;
  readonly #make: () => Generator<Request, number | void, number>;
  #live: Generator<Request, number | void, number>;
  #request: Request | undefined;
  /** What the live generator was given. */
  #history = -1;

  constructor(world: ProtocolWorld, id: number, walker: ProtocolWalker<string>) {
    this.#world = world;
    this.#id = id;
    this.#make = () => walker(SHARED, id);
    this.#live = this.#make();
  }

  setMode(): void {}
  reset(): void {
    this.#history = -1;
  }

  begin(): boolean {
    this.#live = this.#make();
    this.#history = 0;
    this.#world.setOwn(this.#id, 0);
    return this.#take(this.#live.next());
  }

  resume(): boolean {
    const world = this.#world;
    if (world.own(this.#id) !== this.#history) this.#catchUp(world.own(this.#id));
    return this.#take(this.#perform(this.#request as Request, true));
  }

  /** Generators cannot be copied: a new one is given what the old one was. */
  #catchUp(history: number): void {
    this.#live = this.#make();
    let step = this.#live.next();
    for (const value of this.#world.histories.values(history)) step = this.#live.next(value);
    this.#request = step.done ? undefined : step.value;
    this.#history = history;
  }

  #perform(request: Request, ordered: boolean): IteratorResult<Request, number | void> {
    const value = this.#world.perform(this.#id, request, ordered);
    this.#history = this.#world.histories.after(this.#history, value);
    this.#world.setOwn(this.#id, this.#history);
    return this.#live.next(value);
  }

  #take(first: IteratorResult<Request, number | void>): boolean {
    let step = first;
    while (!step.done) {
      this.#request = step.value;
      if (this.#world.stopsAt(this.#id, step.value)) return false;
      step = this.#perform(step.value, false);
    }
    if (typeof step.value === "number") this.#world.pushResult(this.#id, step.value);
    return true;
  }
}

function roomFor(words: number, walkers: number): Room {
  const blocks = FIRST_WORD + Math.ceil((words * WORD_BYTES) / 256) * 256,
    end = blocks + walkers * BLOCK_BYTES,
    sizes = tablesFor(end);
  const meeting = end + sizes.dirty,
    met = meeting + sizes.meeting,
    touched = met + sizes.met;
  return { buffer: new ArrayBuffer(touched + sizes.touched), blocks, end, dirty: end, meeting, met, touched };
}

export class ProtocolWorld extends World {
  readonly histories = new Histories();
  readonly names: readonly string[];

  constructor(words: Readonly<Record<string, number>>, walkers: readonly ProtocolWalker<string>[]) {
    const names = Object.keys(words),
      sites = names.flatMap((word): Site[] => KINDS.map((kind) => ({ kind, bytes: 4, name: word, line: word })));
    super(roomFor(names.length, walkers.length), sites, walkers.length);
    this.names = names;
    for (const [i, name] of names.entries()) this.words[this.#at(i) >> 2] = words[name] as number;
    for (const [id, walker] of walkers.entries()) this.fibres.push(new ProtocolFibre(this, id, walker));
  }

  #at(word: number): number {
    return FIRST_WORD + word * WORD_BYTES;
  }

  #find(word: string): number {
    const at = this.names.indexOf(word);
    if (at < 0) throw new Error(`there is no word ${word}`);
    return at;
  }

  #site(request: Request): number {
    return this.#find(request.word) * KINDS.length + KINDS.indexOf(request.kind);
  }

  /** May others come in before the access? Then it is pending. Plain accesses count too: what a race does shall be seen. */
  stopsAt(id: number, request: Request): boolean {
    const address = this.#at(this.#find(request.word)),
      word = address >>> 3;
    const reads = request.kind === "load" || request.kind === "atomic load" || request.kind === "wait";
    (this.met[word] as number) |= reads ? 1 << id : 0x101 << id;
    if (request.kind !== "wait" && !(this.mode & EVERYWHERE) && this.meeting[word] === 0) return false;
    this.suspend(id, this.#site(request), address, request.expected ?? 0);
    return true;
  }

  /** Makes the access; the value before. */
  perform(id: number, request: Request, ordered: boolean): number {
    const address = this.#at(this.#find(request.word)),
      p = address >>> 2,
      old = this.words[p] as number;
    if (this.mode & SEEN) this.see(id, this.#site(request), address, 4, ordered);
    if (request.next !== undefined) {
      this.words[p] = request.next(old);
      this.dirty[address >>> 8] = 1;
    }
    return request.kind === "atomic store" || request.kind === "store" || request.kind === "wait" ? 0 : old;
  }

  values(): Record<string, number> {
    return Object.fromEntries(this.names.map((name, i) => [name, this.words[this.#at(i) >> 2] as number]));
  }

  override nameOf(address: number): string {
    return this.names[(address - FIRST_WORD) / WORD_BYTES] ?? `0x${address.toString(16)}`;
  }
}

/**
 * A protocol of your own as a scenario: generators over named words, with atomic and plain accesses. Each `yield*` is one access. A
 * walker must do the same whenever it is given the same values: no clocks, no random numbers, no variables outside it.
 *
 * @example
 * ```ts
 * import { explore, protocol } from "granule/explore";
 * const flag = protocol({
 *   name: "message",
 *   title: "data is stored before a flag, and read behind it",
 *   words: { data: 0, flag: 0 },
 *   walkers: [
 *     function* (m) {
 *       yield* m.plain.store("data", 42);
 *       yield* m.store("flag", 1);
 *     },
 *     function* (m) {
 *       return (yield* m.load("flag")) === 1 ? yield* m.plain.load("data") : 42;
 *     },
 *   ],
 *   check: (_, [, seen]) => (seen === 42 ? undefined : `${seen} was read`),
 * });
 * const { complete, violations } = await explore(flag);
 * console.log(complete, violations.length); // true 0
 * ```
 */
export function protocol<W extends string>(what: Protocol<W>): Scenario {
  const { name, title, cites, walkers } = what,
    count = walkers.length;
  const resultsOf = (world: World) => walkers.map((_, id) => world.results(id)[0]);
  return {
    name,
    title,
    ...(cites === undefined ? {} : { cites }),
    walkers: count,
    needsCore: false,
    linear: false,
    mayDie: false,
    make: () => new ProtocolWorld(what.words, walkers as readonly ProtocolWalker<string>[]),
    outcome: (world) => {
      const words = Object.entries((world as ProtocolWorld).values()).map(([word, value]) => `${word} ${value}`);
      return `${resultsOf(world)
        .map((one) => one ?? "")
        .join(" | ")} | ${words.join(", ")}`;
    },
    check: (world) => what.check?.((world as ProtocolWorld).values() as Record<W, number>, resultsOf(world)),
    says: () => "",
  };
}
