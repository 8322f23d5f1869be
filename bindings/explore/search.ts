// Depth-first search over the states of a world.
//
// A walker stops only at words that two walkers meet in by atomic accesses, one of which is no load; all between is its own, as long
// as no plain access races (races.ts watches that). Which words these are is found by searching until no search finds another one.

import type { Signal } from "../core/platform.js";
import { BoundTable, Edges, type KeptTable } from "./graph.js";
import { Reducer, type Unfinished } from "./reduce.js";
import { COMMON, type KeptWorld, SEEN, type World } from "./world.js";

/** When a search ends before it has seen everything. */
export interface Limits {
  /** States at most. */
  readonly limit: number;
  /** Preemptions in one schedule at most: switches away from a walker that could go on. */
  readonly bound: number;
  /** Milliseconds at most. */
  readonly milliseconds: number;
  /** End at the first broken rule. */
  readonly first: boolean;
  /** Leave out states that show nothing new: see reduce.ts. Only without a bound. */
  readonly reduce: boolean;
  readonly signal?: Signal | undefined;
  /** Lets others have a turn now and then. */
  readonly breathe: () => Promise<void>;
  /** Told every thousandth step. */
  readonly progress?: ((states: number, transitions: number) => void) | undefined;
}

/** What the search tells as it goes. */
export interface Visitor {
  /** Before walker `id` takes the step that leads from the `depth`th state of the path, the memory being in that state. */
  beforeStep?(depth: number, id: number): void;
  /** After it: `path` is whose steps led there. */
  afterStep?(path: () => number[]): void;
  /** Ends the search. */
  isEnough?(): boolean;
  /** In a state where everybody has ended, once; it may change the world. Words for what is wrong. */
  final?(path: () => number[]): string | undefined;
}

/** A rule that is broken, and the walkers whose steps lead there. */
export interface Found {
  readonly rule: string;
  readonly path: readonly number[];
}

export interface Search {
  readonly states: number;
  readonly transitions: number;
  /** Schedules from the first state to a last one; undefined where there are circles, or the search was cut. */
  readonly schedules: bigint | undefined;
  readonly finals: number;
  /** Has it seen everything within the bound? */
  readonly complete: boolean;
  readonly meetings: number;
  readonly found: readonly Found[];
  /** For each state that was visited: the state before it on the way of its first visit, and who stepped; -1 for the first. */
  readonly parents: ReadonlyMap<number, readonly [from: number, id: number]>;
  readonly milliseconds: number;
  /** Of a search that was cut for want of time or states: gives what `search` takes up, until the world starts anew. */
  readonly left: (() => KeptSearch) | undefined;
}

/** A search that was cut, as it can be written to a file. */
export interface KeptSearch {
  readonly world: KeptWorld;
  readonly bound: number;
  readonly edges: Int32Array;
  readonly parents: ReadonlyMap<number, readonly [number, number]>;
  readonly found: ReadonlyMap<string, Found>;
  readonly seen: KeptTable;
  readonly stack: readonly Readonly<Frame>[];
  readonly finals: ReadonlySet<number>;
  readonly transitions: number;
}

interface Frame {
  state: number;
  /** Walkers that may step, and have not yet. */
  left: number;
  enabled: number;
  /** Who stepped last, -1 for nobody. */
  last: number;
  used: number;
}

class Run {
  readonly edges = new Edges();
  readonly parents = new Map<number, readonly [number, number]>();
  /** Was it cut for want of time or of states? Then it may go on. */
  early = false;
  readonly found = new Map<string, Found>();
  readonly #world: World;
  readonly #limits: Limits;
  readonly #visitor: Visitor;
  readonly #seen: BoundTable;
  readonly #stack: Frame[] = [];
  readonly #finals = new Set<number>();
  readonly #end: number;
  readonly #reducer: Reducer | undefined;
  states = 0;
  transitions = 0;
  cut = false;
  /** Is a rule broken? That walkers are stuck may also mean that not all words are known yet where they meet. */
  #broken = false;
  #turns = 0;

  constructor(world: World, limits: Limits, visitor: Visitor, reducer: Reducer | undefined) {
    this.#world = world;
    this.#limits = limits;
    this.#visitor = visitor;
    this.#seen = new BoundTable(world.walkers, limits.bound);
    this.#end = performance.now() + limits.milliseconds;
    this.#reducer = reducer;
  }

