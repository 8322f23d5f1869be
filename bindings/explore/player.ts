// Plays one schedule in a world where every atomic access is a place to stop.

import { type AccessKind, type ExploreBuild, isAtomic, writes } from "./build.js";
import type { WeakModel } from "./orders.js";
import { RaceDetector, raceRule } from "./races.js";
import type { Scenario } from "./scenario.js";
import { type Back, type Death, isDeath, joined, type Schedule, type Turn } from "./schedule.js";
import { loadWeakly, startWeakly, stepWeakly, type WeakStep } from "./weak.js";
import type { ChooseNth, Stale } from "./weak-memory.js";
import { weaken } from "./weak-world.js";
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
  /** What went back in it, in a weak memory. */
  readonly stale: readonly Stale[];
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

  constructor(
    scenario: Scenario,
    build: ExploreBuild | undefined,
    flaw: number,
    verdict: Verdict,
    weak?: WeakModel | undefined,
    racing?: ReadonlySet<number> | undefined,
  ) {
    this.#scenario = scenario;
    this.#verdict = verdict;
    this.world = scenario.make(build, flaw);
    if (weak === undefined) this.world.start(EXPLORING | SEEN | EVERYWHERE);
    else {
      weaken(this.world, weak, racing);
      startWeakly(this.world, EXPLORING | SEEN | EVERYWHERE);
    }
  }

  /** The rules that the schedule breaks: what happens first or is wrong in the end, then races. */
  play(schedule: Schedule, listener?: Listener): string[] {
    const { world } = this;
    loadWeakly(world, world.first);
    const detector = new RaceDetector(world),
      seen = world.observer; // of a weak memory, where what a race does is seen and not the race
    if (world.weak === undefined) world.observer = detector;
    let rule: string | undefined;
    try {
      const dead = this.#perform(schedule, listener);
      world.observer = undefined;
      rule = this.#judge(dead);
    } catch (error) {
      rule = error instanceof Error ? error.message : String(error);
    } finally {
      world.observer = seen;
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
      for (let n = 0; n < turn.steps && world.canStep(turn.walker); n++) this.step(turn.walker, listener, turn.stale);
    }
    for (let n = 0; n < MANY; n++) {
      const enabled = world.enabled();
      if (enabled === 0) return dead;
      if (last < 0 || !(enabled & (1 << last))) last = 31 - Math.clz32(enabled & -enabled);
      this.step(last, listener);
    }
    return undefined;
  }

  /** One step; `choose` says how far its accesses go back in a weak memory. */
  #go(id: number, choose: ChooseNth): void {
    if (this.world.weak === undefined) this.world.step(id);
    else stepWeakly(this.world, id, choose);
  }

  /** Walker `id` makes its pending access. Throws what the core finds wrong meanwhile, after it has told the listener. */
  step(id: number, listener: Listener | undefined, stale: readonly Back[] = []): void {
    const { world } = this,
      choose: ChooseNth = (_, nth) => stale.find((one) => one.nth === nth)?.back ?? 0;
    if (listener === undefined) {
      this.#go(id, choose);
      return;
    }
    const access = world.pending(id) as Pending,
      operation = world.operation(id),
      before = world.valueAt(access.address, access.bytes);
    const tell = () => {
      const after = world.valueAt(access.address, access.bytes);
      listener.step(world, { walker: id, access, before, after, operation, stale: [...(world.weak?.log ?? [])] });
    };
    try {
      this.#go(id, choose);
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

  /** As `translate`, for the path of a search with a weak memory. */
  translateWeakly(path: readonly WeakStep[], meeting: Uint8Array): Schedule {
    const { world } = this,
      turns: Turn[] = [];
    loadWeakly(world, world.first);
    const go = (id: number, left: number[]) => {
      const stale: Back[] = [];
      turns.push({ walker: id, steps: 1 }); // if it throws
      this.#go(id, (backs, nth) => {
        const back = backs.length === 1 ? 0 : (backs[left.shift() ?? 0] ?? 0);
        if (back > 0) stale.push({ back, nth });
        return back;
      });
      if (stale.length > 0) turns[turns.length - 1] = { walker: id, steps: 1, stale };
    };
    try {
      for (let id = 0; id < world.walkers; id++) while (!this.#isThere(id, meeting)) go(id, []);
      for (const { id, choices } of path) {
        const left = [...choices];
        go(id, left);
        while (!this.#isThere(id, meeting)) go(id, left);
      }
    } catch {
      turns.push({ walker: path[path.length - 1]?.id ?? 0, steps: MANY }); // the step that breaks a rule
    }
    for (let id = 0; id < world.walkers; id++) world.recover(id);
    return joined(turns);
  }

  /** Is walker `id` about to access a word of `meeting`, or has it ended? */
  #isThere(id: number, meeting: Uint8Array): boolean {
    const access = this.world.pending(id);
    if (access === undefined || access.kind === "wait" || access.kind === "fence") return true;
    return meeting[access.address >>> 3] !== 0;
  }

  /** Walker `id` steps until it is about to access a word of `meeting`; how many steps these are. */
  #approach(id: number, meeting: Uint8Array): number {
    for (let n = 0; ; n++) {
      if (this.#isThere(id, meeting)) return n;
      this.world.step(id);
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
