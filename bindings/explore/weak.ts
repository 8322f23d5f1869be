// Weak memory beside a world: what a step reads in place of the newest value, and the search over it. The model is in orders.ts.
//
// The memory of the world always holds the newest values, and so do checks. What the weak memory holds beside them (older values, and
// who may still read them) is kept once for each content, and its number lies in the world's memory: a state of the world is then a
// state of both. A step has a choice wherever an access may go back; the search takes each.
//
// Nothing here leaves steps out because their order does not matter: two accesses to different words may depend on each other by
// what their walkers know.

import { BoundTable, Edges } from "./graph.js";
import type { Found, Limits, Search } from "./search.js";
import type { ChooseNth, WeakMemory } from "./weak-memory.js";
import { EXPLORING, type World } from "./world.js";

/** Starts `world` anew with its weak memory. */
export function startWeakly(world: World, mode: number): void {
  const weak = world.weak as WeakMemory;
  weak.machine.reset();
  weak.begin(() => 0);
  world.restartAll(mode);
  weak.end();
  keep(world, weak);
  world.first = world.save();
}

/** Loads a state of a world with a weak memory. */
export function loadWeakly(world: World, state: number): void {
  world.load(state);
  world.weak?.machine.restore(world.weakState);
}

function keep(world: World, weak: WeakMemory): void {
  for (let id = 0; id < world.walkers; id++) if (world.isDone(id)) weak.machine.end(id);
  world.setWeakState(weak.machine.save());
}

/** As `World.step`: where an access may go back, `choose` says how far. Nothing is saved. */
export function stepWeakly(world: World, id: number, choose: ChooseNth): void {
  const weak = world.weak as WeakMemory;
  weak.begin(choose);
  try {
    world.step(id);
  } finally {
    weak.end();
  }
}

/** What a step chooses, one after the other, and the newest behind that. */
export class Choices {
  readonly #wanted: readonly number[];
  readonly taken: { readonly backs: readonly number[]; readonly at: number }[] = [];

  constructor(wanted: readonly number[]) {
    this.#wanted = wanted;
  }

  readonly choose: ChooseNth = (backs) => {
    if (backs.length === 1) return 0;
    const at = this.#wanted[this.taken.length] ?? 0;
    this.taken.push({ backs, at });
    return backs[at] ?? 0;
  };

  /** The choices that come next; undefined behind the last. */
  next(): number[] | undefined {
    for (let i = this.taken.length - 1; i >= 0; i--) {
      const { backs, at } = this.taken[i] as { backs: readonly number[]; at: number };
      if (at + 1 < backs.length) return [...this.taken.slice(0, i).map((one) => one.at), at + 1];
    }
    return undefined;
  }
}

/** One step of a path, and what it chose. */
export interface WeakStep {
  readonly id: number;
  readonly choices: readonly number[];
}

/** A rule that is broken, and the steps that lead there. */
export interface WeakFound extends Pick<Found, "rule"> {
  readonly path: readonly WeakStep[];
}

export interface WeakSearch extends Omit<Search, "found" | "parents" | "left"> {
  readonly found: readonly WeakFound[];
}

interface Frame {
  readonly state: number;
  readonly enabled: number;
  readonly step: WeakStep | undefined;
  readonly used: number;
  id: number;
  choices: readonly number[];
}

class WeakRun {
  readonly edges = new Edges();
  readonly finals = new Set<number>();
  readonly found = new Map<string, WeakFound>();
  readonly parents = new Map<number, readonly [from: number, step: WeakStep]>();
  readonly #world: World;
  readonly #limits: Limits;
  readonly #final: () => string | undefined;
  readonly #seen: BoundTable;
  readonly #stack: Frame[] = [];
  readonly #end: number;
  transitions = 0;
  cut = false;

  constructor(world: World, limits: Limits, final: () => string | undefined) {
    this.#world = world;
    this.#limits = limits;
    this.#final = final;
    this.#seen = new BoundTable(world.walkers, limits.bound);
    this.#end = performance.now() + limits.milliseconds;
  }

  get states(): number {
    return this.#seen.states;
  }

