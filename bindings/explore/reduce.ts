// Which walkers need to step in a state, so that the search sees every final state, every error of a step and everybody who is stuck
// for ever, in fewer states.
//
// In each state the search takes the steps of a persistent set: walkers such that whatever the others do meanwhile, nothing that
// they access matters to the next steps of the set [Godefroid, Partial-Order Methods for the Verification of Concurrent Systems,
// 1996, section 4]. What the others may do is read off the walkers' local graphs (locals.ts), which hold what was seen so far. The
// search looks at each state again until no set has to grow. Then nothing is missing, by induction over the schedules that begin in
// a state: what others could do before a step of the set, they can do after it, and there it was seen. That is the argument of
// dynamic partial-order reduction [Flanagan and Godefroid, POPL 2005]. There sets are of a path; here they are of a state, so that
// states can be kept and no summary of what lies behind one is needed [Yang et al., SPIN 2008].
//
// Persistent sets alone keep final states. Errors of steps and endless circles are kept because nobody is left out for ever: from
// each state the search gets to one where everybody steps who can [Valmari, A stubborn attack on state explosion, 1990]. A final
// state is one, so this costs something only in circles. A step that ends in an error leads nowhere: there everybody steps.
//
// Sleep sets [Godefroid, section 5; Abdulla et al., POPL 2014] are not used: with states kept they save hardly a state, and they do not
// keep errors of steps.

import { type AccessKind, writes } from "./build.js";
import { type Edges, larger } from "./graph.js";
import { Locals, type Marks } from "./locals.js";
import type { Observer, World } from "./world.js";

/** A state in which some walkers must step that have not. */
export interface Unfinished {
  readonly state: number;
  readonly missing: number;
}

/** Of one run of a search, which tells it what happens. */
export class Reducer implements Observer {
  readonly #world: World;
  readonly #locals: Locals;
  readonly #outer: Observer | undefined;
  readonly #footprint = new Set<number>();
  readonly #footprints = new Map<string, Marks>();
  /** For each state, bit n: walker n has stepped from there, or will; and: it can. 0 where nobody can. */
  #taken = new Uint8Array(1 << 12);
  #enabled = new Uint8Array(1 << 12);
  /** Version of the local graphs when all sets were looked at. */
  #looked = -1;

  /** `outer` sees what the reducer sees. */
  constructor(world: World, outer: Observer | undefined) {
    this.#world = world;
    this.#outer = outer;
    this.#locals = new Locals(world);
  }

  /** Who steps in state `state`, which the memory is in. */
  choose(state: number, enabled: number): number {
    this.#grow(state);
    const taken = enabled & (enabled - 1) ? this.#smallest(enabled) : enabled;
    this.#enabled[state] = enabled;
    this.#taken[state] = taken;
    return taken;
  }

  /** Tells the world what was found out about how walkers wait. */
  look(): void {
    this.#locals.findPolls();
  }

  #grow(state: number): void {
    if (state < this.#taken.length) return;
    this.#taken = larger(this.#taken, 2 * state);
    this.#enabled = larger(this.#enabled, 2 * state);
  }

  #smallest(enabled: number): number {
    const roots = this.#roots();
    let best = enabled;
    for (let id = 0; id < roots.length; id++) {
      if ((enabled & (1 << id)) === 0) continue;
      const set = this.#closed(1 << id, roots) & enabled;
      if ((set & (set - 1)) === 0) return set;
      if (sizeOf(set) < sizeOf(best)) best = set;
    }
    return best;
  }

  /** The smallest persistent set that is found around `walkers`. */
  #closed(walkers: number, roots: readonly number[]): number {
    let set = walkers;
    for (let id = this.#locals.disturber(set, roots); id >= 0; id = this.#locals.disturber(set, roots)) set |= 1 << id;
    return set;
  }

  #roots(): number[] {
    return Array.from({ length: this.#world.walkers }, (_, id) => this.#locals.node(id));
  }

  /** Everybody steps in this state: those who would not have. */
  others(state: number): number {
    const others = (this.#enabled[state] as number) & ~(this.#taken[state] as number);
    this.#take(state, others);
    return others;
  }

  /** Before a step of walker `id`; what is given is to be called after it. */
  before(id: number): () => void {
    const locals = this.#locals,
      from = locals.node(id),
      low = locals.value(from, 0),
      high = locals.value(from, 1);
    this.#footprint.clear();
    return () => locals.learn(from, low, high, this.#marks(), locals.node(id));
  }

  access(id: number, site: number, kind: AccessKind, address: number, bytes: number, ordered: boolean): void {
    this.#outer?.access(id, site, kind, address, bytes, ordered);
    if (kind === "wait" || kind === "notify") return;
    const bit = writes(kind) ? 1 : 0;
    for (let word = address >>> 3; word <= (address + bytes - 1) >>> 3; word++) this.#footprint.add(word * 2 + bit);
  }

  #marks(): Marks {
    const key = [...this.#footprint].join(),
      had = this.#footprints.get(key);
    if (had !== undefined) return had;
    const marks = [...this.#footprint];
    this.#footprints.set(key, marks);
    return marks;
  }

  /** States of `states` where more walkers must step, by what is known now; none if there are none. Ask again after each round. */
  *unfinished(states: readonly number[], first: number, edges: Edges): Generator<Unfinished> {
    let found = false;
    while (!found && this.#looked !== this.#locals.version) {
      this.#looked = this.#locals.version;
      for (const state of states) {
        const missing = this.#lacking(state);
        if (missing === 0) continue;
        found = true;
        yield this.#take(state, missing);
      }
    }
    if (!found) yield* this.#ignoring(states, first, edges);
  }

  #take(state: number, missing: number): Unfinished {
    (this.#taken[state] as number) |= missing;
    return { state, missing };
  }

  #lacking(state: number): number {
    const taken = this.#taken[state] as number,
      enabled = this.#enabled[state] as number;
    if (taken === enabled) return 0;
    this.#world.load(state);
    return this.#closed(taken, this.#roots()) & enabled & ~taken;
  }

  /** A state from which the search gets to none where everybody steps. */
  *#ignoring(states: readonly number[], first: number, edges: Edges): Generator<Unfinished> {
    const whole = new Set(states.filter((state) => this.#taken[state] === this.#enabled[state]));
    const lost = edges.hopeless(whole, first, states);
    if (lost !== undefined) yield this.#take(lost, (this.#enabled[lost] as number) & ~(this.#taken[lost] as number));
  }
}

function sizeOf(set: number): number {
  let n = 0;
  for (let rest = set; rest !== 0; rest &= rest - 1) n++;
  return n;
}
