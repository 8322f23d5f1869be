// Small protocols in TypeScript: walkers that are generators, over named words that they share.

import type { AccessKind, Site } from "./build.js";
import type { Order, WeakModel } from "./orders.js";
import type { Scenario } from "./scenario.js";
import type { WeakMemory } from "./weak-memory.js";
import { BLOCK_BYTES, EVERYWHERE, type Fibre, type Room, SEEN, tablesFor, World } from "./world.js";

/** One access that a walker asks for; the accessors of `Shared` make them. */
export interface Request {
  /** What it does. */
  readonly kind: AccessKind;
  /** The word's name; "" for a fence. */
  readonly word: string;
  /** The value after it, from the one before. */
  readonly next?: (old: number) => number;
  /** Of a wait: the value that it waits for to change. Of a compare-exchange: the value that it replaces. */
  readonly expected?: number;
  /** How it orders what is around it; sequentially consistent if it is not said. */
  readonly order?: Order | undefined;
  /** Words whose last load it depends on. */
  readonly after?: readonly string[] | undefined;
}

/** How an access orders what is around it. It counts in a search with `weak: "orders"` alone: any other one takes it as sequentially consistent. */
export interface AccessOptions<W extends string> {
  /** Loads: "relaxed" or "acquire"; stores: "relaxed" or "release"; exchanges: those, or "acquire-release". */
  readonly order?: Order;
  /**
   * Words whose last load this access depends on: its address or its value comes from there, or it is a store behind a branch
   * on it. Arm keeps this order without a barrier.
   */
  readonly after?: readonly W[];
}

/** What an access gives to its walker: use it as `const value = yield* m.load("word")`. */
export type Access = Generator<Request, number, number>;

/** A walker: returns its result, a whole number of 32 bits, or nothing. */
export type ProtocolWalker<W extends string> = (m: Shared<W>, id: number) => Generator<Request, number | void, number>;

/** The words of a protocol, whole numbers of 32 bits. Every accessor is used with `yield*`. */
export interface Shared<W extends string> {
  /** Atomic, sequentially consistent if no order is given. */
  load(word: W, options?: AccessOptions<W>): Access;
  /** Atomic, sequentially consistent if no order is given. */
  store(word: W, value: number, options?: AccessOptions<W>): Access;
  /** Leaves `value`; the value before. */
  exchange(word: W, value: number, options?: AccessOptions<W>): Access;
  /** Stores `next` if `old` is there; the value before. */
  compareExchange(word: W, old: number, next: number, options?: AccessOptions<W>): Access;
  /** Adds `n`; the value before. */
  add(word: W, n: number, options?: AccessOptions<W>): Access;
  /** Sleeps while the word is `value`; it may also wake without a reason, once something else has changed. */
  wait(word: W, value: number): Access;
  /** Orders what is before it and behind it: "acquire" (DMB ISHLD), "release", or all (DMB ISH) if it is not said. */
  fence(order?: "acquire" | "release" | "seqcst"): Access;
  /** Accesses that order nothing. Two of them that are not ordered otherwise, one a store, are a race. */
  readonly plain: {
    load(word: W, options?: Pick<AccessOptions<W>, "after">): Access;
    store(word: W, value: number, options?: Pick<AccessOptions<W>, "after">): Access;
  };
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
  /** The memory that shows what it is about: a weak one. */
  readonly weak?: WeakModel;
}

function* ask(request: Request): Access {
  return yield request;
}

type Options = AccessOptions<string>;

const ORDERS: Readonly<Record<"atomic load" | "atomic store" | "exchange", readonly Order[]>> = {
  "atomic load": ["relaxed", "acquire", "seqcst"],
  "atomic store": ["relaxed", "release", "seqcst"],
  exchange: ["relaxed", "acquire", "release", "acquire-release", "seqcst"],
};

/** Asks for an atomic access; throws for an order that it cannot have. */
function atomic(kind: keyof typeof ORDERS, what: Omit<Request, "kind">, options: Options | undefined): Access {
  const { order = "seqcst", after } = options ?? {};
  if (!ORDERS[kind].includes(order)) throw new Error(`no ${kind} can be ${order}: ${ORDERS[kind].join(", ")}`);
  return ask({ kind, ...what, order, after });
}

export const SHARED: Shared<string> = {
  load: (word, options) => atomic("atomic load", { word }, options),
  store: (word, value, options) => atomic("atomic store", { word, next: () => value }, options),
  exchange: (word, value, options) => atomic("exchange", { word, next: () => value }, options),
  compareExchange: (word, old, next, options) =>
    atomic("exchange", { word, expected: old, next: (now) => (now === old ? next : now) }, options),
  add: (word, n, options) => atomic("exchange", { word, next: (now) => now + n }, options),
  wait: (word, expected) => ask({ kind: "wait", word, expected }),
  fence: (order = "seqcst") => ask({ kind: "fence", word: "", order }),
  plain: {
    load: (word, options) => ask({ kind: "load", word, after: options?.after }),
    store: (word, value, options) => ask({ kind: "store", word, next: () => value, after: options?.after }),
  },
};

