// One scenario explored: its states, its races, its deaths, its outcomes, and a replay string for each rule that it breaks.

import type { Signal } from "../core/platform.js";
import type { ExploreBuild } from "./build.js";
import { tryDeaths } from "./deaths.js";
import { Orders } from "./linear.js";
import type { WeakModel } from "./orders.js";
import { Player } from "./player.js";
import { type Race, RaceDetector, raceRule } from "./races.js";
import { randomWalks } from "./random.js";
import type { Scenario } from "./scenario.js";
import { formatReplay, isDeath, type Schedule } from "./schedule.js";
import { type Found, type KeptSearch, type Limits, pathTo, type Search, search } from "./search.js";
import { breaks, shrink } from "./shrink.js";
import { searchWeakly, type WeakSearch } from "./weak.js";
import { weaken } from "./weak-world.js";
import { COMMON, EXPLORING, SEEN, type World } from "./world.js";

/** How to explore; everything may be left out. */
export interface ExploreOptions {
  /** The core's explore build, for scenarios that run the core. */
  readonly build?: ExploreBuild | undefined;
  /** A flaw of the build that is switched on, by name. */
  readonly flaw?: string | undefined;
  /** Preemptions in one schedule at most; without it there is no bound. */
  readonly bound?: number | undefined;
  /** States at most; 1,000,000 if it is not said. */
  readonly limit?: number | undefined;
  /** Seconds at most. */
  readonly seconds?: number | undefined;
  /**
   * Leave out states that show nothing new: the same outcomes and broken rules, in fewer states; false if it is not said. It goes
   * with neither a bound nor deaths, schedules are not counted, and races are still looked for in all states.
   */
  readonly reduce?: boolean | undefined;
  /** Look for plain accesses that race; true if it is not said. */
  readonly races?: boolean | undefined;
  /**
   * Let a walker die, and bury it: "atomics" before each of its atomic accesses, "writes" before each of its plain writes too;
   * nobody dies if it is not said.
   */
  readonly deaths?: "atomics" | "writes" | undefined;
  /**
   * On a weak memory: "plain" loads may get any older value that happens-before permits, and plain stores may be delayed; with
   * "orders" the atomic accesses of a protocol also have only the order that each is given. Atomic accesses of the core are
   * sequentially consistent, as those of Wasm are. Nobody dies in such a search, and no random walks follow.
   */
  readonly weak?: WeakModel | undefined;
  /** Where random walks begin that follow a search that was cut short: the same seed, the same walks. */
  readonly seed?: number | undefined;
  /** How many these are; 1,000 if it is not said. */
  readonly walks?: number | undefined;
  /** End at the first rule that is broken; false if it is not said. */
  readonly first?: boolean | undefined;
  /** Goes on with a search that was cut short, which its `onLeft` was given; with the same scenario, build, flaw and bound. */
  readonly resume?: LeftSearch | undefined;
  /**
   * Given what is left of the search if it is cut short by `limit`, `seconds` or `signal`: a value that structuredClone can copy.
   * Races, deaths and random schedules are no part of it. Not with `reduce`.
   */
  readonly onLeft?: ((left: LeftSearch) => void) | undefined;
  /** Stops the search, which is then incomplete. */
  readonly signal?: Signal | undefined;
  /** Told how far it is, some times a second at most. */
  readonly progress?: ((states: number, transitions: number) => void) | undefined;
}

/** What is left of a search that was cut short. */
export interface LeftSearch {
  /** The scenario. */
  readonly scenario: string;
  /** Of the core's build, or `0`. */
  readonly hash: string;
  /** The flaw that is switched on; "" for none. */
  readonly flaw: string;
  /** What came out so far. */
  readonly outcomes: readonly string[];
  /** @internal */
  readonly search: KeptSearch;
}

/** A broken rule, and a schedule that breaks it. */
export interface ExploreViolation {
  /** The rule. */
  readonly rule: string;
  /** For `replay`, and `granule explore --replay`. */
  readonly replay: string;
  /** Atomic accesses until then. */
  readonly steps: number;
}

