// A weak memory beside the real core. The core tells of each access before it makes it. What a load is to get in place of the newest
// value is put into the memory for that one access, and what a store has left is known at the next access, or when the step is over.

import { type AccessKind, isAtomic, writes } from "./build.js";
import type { WeakModel } from "./orders.js";
import { type ChooseNth, WeakMemory } from "./weak-memory.js";
import type { Observer, World } from "./world.js";

/** An access that has been told of, and not been made yet. */
interface Begun {
  readonly id: number;
  readonly kind: AccessKind;
  /** Its words of 4 bytes, by place, and what they held. */
  readonly places: readonly number[];
  readonly before: readonly number[];
  readonly nth: number;
  readonly site: number | undefined;
}

export class WeakCore extends WeakMemory implements Observer {
  readonly #world: World;
  /** Places of the words that may hold older values; undefined for all. */
  readonly #racing: ReadonlySet<number> | undefined;
  #begun: Begun | undefined;
  /** Newest values that make room for older ones, by place. */
  readonly #hidden = new Map<number, number>();
  #site: number | undefined;

  constructor(world: World, model: WeakModel, racing: ReadonlySet<number> | undefined) {
    super(world, model, racing === undefined);
    this.#world = world;
    this.#racing = racing && new Set([...racing].map((address) => address >>> 2));
    for (const place of this.#racing ?? []) this.machine.weakWords.add(this.wordAt(place));
  }

  override begin(choose: ChooseNth): void {
    super.begin(choose);
    this.nth = -1;
    this.#begun = undefined;
    this.#hidden.clear();
  }

  override end(): void {
    this.#finish();
    super.end();
  }

  access(id: number, site: number, kind: AccessKind, address: number, bytes: number, ordered: boolean): void {
    this.#finish();
    this.nth++;
    if (kind === "wait" || kind === "notify") return;
    const first = address >>> 2,
      all = Array.from({ length: ((address + bytes - 1) >>> 2) - first + 1 }, (_, i) => first + i);
    const places = isAtomic(kind) ? all : all.filter((place) => this.#racing?.has(place) ?? true);
    if (places.length === 0) return;
    this.#site = ordered ? undefined : site;
    if (kind === "load" || kind === "atomic load") this.#load(id, kind, places);
    else this.#store(id, kind, places);
  }

  /** Both halves of a wide load go back alike. */
  #load(id: number, kind: AccessKind, places: readonly number[]): void {
    let back: number | undefined;
    for (const place of places) {
      const word = this.wordAt(place),
        chosen = back;
      const value = this.machine.load(id, word, this.orderOf(kind), [], (backs, which, valueAt) => {
        back = chosen === undefined ? this.#pickAt(backs, which, valueAt) : backs.includes(chosen) ? chosen : 0;
        return back;
      });
      if (back !== 0 && value !== this.#world.words[place]) this.#hide(place, value);
    }
  }

  #pickAt(backs: readonly number[], word: number, valueAt: (back: number) => number): number {
    const back = this.pick(backs, word, valueAt),
      last = this.log[this.log.length - 1];
    if (back > 0 && last !== undefined) this.log[this.log.length - 1] = { ...last, site: this.#site };
    return back;
  }

  #hide(place: number, value: number): void {
    const { words } = this.#world;
    this.#hidden.set(place, words[place] as number);
    words[place] = value;
    this.#world.dirty[place >>> 6] = 1;
  }

  #store(id: number, kind: AccessKind, places: readonly number[]): void {
    const before = places.map((place) => this.#world.words[place] as number);
    this.#begun = { id, kind, places, before, nth: this.nth, site: this.#site };
    if (kind !== "exchange") return;
    for (const place of places) this.machine.beginExchange(id, this.wordAt(place), "seqcst", []);
  }

  /** The access that was told of last has been made. */
  #finish(): void {
    const { words } = this.#world,
      begun = this.#begun;
    for (const [place, newest] of this.#hidden) words[place] = newest;
    this.#hidden.clear();
    this.#begun = undefined;
    if (begun === undefined || !writes(begun.kind)) return;
    const { nth } = this;
    this.nth = begun.nth;
    this.#site = begun.site;
    for (const [i, place] of begun.places.entries()) {
      if (begun.kind === "exchange") this.#finishExchange(begun.id, place, begun.before[i] as number);
      else this.#finishStore(begun, place);
    }
    this.nth = nth;
  }

  /** An exchange that has failed, or that left the value as it was, is taken for a load. */
  #finishExchange(id: number, place: number, before: number): void {
    const now = this.#world.words[place] as number;
    if (before !== now) this.machine.finishExchange(id, this.wordAt(place), now, "seqcst", []);
  }

  #finishStore({ id, kind }: Begun, place: number): void {
    const { words, dirty } = this.#world,
      pick = (backs: readonly number[], word: number, valueAt: (back: number) => number) =>
        this.#pickAt(backs, word, valueAt);
    words[place] = this.machine.store(id, this.wordAt(place), words[place] as number, this.orderOf(kind), [], pick);
    dirty[place >>> 6] = 1;
  }
}
