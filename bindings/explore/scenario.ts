// What the explorer explores: a scenario makes a world, and says what is wrong with it once its walkers have ended.

import type { ExploreBuild } from "./build.js";
import { EngineWorld, type Operation, type TableConfig } from "./engine-world.js";
import { bury } from "./operations.js";
import { contentsOf, unsound } from "./oracle.js";
import type { WeakModel } from "./orders.js";
import type { World } from "./world.js";

/** Part of every scenario. */
export interface Described {
  /** Names it on the command line and in replay strings: small letters, digits and hyphens. */
  readonly name: string;
  /** One line: who does what beside whom. */
  readonly title: string;
  /** Spec ids, mails and commits that it is about. */
  readonly cites?: readonly string[];
  /** Races that are known to do no harm. */
  readonly knownRaces?: readonly KnownRace[];
  /** The weak memory that shows what the scenario is about, if it is about that. */
  readonly weak?: WeakModel;
}

/** A race that does no harm: parts of `kind at path:line`, one for each of the two accesses, and why. */
export interface KnownRace {
  readonly between: readonly [string, string];
  readonly why: string;
}

/** A scenario of the explorer; made by `engineScenario` or `protocol`. */
export interface Scenario extends Described {
  /** How many there are. */
  readonly walkers: number;
  /** Does it run the real core? Then `make` needs an explore build. */
  readonly needsCore: boolean;
  /** Which one: the engine alone if it is not said, or with hardware and VM. */
  readonly build?: "engine" | "vm";
  /** May one of its walkers die at any point, and is it then buried? */
  readonly mayDie: boolean;
  /** Makes its world. `skip`: operations that are left out, as `walker:operation`; their result is EAGAIN. */
  make(build: ExploreBuild | undefined, flaw: number, skip?: ReadonlySet<string>): World;
  /** What came out, in words: the results, and what is left. */
  outcome(world: World): string;
  /** The host buries nobody any more. */
  afterBurials?(world: World): void;
  /** What is wrong with a world in which everybody has ended; undefined for nothing. It may change the world. */
  check(world: World): string | undefined;
  /** As `check`, where a walker has died and was buried: what holds of any world. */
  afterDeath?(world: World): string | undefined;
  /** What walker `id` does in its operation `n`. */
  says(id: number, n: number): string;
  /** Must the outcomes be those of some order of whole operations? */
  readonly linear: boolean;
  /** Buries walker `id` as the host, in a world where it has just died. */
  bury?(world: World, id: number): void;
}

/** What makes a scenario of the real core. */
export interface EngineScenario extends Described {
  /** What its table is like. */
  readonly table?: TableConfig;
  /** What the host does before the walkers begin. */
  readonly setup?: (world: EngineWorld) => void;
  /** What each walker does, one after the other. */
  readonly walkers: readonly (readonly Operation[])[];
  /** What is wrong beside what is wrong anywhere; `results` are those of each walker. */
  readonly check?: (world: EngineWorld, results: readonly (readonly number[])[]) => string | undefined;
  /** False where the results need not be those of an order of whole operations; say why in a comment. */
  readonly linear?: boolean;
  /** False where a walker that dies leaves what nobody can tell to be whole. */
  readonly mayDie?: boolean;
}

const EAGAIN = -11;
const NAME = /^[a-z0-9]+(-[a-z0-9]+)*$/;

/** @internal */
export function checkName(name: string): void {
  if (!NAME.test(name)) throw new Error(`a scenario's name is small letters, digits and hyphens, not ${name}`);
}

/** What `Scenario.make` is on a build of the core: a world that `create` makes, as `setup` and the walkers' programs say. @internal */
export function makerOf<W extends EngineWorld>(
  { name, setup, walkers }: Described & { setup?: (world: W) => void; walkers: readonly (readonly Operation[])[] },
  create: (build: ExploreBuild) => W,
): (build: ExploreBuild | undefined, flaw: number, skip?: ReadonlySet<string>) => W {
  return (build, flaw, skip) => {
    if (build === undefined) throw new Error(`${name} runs the core: it needs an explore build`);
    const world = create(build);
    setup?.(world);
    world.setFlaw(flaw);
    for (const [id, program] of walkers.entries()) world.setProgram(id, withoutSkipped(program, id, skip));
    return world;
  };
}

function resultsOf(world: EngineWorld, walkers: number): number[][] {
  return Array.from({ length: walkers }, (_, id) => world.results(id));
}

/**
 * A scenario of the real core: each walker performs operations of `granule/explore` on one table, and everything that must hold of any
 * engine is checked in every final state.
 *
 * @example
 * ```ts
 * import { BASE, engineScenario, fault, map, PAGE } from "granule/explore";
 * const two = engineScenario({
 *   name: "two-faults",
 *   title: "two vCPUs fault on one page",
 *   setup: (world) => world.setUp(map(BASE + 511 * PAGE)),
 *   walkers: [[fault(BASE)], [fault(BASE, { other: 1 })]],
 *   check: (_, [a, b]) => (a[0] === 0) === (b[0] === 0) ? "not exactly one is done" : undefined,
 * });
 * console.log(two.walkers); // 2
 * ```
 */
export function engineScenario(what: EngineScenario): Scenario {
  const { name, title, cites, walkers: programs, linear = true, mayDie = true } = what,
    walkers = programs.length;
  checkName(name);
  return {
    name,
    title,
    ...(cites === undefined ? {} : { cites }),
    ...(what.knownRaces === undefined ? {} : { knownRaces: what.knownRaces }),
    walkers,
    needsCore: true,
    linear,
    mayDie,
    make: makerOf(what, (build) => new EngineWorld(build, walkers, what.table)),
    outcome: (world) => outcomeOf(world as EngineWorld, walkers),
    check: (world) => {
      const engine = world as EngineWorld;
      return what.check?.(engine, resultsOf(engine, walkers)) ?? unsound(engine);
    },
    afterDeath: (world) => unburied(world as EngineWorld) ?? unsound(world as EngineWorld),
    says: (id, n) => programs[id]?.[n]?.says ?? "",
    afterBurials: (world) => {
      const engine = world as EngineWorld;
      engine.setProgram(engine.host, []);
    },
    bury: (world, id) => {
      const engine = world as EngineWorld;
      engine.setProgram(engine.host, [bury(id)]);
      engine.restart(engine.host);
    },
  };
}

function unburied(world: EngineWorld): string | undefined {
  const status = world.results(world.host)[0];
  return status === 0 ? undefined : `the burial returns ${status}`;
}

function outcomeOf(world: EngineWorld, walkers: number): string {
  const results = resultsOf(world, walkers).map((one) => one.join(","));
  return `${results.join(" | ")} | ${world.quietly(() => contentsOf(world))}`;
}

/** In place of an operation that had no effect. */
const skipped: Operation = { says: "nothing", call: () => ({ run: () => EAGAIN }) };

/** The program of walker `id`, with nothing in place of what is skipped. */
function withoutSkipped(
  program: readonly Operation[],
  id: number,
  skip: ReadonlySet<string> | undefined,
): readonly Operation[] {
  return program.map((operation, n) => (skip?.has(`${id}:${n}`) ? skipped : operation));
}