  get finals(): ReadonlySet<number> {
    return this.#finals;
  }

  /** Walks the graph; false if words were found where walkers meet that were none before. */
  async go(): Promise<boolean> {
    const world = this.#world;
    if (this.#stack.length === 0) this.#enter(world.first, -1, 0);
    if (!(await this.#walk())) return false;
    for (let more = true; more && !this.cut; ) {
      more = false;
      for (const { state, missing } of this.#unfinished()) {
        more = true;
        this.#enterAgain(state, missing);
        if (!(await this.#walk())) return false;
        if (this.cut) break;
      }
    }
    if (!this.cut) return !this.#finds(); // a path that was found belongs to the words known so far
    this.#reducer?.look();
    if (world.foundPolls) this.#forgetStuck();
    return true;
  }

  /** Who is stuck where not all words are known would perhaps go on. */
  #forgetStuck(): void {
    for (const rule of this.found.keys()) if (rule.startsWith("stuck")) this.found.delete(rule);
  }

  /** Were words found where walkers meet? */
  #finds(): boolean {
    this.#reducer?.look();
    const common = this.#reducer !== undefined && this.#world.addCommon() > 0;
    return this.#world.addMeetings() > 0 || common;
  }

  /** Takes up a search that was cut. */
  restore(kept: KeptSearch): void {
    this.edges.restore(kept.edges);
    for (const [state, parent] of kept.parents) this.parents.set(state, parent);
    for (const [rule, found] of kept.found) this.found.set(rule, found);
    for (const state of kept.finals) this.#finals.add(state);
    this.#seen.restore(kept.seen);
    this.states = this.#seen.states;
    this.transitions = kept.transitions;
    this.#stack.push(...kept.stack.map((frame) => ({ ...frame })));
  }

  kept(): KeptSearch {
    const { parents, found, transitions } = this;
    return {
      world: this.#world.kept(),
      bound: this.#limits.bound,
      edges: this.edges.kept(),
      parents,
      found,
      seen: this.#seen.kept(),
      stack: this.#stack,
      finals: this.#finals,
      transitions,
    };
  }

  /** Until nothing is left on the stack, or the search is cut; false as `go`. */
  async #walk(): Promise<boolean> {
    while (this.#stack.length > 0) {
      if ((++this.#turns & 1023) === 0) {
        if (this.#finds()) return false;
        await this.#limits.breathe();
        if (this.#isOver()) {
          this.cut = true;
          this.early = true;
          break;
        }
      }
      this.#advance(this.#stack[this.#stack.length - 1] as Frame);
      if ((this.#limits.first && this.#broken) || this.#visitor.isEnough?.() === true) {
        this.cut = true;
        break;
      }
    }
    return true;
  }

  #unfinished(): Iterable<Unfinished> {
    const { first } = this.#world;
    return this.#reducer?.unfinished([first, ...this.parents.keys()], first, this.edges) ?? [];
  }

  /** Walks to a state that was visited before, on the way of its first visit, so that walkers `left` step there. */
  #enterAgain(state: number, left: number): void {
    const world = this.#world;
    let at = world.first,
      last = -1;
    for (const id of pathTo(this.parents, state)) {
      this.#stack.push({ state: at, left: 0, enabled: 0, last, used: 0 });
      world.load(at);
      this.#visitor.beforeStep?.(this.#stack.length - 1, id);
      world.step(id);
      this.#visitor.afterStep?.(() => [...this.#path(), id]);
      at = world.save();
      last = id;
    }
    this.#stack.push({ state, left, enabled: left, last, used: 0 });
  }

  #isOver(): boolean {
    const { limit, signal, progress } = this.#limits;
    progress?.(this.states, this.transitions);
    return this.states >= limit || signal?.aborted === true || performance.now() > this.#end;
  }

  #path = (): number[] => this.#stack.slice(1).map(({ last }) => last);

  #report(rule: string, path: number[]): void {
    if (!rule.startsWith("stuck")) this.#broken = true;
    const had = this.found.get(rule);
    if (had === undefined || path.length < had.path.length) this.found.set(rule, { rule, path });
  }

  #advance(frame: Frame): void {
    const id = 31 - Math.clz32(frame.left & -frame.left);
    if (frame.left === 0) {
      this.#stack.pop();
      return;
    }
    frame.left &= ~(1 << id);
    const preempts = frame.last >= 0 && id !== frame.last && frame.enabled & (1 << frame.last) ? 1 : 0,
      used = frame.used + preempts;
    if (used > this.#limits.bound) return;
    const world = this.#world;
    world.load(frame.state);
    this.#visitor.beforeStep?.(this.#stack.length - 1, id);
    this.transitions++;
    const stepped = this.#reducer?.before(id);
    try {
      world.step(id);
    } catch (error) {
      this.#report(error instanceof Error ? error.message : String(error), [...this.#path(), id]);
      world.recover(id);
      frame.left |= this.#reducer?.others(frame.state) ?? 0; // the step leads nowhere, so it stands for none of theirs
      return;
    }
    this.#visitor.afterStep?.(() => [...this.#path(), id]);
    const next = world.save();
    stepped?.();
    this.edges.add(frame.state, next);
    if (this.#seen.visit(next, id, used)) this.#enterFrom(frame.state, next, id, used);
  }

  #enterFrom(from: number, state: number, id: number, used: number): void {
    if (!this.parents.has(state) && state !== this.#world.first) this.parents.set(state, [from, id]);
    this.#enter(state, id, used);
  }

  /** The memory is in `state`. */
  #enter(state: number, last: number, used: number): void {
    const enabled = this.#world.enabled();
    if (this.#stack.length === 0) this.#seen.visit(state, 0, 0);
    this.states = this.#seen.states;
    const left = this.#reducer?.choose(state, enabled) ?? enabled;
    this.#stack.push({ state, left, enabled, last, used });
    if (enabled === 0) this.#finish(state);
  }

  #finish(state: number): void {
    if (this.#finals.has(state)) return;
    this.#finals.add(state);
    const world = this.#world;
    if (!world.allDone()) {
      this.#report("stuck: nobody who has not ended can go on", this.#path());
      return;
    }
    const rule = this.#visitor.final?.(this.#path);
    if (rule !== undefined) this.#report(rule, this.#path());
  }
}

/** Searches until no further words are found where walkers meet. Starts the world anew. */
export async function search(
  world: World,
  limits: Limits,
  visitor: () => Visitor,
  mode: number,
  kept?: KeptSearch,
): Promise<Search> {
  const began = performance.now(),
    bounded = limits.bound !== Number.POSITIVE_INFINITY;
  for (let resumes = kept; ; resumes = undefined) {
    const left = limits.milliseconds - (performance.now() - began);
    world.restartAll(limits.reduce ? mode | SEEN | COMMON : mode, limits.reduce);
    const visits = visitor(),
      outer = world.observer,
      reducer = limits.reduce ? new Reducer(world, outer) : undefined,
      run = new Run(world, { ...limits, milliseconds: left }, visits, reducer);
    if (resumes !== undefined) {
      if (resumes.bound !== limits.bound) throw new Error("what was kept of a search has another bound");
      world.restore(resumes.world);
      run.restore(resumes);
    }
    world.observer = reducer ?? outer;
    const whole = await run.go();
    world.observer = outer;
    if (!whole && !run.cut) continue;
    const schedules = run.cut || bounded || limits.reduce ? undefined : run.edges.paths(world.first);
    if (!run.cut && !bounded) reportCircles(world, run);
    return {
      states: run.states,
      transitions: run.transitions,
      schedules,
      finals: run.finals.size,
      complete: !run.cut,
      meetings: world.meetings,
      found: [...run.found.values()],
      parents: run.parents,
      milliseconds: performance.now() - began,
      left: run.early && !limits.reduce ? () => run.kept() : undefined,
    };
  }
}

/** Walkers that can go on for ever without a way to an end. */
function reportCircles(world: World, run: Run): void {
  if (run.found.size > 0) return; // a step that ended in an error leads nowhere
  const lost = run.edges.hopeless(run.finals, world.first, run.parents.keys());
  if (lost === undefined) return;
  run.found.set("circle", {
    rule: "stuck: walkers go on for ever, and can never end",
    path: pathTo(run.parents, lost),
  });
}

/** The steps that lead to `state`. */
export function pathTo(parents: ReadonlyMap<number, readonly [number, number]>, state: number): number[] {
  const path: number[] = [];
  for (let at = parents.get(state); at !== undefined; at = parents.get(at[0])) path.push(at[1]);
  return path.reverse();
}
