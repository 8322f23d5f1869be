// Plays one schedule in a world where every atomic access is a place to stop.

import { type AccessKind, type ExploreBuild, isAtomic, writes } from "./build.js";
import { RaceDetector, raceRule } from "./races.js";
import type { Scenario } from "./scenario.js";
import { type Death, isDeath, joined, type Schedule, type Turn } from "./schedule.js";
import { EVERYWHERE, EXPLORING, type Observer, type Pending, SEEN, type World } from "./world.js";

/** More steps than any scenario takes: who is still going then goes round for ever. */
export const MANY = 5000;

/** One access of a schedule that was played. */
export interface Step {
  readonly walker: number;
  readonly access: Pending;
  /** The word before and after. */
  readonly before: bigint;
  readonly after: bigint;
  /** Operation of the walker's program. */
  readonly operation: number;
}

/** Told before and after each step of a play. */
export interface Listener {
  step(world: World, step: Step): void;
  death(world: World, walker: number): void;
}

/** Words for what is wrong at the end of a play, and undefined for nothing. */
export type Verdict = (world: World, dead: boolean) => string | undefined;

export class Player {
  readonly world: World;
  readonly #scenario: Scenario;
  readonly #verdict: Verdict;

  constructor(scenario: Scenario, build: ExploreBuild | undefined, flaw: number, verdict: Verdict) {
    this.#scenario = scenario;
    this.#verdict = verdict;
    this.world = scenario.make(build, flaw);
    this.world.start(EXPLORING | SEEN | EVERYWHERE);
  }

  /** The rules that the schedule breaks: what happens first or is wrong in the end, then races. */
  play(schedule: Schedule, listener?: Listener): string[] {
    const { world } = this;
    world.load(world.first);
    const detector = new RaceDetector(world);
    world.observer = detector;
    let rule: string | undefined;
    try {
      const dead = this.#perform(schedule, listener);
      world.observer = undefined;
      rule = this.#judge(dead);
    } catch (error) {
      rule = error instanceof Error ? error.message : String(error);
    } finally {
      world.observer = undefined;
      for (let id = 0; id < world.walkers; id++) world.recover(id);
      world.setMode(EXPLORING | SEEN | EVERYWHERE);
    }
    return [...(rule === undefined ? [] : [rule]), ...detector.take().map(raceRule)];
  }

  #judge(dead: boolean | undefined): string | undefined {
    const { world } = this;
    if (dead === undefined) return "stuck: walkers go on for ever, and can never end";
    if (!world.allDone()) return "stuck: nobody who has not ended can go on";
    return world.quietly(() => this.#verdict(world, dead));
  }

  /** Has somebody died? Undefined if it never ends. */
  #perform(schedule: Schedule, listener: Listener | undefined): boolean | undefined {
    const { world } = this;
    let last = -1,
      dead = false;
    for (const turn of schedule) {
      if (isDeath(turn)) {
        this.kill(turn.dies, turn.writes, listener);
        last = world.walkers - 1; // the host, which buries it
        dead = true;
        continue;
      }
      last = turn.walker;
      for (let n = 0; n < turn.steps && world.canStep(turn.walker); n++) this.step(turn.walker, listener);
    }
    for (let n = 0; n < MANY; n++) {
      const enabled = world.enabled();
      if (enabled === 0) return dead;
      if (last < 0 || !(enabled & (1 << last))) last = 31 - Math.clz32(enabled & -enabled);
      this.step(last, listener);
    }
    return undefined;
  }

  /** Walker `id` makes its pending access. Throws what the core finds wrong meanwhile, after it has told the listener. */
  step(id: number, listener: Listener | undefined): void {
    const { world } = this;
    if (listener === undefined) {
      world.step(id);
      return;
    }
    const access = world.pending(id) as Pending,
      operation = world.operation(id),
      before = world.valueAt(access.address, access.bytes);
    const tell = () => {
      const after = world.valueAt(access.address, access.bytes);
      listener.step(world, { walker: id, access, before, after, operation });
    };
    try {
      world.step(id);
    } catch (error) {
      tell();
      throw error;
    }
    tell();
  }

  /** Walker `id` ends: at once, or in its next step before its plain write number `writes` of that step. The host buries it. */
  kill(id: number, writes: number | undefined, listener?: Listener): void {
    const { world } = this;
    if (writes !== undefined) {
      const before = world.observer,
        cut = new Cut(world, id, writes);
      world.observer = cut;
      this.step(id, listener);
      world.observer = before;
      if (cut.state >= 0) world.load(cut.state);
    }
    listener?.death(world, id);
    world.kill(id);
    this.#scenario.bury?.(world, id);
  }

  /**
   * The schedule that makes the steps of `path`: those of a search in which a walker stops only at words of `meeting`. `death`: in
   * the end this walker makes `atomics` more atomic accesses of its next step there, and then dies as a Death says.
   */
  translate(path: readonly number[], meeting: Uint8Array, death?: Death & { readonly atomics: number }): Schedule {
    const { world } = this,
      turns: (Turn | Death)[] = [];
    world.load(world.first);
    const go = (id: number, steps: number) => {
      turns.push({ walker: id, steps }); // if it throws, in its last step
      for (let n = 0; n < steps; n++) if (world.canStep(id)) world.step(id);
      const more = this.#approach(id, meeting);
      turns[turns.length - 1] = { walker: id, steps: steps + more };
    };
    try {
      for (let id = 0; id < world.walkers; id++) go(id, 0);
      for (const id of path) go(id, 1);
    } catch {
      turns.push({ walker: path[path.length - 1] ?? 0, steps: MANY }); // the step that breaks a rule
    }
    if (death !== undefined)
      turns.push({ walker: death.dies, steps: death.atomics }, { dies: death.dies, writes: death.writes });
    for (let id = 0; id < world.walkers; id++) world.recover(id);
    return joined(turns);
  }

  /** Walker `id` steps until it is about to access a word of `meeting`; how many steps these are. */
  #approach(id: number, meeting: Uint8Array): number {
    const { world } = this;
    for (let n = 0; ; n++) {
      const access = world.pending(id);
      if (access === undefined || access.kind === "wait" || meeting[access.address >>> 3] !== 0) return n;
      world.step(id);
    }
  }
}

/** Keeps the state of the memory before a plain write of one step. */
class Cut implements Observer {
  readonly #world: World;
  readonly #id: number;
  #left: number;
  state = -1;

  constructor(world: World, id: number, writes: number) {
    this.#world = world;
    this.#id = id;
    this.#left = writes;
  }

  access(id: number, _site: number, kind: AccessKind): void {
    if (id !== this.#id || isAtomic(kind) || !writes(kind) || this.state >= 0) return;
    if (this.#left-- === 0) this.state = this.#world.save();
  }
}