  /** False if words were found where walkers meet, or that a weak access was made to. */
  async go(): Promise<boolean> {
    const world = this.#world;
    this.#seen.visit(world.first, 0, 0);
    this.#enter(world.first, undefined, 0);
    for (let n = 1; this.#stack.length > 0; n++) {
      if ((n & 255) === 0) {
        if (this.#isNews()) return false;
        await this.#limits.breathe();
        if (this.#isOver()) this.cut = true;
      }
      this.#advance(this.#stack[this.#stack.length - 1] as Frame);
      if (this.#limits.first && [...this.found.keys()].some((rule) => !rule.startsWith("stuck"))) this.cut = true;
      if (this.cut) return true;
    }
    return !this.#isNews();
  }

  #isNews(): boolean {
    return this.#world.addMeetings() > 0 || this.#world.weak?.machine.grew === true;
  }

  #isOver(): boolean {
    const { limit, signal, progress } = this.#limits;
    progress?.(this.states, this.transitions);
    return this.states >= limit || signal?.aborted === true || performance.now() > this.#end;
  }

  #advance(frame: Frame): void {
    while (frame.id < this.#world.walkers && !(frame.enabled & (1 << frame.id))) frame.id++;
    const { id, state, step: before } = frame;
    if (id >= this.#world.walkers) {
      this.#stack.pop();
      return;
    }
    const preempts = before !== undefined && id !== before.id && frame.enabled & (1 << before.id) ? 1 : 0,
      used = frame.used + preempts;
    if (used > this.#limits.bound) {
      frame.id++;
      return;
    }
    this.#take(frame, state, id, used);
  }

  #take(frame: Frame, state: number, id: number, used: number): void {
    const world = this.#world,
      choices = new Choices(frame.choices),
      step: WeakStep = { id, choices: frame.choices };
    loadWeakly(world, state);
    this.transitions++;
    let error: unknown;
    try {
      stepWeakly(world, id, choices.choose);
      keep(world, world.weak as WeakMemory);
    } catch (thrown) {
      error = thrown;
      world.recover(id);
    }
    const next = choices.next();
    frame.choices = next ?? [];
    if (next === undefined) frame.id++;
    if (error !== undefined) {
      this.#report(error instanceof Error ? error.message : String(error), [...this.#path(), step]);
      return;
    }
    const to = world.save();
    this.edges.add(state, to);
    if (!this.#seen.visit(to, id, used)) return;
    if (!this.parents.has(to) && to !== world.first) this.parents.set(to, [state, step]);
    this.#enter(to, step, used);
  }

  #enter(state: number, step: WeakStep | undefined, used: number): void {
    const enabled = this.#world.enabled();
    this.#stack.push({ state, enabled, step, used, id: 0, choices: [] });
    if (enabled !== 0 || this.finals.has(state)) return;
    this.finals.add(state);
    const rule = this.#world.allDone() ? this.#final() : "stuck: nobody who has not ended can go on";
    if (rule !== undefined) this.#report(rule, this.#path());
  }

  #path(): WeakStep[] {
    return this.#stack.flatMap(({ step }) => (step === undefined ? [] : [step]));
  }

  #report(rule: string, path: readonly WeakStep[]): void {
    const had = this.found.get(rule);
    if (had === undefined || path.length < had.path.length) this.found.set(rule, { rule, path });
  }

  /** Walkers that can go on for ever without a way to an end. */
  reportCircles(): void {
    if (this.found.size > 0 || this.cut) return;
    const { first } = this.#world,
      lost = this.edges.hopeless(this.finals, first, this.parents.keys());
    if (lost === undefined) return;
    const path: WeakStep[] = [];
    for (let at = this.parents.get(lost); at !== undefined; at = this.parents.get(at[0])) path.unshift(at[1]);
    this.#report("stuck: walkers go on for ever, and can never end", path);
  }
}

/** Every interleaving of a world with a weak memory, and in each every value that a load may get and every place that a store may go to. */
export async function searchWeakly(
  world: World,
  limits: Limits,
  final: () => string | undefined,
  mode: number = EXPLORING,
): Promise<WeakSearch> {
  const began = performance.now();
  for (;;) {
    const milliseconds = limits.milliseconds - (performance.now() - began);
    startWeakly(world, mode);
    (world.weak as WeakMemory).machine.grew = false;
    const run = new WeakRun(world, { ...limits, milliseconds }, final);
    if (!(await run.go()) && !run.cut) continue;
    const isBounded = limits.bound !== Number.POSITIVE_INFINITY;
    if (!isBounded) run.reportCircles();
    return {
      states: run.states,
      transitions: run.transitions,
      schedules: run.cut || isBounded ? undefined : run.edges.paths(world.first),
      finals: run.finals.size,
      complete: !run.cut,
      meetings: world.meetings,
      found: [...run.found.values()],
      milliseconds: performance.now() - began,
    };
  }
}