/** What came of a scenario. */
export interface ExploreResult {
  /** Its class. */
  readonly name: string;
  /** How many there are. */
  readonly walkers: number;
  /** Different states that were visited. */
  readonly states: number;
  /** Steps that were taken between them. */
  readonly transitions: number;
  /** Schedules that the states stand for; null where the search was bounded or cut short, or a schedule can go round for ever. */
  readonly schedules: bigint | null;
  /** Was everything seen, within the bound if there was one? */
  readonly complete: boolean;
  /** Words where walkers meet. */
  readonly meetings: number;
  /** Pairs of source lines that race, known ones too. */
  readonly races: number;
  /** Different worlds in which a walker has died, that were followed to the end. */
  readonly deaths: number;
  /** What came out in final states, sorted: results of each walker, and what is left. */
  readonly outcomes: readonly string[];
  /** Rules that are broken. */
  readonly violations: readonly ExploreViolation[];
  /** How long it took. */
  readonly milliseconds: number;
  /** Bytes that the states took. */
  readonly bytes: number;
}

const LIMIT = 1_000_000;
const WALKS = 1000;
const TURN_MS = 40;

/** Lets the event loop have a turn, but not often. */
function breather(): () => Promise<void> {
  let next = performance.now() + TURN_MS;
  return async () => {
    if (performance.now() < next) return;
    await new Promise((go) => setTimeout(go, 0));
    next = performance.now() + TURN_MS;
  };
}

function limitsOf(options: ExploreOptions): Limits {
  if (options.reduce && (options.bound !== undefined || options.deaths !== undefined)) {
    throw new Error("reduce goes with neither a bound nor deaths: both need every state");
  }
  if (options.reduce && (options.resume !== undefined || options.onLeft !== undefined)) {
    throw new Error("reduce goes with neither resume nor onLeft: what it has learned is not kept");
  }
  const { bound, limit = LIMIT, seconds, first = false, reduce = false, signal, progress } = options;
  return {
    limit,
    bound: bound ?? Number.POSITIVE_INFINITY,
    milliseconds: seconds === undefined ? Number.POSITIVE_INFINITY : seconds * 1000,
    first,
    reduce,
    signal,
    progress,
    breathe: breather(),
  };
}

/** Number of the flaw in its build, 0 for none. */
export function flawNumber({ build, flaw }: Pick<ExploreOptions, "build" | "flaw">): number {
  if (flaw === undefined) return 0;
  const n = build?.flaws.indexOf(flaw) ?? -1;
  if (n < 0) throw new Error(`this build has no flaw ${flaw}`);
  return n + 1;
}

/** Says what is wrong in final states, and collects what came out there. */
export class Judge {
  readonly #scenario: Scenario;
  readonly #orders: Orders;
  readonly outcomes = new Set<string>();

  constructor(scenario: Scenario, build: ExploreBuild | undefined, flaw: number) {
    this.#scenario = scenario;
    this.#orders = new Orders(scenario, build, flaw);
  }

  verdict = (world: World, dead = false): string | undefined => {
    const scenario = this.#scenario;
    if (dead) return scenario.afterDeath?.(world);
    const outcome = scenario.outcome(world);
    this.outcomes.add(outcome);
    if (scenario.linear && !this.#orders.has(world)) return `no order of whole operations has this outcome: ${outcome}`;
    return scenario.check(world);
  };
}

function matches({ first, second }: Race, [a, b]: readonly [string, string]): boolean {
  return (first.includes(a) && second.includes(b)) || (first.includes(b) && second.includes(a));
}

class Exploration {
  readonly #scenario: Scenario;
  readonly #options: ExploreOptions;
  readonly #limits: Limits;
  readonly #flaw: number;
  readonly #judge: Judge;
  readonly world: World;
  readonly #began = performance.now();
  readonly #rules = new Map<string, { readonly schedule: Schedule; readonly weak?: WeakModel }>();
  #races = 0;
  #deaths = 0;
  #complete = true;
  #player: Player | undefined;
  #weakPlayer: Player | undefined;

  constructor(scenario: Scenario, options: ExploreOptions) {
    this.#scenario = scenario;
    this.#options = options;
    this.#limits = limitsOf(options);
    this.#flaw = flawNumber(options);
    this.#judge = new Judge(scenario, options.build, this.#flaw);
    this.world = scenario.make(options.build, this.#flaw);
  }

  /** Plays schedules in a world of its own. */
  get #plays(): Player {
    this.#player ??= this.#newPlayer();
    return this.#player;
  }

  #add(rule: string, schedule: () => Schedule): void {
    if (!this.#rules.has(rule)) this.#rules.set(rule, { schedule: schedule() });
  }

  #addFound(found: readonly Found[]): void {
    for (const { rule, path } of found) this.#add(rule, () => this.#plays.translate(path, this.world.meeting));
  }

