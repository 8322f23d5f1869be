// The weak memory of one world: which of its words are which words of the model, and what the present step chooses.

import type { AccessKind } from "./build.js";
import { type Choose, type Order, WeakMachine, type WeakModel } from "./orders.js";

/** What it needs of a world. */
interface Remembered {
  readonly words: Int32Array;
  readonly walkers: number;
}

/** An access that went back. */
export interface Stale {
  /** Accesses of the step before it that may go back. */
  readonly nth: number;
  /** Messages back. */
  readonly back: number;
  /** In bytes. */
  readonly address: number;
  /** Where in the source, if it is not the access that the step began with. */
  readonly site?: number | undefined;
  /** What was loaded, or stored behind the newest value. */
  readonly value: number;
}

/** Says how far the `nth` access of a step goes back. */
export type ChooseNth = (backs: readonly number[], nth: number) => number;

export class WeakMemory {
  readonly machine: WeakMachine;
  readonly model: WeakModel;
  /** Accesses of the present step that went back. */
  readonly log: Stale[] = [];
  /** Which access of the step is made: the step of a protocol has one, as long as it may stop at each. */
  protected nth = 0;
  readonly #words = new Map<number, number>();
  readonly #places: number[] = [];
  #choose: ChooseNth = () => 0;

  /** Of a world that has not started. `everything`: a step counts its accesses as any other search does. */
  constructor(world: Remembered, model: WeakModel, everything = false) {
    const first = world.words.slice();
    this.model = model;
    this.machine = new WeakMachine(world.walkers, (word) => first[this.#places[word] as number] as number, everything);
  }

  /** Number of the word at `place` of the world's words. */
  wordAt(place: number): number {
    let word = this.#words.get(place);
    if (word === undefined) {
      word = this.#places.push(place) - 1;
      this.#words.set(place, word);
    }
    return word;
  }

  /** The order that an access has in this memory. */
  orderOf(kind: AccessKind, order: Order = "seqcst"): Order {
    if (kind === "load" || kind === "store") return "relaxed";
    return this.model === "orders" ? order : "seqcst";
  }

  /** For the machine: how far this access goes back. What is asked for and may not be is 0. */
  readonly pick: Choose = (backs, word, valueAt) => {
    const { nth } = this,
      asked = this.#choose(backs, nth),
      back = backs.includes(asked) ? asked : 0;
    if (back > 0) this.log.push({ nth, back, address: (this.#places[word] as number) * 4, value: valueAt(back) });
    return back;
  };

  /** The next accesses are those of one step. */
  begin(choose: ChooseNth): void {
    this.log.length = 0;
    this.nth = 0;
    this.#choose = choose;
  }

  /** The step is over, or has thrown. */
  end(): void {
    this.#choose = () => 0;
  }
}