const KINDS: readonly AccessKind[] = ["load", "store", "atomic load", "atomic store", "exchange", "wait"];
const FENCE: Site = { kind: "fence", bytes: 4, name: "fence", line: "" };
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

  kept(): unknown {
    return this.#entries.slice(1);
  }

  restore(kept: unknown): void {
    for (const [before, value] of kept as [number, number][]) this.after(before, value);
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
    super(roomFor(names.length, walkers.length), [...sites, FENCE], walkers.length);
    this.names = names;
    for (const [i, name] of names.entries()) this.words[this.#at(i) >> 2] = words[name] as number;
    for (const [id, walker] of walkers.entries()) this.fibres.push(new ProtocolFibre(this, id, walker));
  }

  protected override keptMore(): unknown {
    return this.histories.kept();
  }

  protected override restoreMore(more: unknown): void {
    this.histories.restore(more);
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
    if (request.kind === "fence") return this.sites.length - 1;
    return this.#find(request.word) * KINDS.length + KINDS.indexOf(request.kind);
  }

  /** May others come in before the access? Then it is pending. Plain accesses count too: what a race does shall be seen. */
  stopsAt(id: number, request: Request): boolean {
    if (request.kind === "fence") return this.weak !== undefined && this.#suspend(id, request, 0);
    const address = this.#at(this.#find(request.word)),
      word = address >>> 3;
    const reads = request.kind === "load" || request.kind === "atomic load" || request.kind === "wait";
    (this.met[word] as number) |= reads ? 1 << id : 0x101 << id;
    if (request.kind !== "wait" && !(this.mode & EVERYWHERE) && this.meeting[word] === 0) return false;
    return this.#suspend(id, request, address);
  }

  #suspend(id: number, request: Request, address: number): true {
    this.suspend(id, this.#site(request), address, request.kind === "wait" ? (request.expected ?? 0) : 0);
    return true;
  }

  /** Makes the access; the value before. */
  perform(id: number, request: Request, ordered: boolean): number {
    if (request.kind === "fence") {
      this.weak?.machine.fence(id, request.order ?? "seqcst");
      return 0;
    }
    const address = this.#at(this.#find(request.word)),
      p = address >>> 2;
    if (this.mode & SEEN) this.see(id, this.#site(request), address, 4, ordered);
    const old = this.weak ? this.#performWeakly(this.weak, id, request, p) : (this.words[p] as number);
    if (request.next !== undefined) {
      if (this.weak === undefined) this.words[p] = request.next(old);
      this.dirty[address >>> 8] = 1;
    }
    return request.kind === "atomic store" || request.kind === "store" || request.kind === "wait" ? 0 : old;
  }

  /** As `perform`, in a weak memory; the value that is read. */
  #performWeakly(weak: WeakMemory, id: number, request: Request, p: number): number {
    const { machine } = weak,
      { kind, next } = request,
      word = weak.wordAt(p),
      order = weak.orderOf(kind, request.order),
      after = weak.model === "orders" ? (request.after ?? []).map((name) => weak.wordAt(this.#cell(name))) : [];
    if (kind === "wait") machine.look(id, word);
    if (kind === "load" || kind === "atomic load") return machine.load(id, word, order, after, weak.pick);
    if (next === undefined) return 0;
    if (kind !== "exchange") {
      this.words[p] = machine.store(id, word, next(0), order, after, weak.pick);
      return 0;
    }
    const old = machine.beginExchange(id, word, order, after);
    if (request.expected === undefined || request.expected === old) {
      this.words[p] = next(old);
      machine.finishExchange(id, word, this.words[p] as number, order, after);
    }
    return old;
  }

  #cell(name: string): number {
    return this.#at(this.#find(name)) >>> 2;
  }

  values(): Record<string, number> {
    return Object.fromEntries(this.names.map((name, i) => [name, this.words[this.#at(i) >> 2] as number]));
  }

  override nameOf(address: number): string {
    return this.names[(address - FIRST_WORD) / WORD_BYTES] ?? `0x${address.toString(16)}`;
  }
}

const PROTOCOLS = new WeakMap<Scenario, Protocol<string>>();

/** What a scenario that `protocol` made was made of; undefined for any other one. */
export function protocolOf(scenario: Scenario): Protocol<string> | undefined {
  return PROTOCOLS.get(scenario);
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
  const { name, title, cites, walkers, weak } = what,
    count = walkers.length;
  const resultsOf = (world: World) => walkers.map((_, id) => world.results(id)[0]);
  const scenario: Scenario = {
    name,
    title,
    ...(cites === undefined ? {} : { cites }),
    ...(weak === undefined ? {} : { weak }),
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
  PROTOCOLS.set(scenario, what as unknown as Protocol<string>);
  return scenario;
}
