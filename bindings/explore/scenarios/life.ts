// Lives of tables and of walkers: destroyed twice, released meanwhile, made again in the same record, buried twice.

import type { EngineWorld, Operation } from "../engine-world.js";
import { BASE, BLOCK, bury, call, destroy, fault, map, reclaim, release, unmap } from "../operations.js";
import { engineScenario, type KnownRace, type Scenario } from "../scenario.js";
import { withPages } from "./setups.js";

const create: Operation = { ...call("createStage2", (world) => [12, world.vtcr, 1 << 12, 0]), says: "create" };

/** What the first operation of this walker has made is destroyed, and its handle given back. */
const destroyMade: Operation = {
  says: "destroy what was made",
  call: (world, [made]) => {
    const { core } = world.current;
    return { run: () => core.call(13, made ?? 0, 0, 1, 0, 0, 0, 0, 0) };
  },
};
const releaseMade: Operation = { ...call("releaseTable", (_, [made]) => [made ?? 0]), says: "release what was made" };

/** What happens to a record when its handle is given back. */
const RELEASED: readonly KnownRace[] = [
  {
    between: ["fill at assembly/memory/tables.ts", ""],
    why: "a walker that was given the handle before reads the record as it is being cleared, takes its lock, and asks for its life then",
  },
  { between: ["store at assembly/memory/tables.ts", ""], why: "the same: the compiler makes a store of a small fill" },
  {
    between: ["load at assembly/memory/tables.ts", "exchange at assembly/memory/word.ts"],
    why: "the life of a record is compared without the lock when a handle comes in, and once more under the lock",
  },
  {
    between: ["load at assembly/table/teardown.ts", "assembly/memory/word.ts"],
    why: "a release asks whether a teardown has no destroyer; one that has just ended is seen by the exchange that follows",
  },
  {
    between: ["assembly/table/mmops.ts", "assembly/table/teardown.ts"],
    why: "as the one before",
  },
];

/** Two tables in limbo to come: at BASE and behind it. */
function withTwoTables(world: EngineWorld): void {
  world.setUp(map(BASE));
  world.setUp(map(BASE + BLOCK));
}

export const LIFE: readonly Scenario[] = [
  engineScenario({
    name: "destroy-destroy-release",
    knownRaces: RELEASED,
    title: "two walkers tear one table down, and one gives its handle back",
    cites: ["S2-27"],
    setup: withPages,
    walkers: [[destroy()], [destroy(), release()]],
  }),
  engineScenario({
    name: "fault-destroy-release",
    knownRaces: RELEASED,
    title: "a fault, and the table is torn down and its handle given back",
    setup: withPages,
    walkers: [[fault(BASE)], [destroy(), release()]],
  }),
  engineScenario({
    name: "unmap-destroy-release",
    knownRaces: RELEASED,
    title: "an unmap, and the table is torn down and its handle given back",
    setup: withPages,
    walkers: [[unmap(BASE)], [destroy(), release()]],
  }),
  engineScenario({
    name: "two-limbo",
    title: "two tables go to limbo, and both walkers wait for them",
    cites: ["LCK-10", "LCK-12"],
    setup: withTwoTables,
    walkers: [
      [fault(BASE, { size: BLOCK }), reclaim()],
      [fault(BASE + BLOCK, { size: BLOCK }), reclaim()],
    ],
  }),
  engineScenario({
    name: "create-create",
    knownRaces: RELEASED,
    title: "two walkers make tables at once, and destroy them",
    table: { tables: 3 },
    walkers: [
      [create, destroyMade, releaseMade],
      [create, destroyMade, releaseMade],
    ],
    linear: false, // handles name the records that were free
  }),
  engineScenario({
    name: "create-once",
    title: "two walkers make a table at once: two records",
    table: { tables: 3 },
    walkers: [[create], [create]],
    linear: false, // handles name the records that were free
    check: (world, [a, b]) => {
      if (a?.[0] === b?.[0]) return "both have one record";
      for (const handle of [a?.[0] ?? 0, b?.[0] ?? 0]) {
        world.hostSeat.core.call(13, handle, 0, 1, 0, 0, 0, 0, 0);
        world.hostSeat.core.releaseTable(handle);
      }
      return undefined;
    },
    mayDie: false,
  }),
  engineScenario({
    name: "bury-bury",
    title: "two walkers bury a third at once, and one takes a page then",
    walkers: [[bury(2), call("takeBlock", () => [0])], [bury(2)], []],
    mayDie: false,
    linear: false, // who comes second is told that the other is at it, or that nobody is that walker
    setup: (world) => {
      const dead = world.seats[2];
      if (dead === undefined) throw new Error("there is no third walker");
      const { core } = world.hostSeat;
      dead.core.entrust(core.takeBlock(0) >>> 0, core.takeBlock(0) >>> 0);
    },
    check: (world, [first]) => {
      const { core } = world.hostSeat;
      return core.giveBlock(first?.[1] ?? 0) === 0 ? undefined : "the page that was taken is another walker's, too";
    },
  }),
];