  #left(): number {
    return this.#limits.milliseconds - (performance.now() - this.#began);
  }

  #isOver = async (): Promise<boolean> => {
    await this.#limits.breathe();
    return this.#left() <= 0 || this.#limits.signal?.aborted === true;
  };

  async run(): Promise<ExploreResult> {
    const { world } = this,
      { races = true, deaths, weak } = this.#options;
    if (weak !== undefined) return this.#runWeakly(weak);
    const final = () => world.quietly(() => this.#judge.verdict(world));
    const found = await search(world, this.#limits, () => ({ final }), EXPLORING, this.#resumed());
    this.#complete = found.complete;
    if (found.left !== undefined && this.#options.onLeft !== undefined) this.#options.onLeft(this.#leave(found.left()));
    this.#addFound(found.found);
    if (this.#limits.first && this.#rules.size > 0) return this.#result(found);
    if (deaths !== undefined && this.#scenario.mayDie) await this.#letDie(found);
    if (races && world.meetAt(await this.#race(true)) > 0) await this.#searchAgain();
    if (!found.complete && !(await this.#isOver())) await this.#walk();
    return this.#result(found);
  }

  /** What names this exploration, for those that take it up again. */
  #identity(): Pick<LeftSearch, "scenario" | "hash" | "flaw"> {
    const { build, flaw = "" } = this.#options,
      { name, needsCore } = this.#scenario;
    return { scenario: name, hash: needsCore ? (build?.hash ?? "0") : "0", flaw };
  }

  #leave(left: KeptSearch): LeftSearch {
    return { ...this.#identity(), outcomes: [...this.#judge.outcomes], search: left };
  }

  #resumed(): KeptSearch | undefined {
    const { resume } = this.#options;
    if (resume === undefined) return undefined;
    const mine = this.#identity();
    for (const key of ["scenario", "hash", "flaw"] as const) {
      if (resume[key] !== mine[key]) throw new Error(`resume is of ${key} "${resume[key]}", not "${mine[key]}"`);
    }
    for (const outcome of resume.outcomes) this.#judge.outcomes.add(outcome);
    return resume.search;
  }

  /** Every interleaving on a weak memory. What is weak in the core are the words that plain accesses race for. */
  async #runWeakly(weak: WeakModel): Promise<ExploreResult> {
    const { world } = this,
      { races = true, deaths, reduce, resume, onLeft } = this.#options,
      { needsCore } = this.#scenario;
    if (deaths !== undefined) throw new Error("nobody can die on a weak memory: explore deaths without it");
    if (reduce) throw new Error("a search on a weak memory looks at every state: leave reduce out");
    if (resume ?? onLeft)
      throw new Error("a search on a weak memory cannot be taken up again: leave resume and onLeft out");
    const racing = needsCore ? await this.#race(races) : new Set<number>();
    if (needsCore) world.load(0);
    world.meetAt(racing);
    weaken(world, weak, racing);
    const limits = { ...this.#limits, milliseconds: this.#left() },
      final = () => world.quietly(() => this.#judge.verdict(world)),
      found = await searchWeakly(world, limits, final, needsCore ? EXPLORING | SEEN | COMMON : EXPLORING);
    this.#complete &&= found.complete;
    this.#weakPlayer = this.#newPlayer(weak, needsCore ? racing : undefined);
    for (const { rule, path } of found.found) {
      this.#rules.set(rule, { schedule: this.#weakPlayer.translateWeakly(path, world.meeting), weak });
    }
    return this.#result(found);
  }

  #newPlayer(weak?: WeakModel, racing?: ReadonlySet<number>): Player {
    const { build } = this.#options;
    return new Player(this.#scenario, build, this.#flaw, this.#judge.verdict, weak, racing);
  }

  async #letDie(found: Search): Promise<void> {
    const states = [this.world.first, ...found.parents.keys()],
      plain = this.#options.deaths === "writes",
      done = await tryDeaths(this.world, this.#scenario, plain, states, this.#isOver, this.#limits.first);
    this.#scenario.afterBurials?.(this.world);
    this.#deaths = done.deaths;
    this.#complete &&= done.complete;
    for (const { rule, state, death } of done.found) {
      this.#add(rule, () => this.#plays.translate(pathTo(found.parents, state), this.world.meeting, death));
    }
  }

  /** The same search again, every access seen: the clocks of a path are known only on the way. The words that are raced for. */
  async #race(tells: boolean): Promise<ReadonlySet<number>> {
    const { world } = this,
      found = new Map<string, readonly number[]>(),
      isKnown = (race: Race) => this.#scenario.knownRaces?.some(({ between }) => matches(race, between)) ?? false;
    const known = new Set<string>();
    let detector = new RaceDetector(world);
    const watch = () => {
      detector = new RaceDetector(world);
      world.observer = detector;
      return {
        beforeStep: (depth: number) => detector.at(depth),
        isEnough: () => this.#limits.first && found.size > known.size,
        afterStep: (path: () => number[]) => {
          for (const race of detector.take()) {
            if (!found.has(raceRule(race))) found.set(raceRule(race), isKnown(race) ? [] : path());
            if (isKnown(race)) known.add(raceRule(race));
          }
        },
      };
    };
    const limits = { ...this.#limits, milliseconds: this.#left(), reduce: false }; // clocks differ where states are equal
    const seen = await search(world, limits, watch, EXPLORING | SEEN | COMMON);
    world.observer = undefined;
    this.#complete &&= seen.complete;
    this.#races = found.size;
    for (const [rule, path] of found) {
      if (tells && !known.has(rule)) this.#add(rule, () => this.#plays.translate(path, world.meeting));
    }
    return detector.racing;
  }

  /** What races can do is seen only where walkers also stop at the words that they race for. */
  async #searchAgain(): Promise<void> {
    const { world } = this,
      final = () => world.quietly(() => this.#judge.verdict(world));
    const seen = await search(world, { ...this.#limits, milliseconds: this.#left() }, () => ({ final }), EXPLORING);
    this.#complete &&= seen.complete;
    this.#addFound(seen.found);
  }

  async #walk(): Promise<void> {
    const { seed = 1, walks = WALKS } = this.#options;
    const found = await randomWalks(this.world, walks, seed, this.#judge.verdict, this.#isOver);
    this.#addFound(found);
  }

  #violations(): ExploreViolation[] {
    const { build, flaw } = this.#options;
    return [...this.#rules].map(([rule, { schedule, weak }]) => {
      const player = weak === undefined ? this.#plays : (this.#weakPlayer as Player);
      if (!breaks(player, schedule, rule)) throw new Error(`${rule}: its schedule cannot be replayed`);
      const short = shrink(player, schedule, rule);
      const hash = this.#scenario.needsCore ? (build?.hash ?? "0") : "0";
      const replay = formatReplay({ scenario: this.#scenario.name, hash, flaw, weak, schedule: short });
      return { rule, replay, steps: short.reduce((sum, turn) => sum + (isDeath(turn) ? 0 : turn.steps), 0) };
    });
  }

  #result(found: Search | WeakSearch): ExploreResult {
    const outcomes = [...this.#judge.outcomes].sort(),
      violations = this.#violations();
    return {
      name: this.#scenario.name,
      walkers: this.#scenario.walkers,
      states: found.states,
      transitions: found.transitions,
      schedules: found.schedules ?? null,
      complete: this.#complete,
      meetings: found.meetings,
      races: this.#races,
      deaths: this.#deaths,
      outcomes,
      violations,
      milliseconds: performance.now() - this.#began,
      bytes: this.world.states.bytes,
    };
  }
}

/**
 * Explores every interleaving of a scenario: what comes out, and which rules some schedule breaks.
 *
 * @throws Error when the scenario needs a build of the core and none is given, the flaw is none of the build, or `reduce` comes with
 *   a bound or deaths.
 * @example
 * ```ts
 * import { explore, protocol, type Shared } from "granule/explore";
 * const counter = protocol({
 *   name: "lost-update",
 *   title: "two walkers add 1 by a load and a store",
 *   words: { counter: 0 },
 *   walkers: [add, add],
 *   check: (m) => (m.counter === 2 ? undefined : `the counter is ${m.counter}`),
 * });
 * function* add(m: Shared<"counter">) {
 *   const seen = yield* m.load("counter");
 *   yield* m.store("counter", seen + 1);
 * }
 * const { violations } = await explore(counter);
 * console.log(violations[0]?.rule); // the counter is 1
 * console.log(violations[0]?.replay); // x1:lost-update:0:0*1,1*1
 * ```
 */
export function explore(scenario: Scenario, options: ExploreOptions = {}): Promise<ExploreResult> {
  return new Exploration(scenario, options).run();
}
