// A schedule made by hand, step by step: every moment of it is kept, so that it can be gone through in both directions, and left
// for another way at any of them.

import * as K from "../core/constants.generated.js";
import type { AccessKind, ExploreBuild } from "./build.js";
import { EngineWorld } from "./engine-world.js";
import { flawNumber, Judge } from "./explore.js";
import { type Listener, MANY, Player, type Step } from "./player.js";
import { ProtocolWorld } from "./protocol.js";
import { RaceDetector, raceRule } from "./races.js";
import type { Scenario } from "./scenario.js";
import { type Death, formatReplay, isDeath, joined, type Schedule, type Turn } from "./schedule.js";
import { Trace, type TraceLine } from "./trace.js";
import type { World } from "./world.js";

/** What a walker is about to do. */
export interface Next {
  /** `path:line` of the source, or the word of a protocol. */
  readonly line: string;
  readonly does: AccessKind;
  /** What lies at the address, by name. */
  readonly at: string;
  /** What the word holds now, hexadecimal. */
  readonly now: string;
  /** It sleeps until the word changes. */
  readonly waits: boolean;
  /** The operation that it is in; "" in a protocol. */
  readonly operation: string;
}

/** A rule that is broken, and the move that breaks it. */
export interface BrokenRule {
  readonly rule: string;
  /** From 1; the last move for what is wrong in the end. */
  readonly move: number;
}

/** One word that the walkers share. */
export interface SharedWord {
  readonly name: string;
  readonly value: bigint;
  /** Of an entry of a table: its level. */
  readonly level?: number;
  /** The entry's table was taken out of the tree: no walk that begins now gets there. */
  readonly unlinked?: boolean;
}

const PAGE = 4096;
const ENTRIES = 512;
const LAST_LEVEL = 3;

/** Addresses of the entries of a world's table that are not zero, and of the pages that it is made of. */
function entriesOf(world: EngineWorld): { entries: number[]; pages: Set<number> } {
  const entries: number[] = [],
    pages = new Set<number>();
  const visit = (page: number, level: number): void => {
    pages.add(page);
    for (let at = page; at < page + ENTRIES * K.ENTRY_BYTES; at += K.ENTRY_BYTES) {
      const old = world.word64(at);
      if (old === 0n) continue;
      entries.push(at);
      if ((old & 3n) === 3n && level < LAST_LEVEL) visit(world.pageOf(old), level + 1);
    }
  };
  const info = world.quietly(() => world.tableInfo());
  if (info !== undefined && info.root !== 0) visit(info.root, info.startLevel);
  return { entries, pages };
}

/** Where an entry of a table stands in a list, from its name; undefined for other words. */
function placeOf(name: string): { level: number; order: number } | undefined {
  const [, from, level] = /^slot of (0x[0-9a-f]+) \(level (\d)\)$/.exec(name) ?? [];
  if (level === undefined) return undefined;
  return { level: Number(level), order: Number(from) + Number(level) / (LAST_LEVEL + 1) };
}

/** A walker moves, or dies. */
type Move = { readonly walker: number } | Death;

/** Plays a scenario as somebody steps its walkers. */
export class Stepper {
  readonly scenario: Scenario;
  readonly #build: ExploreBuild | undefined;
  readonly #flaw: string | undefined;
  readonly #player: Player;
  readonly #judge: Judge;
  readonly #trace: Trace;
  readonly #listener: Listener;
  #detector: RaceDetector;
  #moves: Move[] = [];
  /** States of the world: before the first move, and after each. */
  #states: number[];
  #broken: BrokenRule[] = [];
  /** The last move threw: nothing can follow. */
  #isOver = false;
  #at = 0;
  /** Words that were accessed, by address, and how long they are. */
  readonly #touched = new Map<number, number>();

  /** @throws Error where the scenario needs a build and there is none, or the build has no such flaw. */
  constructor(scenario: Scenario, build?: ExploreBuild, flaw?: string) {
    const number = flawNumber({ build, flaw });
    this.scenario = scenario;
    this.#build = build;
    this.#flaw = flaw;
    this.#judge = new Judge(scenario, build, number);
    this.#player = new Player(scenario, build, number, this.#judge.verdict);
    this.#trace = new Trace(scenario);
    this.#listener = {
      step: (world: World, step: Step) => {
        this.#touched.set(step.access.address, step.access.bytes);
        this.#trace.step(world, step);
      },
      death: (world: World, walker: number) => this.#trace.death(world, walker),
    };
    this.#detector = new RaceDetector(this.#world);
    this.#states = [this.#world.first];
    this.go(0);
  }

  get #world(): World {
    return this.#player.world;
  }

  /** Walkers, the host among them where there is one: it buries. */
  get walkers(): number {
    return this.#world.walkers;
  }

  /** Moves in all. */
  get moves(): number {
    return this.#moves.length;
  }

  /** Moves that are made at the moment that is shown. */
  get at(): number {
    return this.#at;
  }

  /** What each move did: one line a move. */
  get lines(): readonly TraceLine[] {
    return this.#trace.lines;
  }

  /** Rules that the moves up to now break. */
  get broken(): readonly BrokenRule[] {
    return this.#broken;
  }

  /** Everybody has ended, or something broke on the way. */
  get hasEnded(): boolean {
    return this.#at === this.moves && (this.#isOver || this.#world.enabled() === 0);
  }

  /** Shows the moment after `n` moves. */
  go(n: number): void {
    this.#at = Math.max(0, Math.min(n, this.moves));
    this.#world.load(this.#states[this.#at] as number);
  }

  /** May walker `id` move at this moment? */
  canStep(id: number): boolean {
    return !(this.#isOver && this.#at === this.moves) && this.#world.canStep(id);
  }

  /** What walker `id` does next; undefined if it has ended. */
  next(id: number): Next | undefined {
    const world = this.#world,
      access = world.pending(id);
    if (access === undefined) return undefined;
    const { line } = world.siteAt(access.site);
    return {
      line: line.replace(/^assembly\//, ""),
      does: access.kind,
      at: world.nameOf(access.address),
      now: `0x${world.valueAt(access.address, access.bytes).toString(16)}`,
      waits: !world.canStep(id),
      operation: id < this.scenario.walkers ? this.scenario.says(id, world.operation(id)) : "burial",
    };
  }

  /** What the operations of walker `id` that have ended returned. */
  results(id: number): readonly number[] {
    return this.#world.results(id);
  }

  /** Has walker `id` died? */
  isDead(id: number): boolean {
    return this.#world.isDead(id);
  }

  /** Locks and sections that walker `id` holds. */
  holds(id: number): string {
    return this.#world.holdsNow(id);
  }

  /**
   * Words at this moment: all of a protocol; of the core the entries of the table, from the start down, and behind them whatever else
   * the moves up to now, or moves that were taken back, have accessed.
   */
  words(): SharedWord[] {
    const world = this.#world;
    if (world instanceof ProtocolWorld)
      return Object.entries(world.values()).map(([name, value]) => ({ name, value: BigInt(value) }));
    if (!(world instanceof EngineWorld)) return [];
    const sizes = new Map([...this.#touched].sort(([a], [b]) => a - b));
    const { entries, pages } = entriesOf(world);
    for (const at of entries) sizes.set(at, K.ENTRY_BYTES);
    const all = [...sizes].map(([at, bytes]) => {
      const name = world.nameOf(at);
      const place = placeOf(name),
        unlinked = place !== undefined && !pages.has(at & -PAGE);
      return { name, value: world.valueAt(at, bytes), ...place, ...(unlinked ? { unlinked } : {}) };
    });
    const rank = ({ order = Number.POSITIVE_INFINITY }: (typeof all)[number]) => order;
    return all.sort((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b)));
  }

  /** Walker `id` makes its next access. What was done after this moment is forgotten. */
  step(id: number): void {
    if (!this.canStep(id)) return;
    this.#cut();
    this.#make({ walker: id });
  }

  /** Walker `id` dies at this moment, about to make its next access, and the host buries it. */
  kill(id: number): void {
    if (!this.scenario.mayDie || this.#world.isDone(id)) return;
    this.#cut();
    this.#make({ dies: id });
  }

  /** Goes on to the end as a replay does: whoever moved last, then the others in order. */
  finish(): void {
    this.#cut();
    const last = this.#moves.at(-1);
    let id = last === undefined ? -1 : isMoveOfWalker(last) ? last.walker : this.walkers - 1;
    for (let n = 0; n < MANY; n++) {
      if (this.#isOver) return;
      const enabled = this.#world.enabled();
      if (enabled === 0) return;
      if (id < 0 || !(enabled & (1 << id))) id = 31 - Math.clz32(enabled & -enabled);
      this.#make({ walker: id });
    }
    if (!this.#isOver)
      this.#broken.push({ rule: "stuck: walkers go on for ever, and can never end", move: this.moves });
  }

  /** Plays the turns of a schedule from the beginning, and then to the end. */
  play(schedule: Schedule): void {
    this.go(0);
    this.#cut();
    for (const turn of schedule) {
      if (isDeath(turn)) this.#make(turn);
      else for (let n = 0; n < turn.steps && this.canStep(turn.walker); n++) this.#make({ walker: turn.walker });
      if (this.#isOver) return;
    }
    this.finish();
  }

  /** A replay string of all moves. */
  get replay(): string {
    const turns = this.#moves.map((move): Turn | Death => (isMoveOfWalker(move) ? { ...move, steps: 1 } : move));
    const hash = this.scenario.needsCore ? (this.#build?.hash ?? "0") : "0";
    return formatReplay({ scenario: this.scenario.name, hash, flaw: this.#flaw, schedule: joined(turns) });
  }

  /** Forgets what was done after this moment; clocks of races belong to a path, so its moves are made again. */
  #cut(): void {
    if (this.#at === this.moves) return;
    const kept = this.#moves.slice(0, this.#at);
    this.#moves = [];
    this.#states.length = 1;
    this.#broken = [];
    this.#isOver = false;
    this.#trace.lines.length = 0;
    this.#detector = new RaceDetector(this.#world);
    this.go(0);
    for (const move of kept) this.#make(move);
  }

  #make(move: Move): void {
    const world = this.#world,
      lines = this.lines.length;
    world.observer = this.#detector;
    let rule: string | undefined;
    try {
      if (isMoveOfWalker(move)) this.#player.step(move.walker, this.#listener);
      else this.#player.kill(move.dies, move.writes, this.#listener);
    } catch (error) {
      rule = (error as Error).message;
      this.#isOver = true;
      for (let id = 0; id < this.walkers; id++) world.recover(id);
    }
    world.observer = undefined;
    this.#moves.push(move);
    this.#oneLine(lines);
    this.#note(rule);
  }

  /** A death in the middle of a step is told as two lines: the access that begins the step, and the death. */
  #oneLine(from: number): void {
    const [access, death] = this.#trace.lines.splice(from);
    if (death !== undefined && access !== undefined)
      this.#trace.lines.push({ ...death, line: access.line, at: `behind ${access.does} ${access.at}` });
    else if (access !== undefined) this.#trace.lines.push(access);
  }

  /** The moment after a move, and what it broke. */
  #note(rule: string | undefined): void {
    const world = this.#world;
    while (this.#states.length <= this.moves) this.#states.push(world.save());
    this.#at = this.moves;
    const races = this.#detector.take().map(raceRule),
      broken = [...(rule === undefined ? [] : [rule]), ...races];
    this.#broken.push(...broken.map((one) => ({ rule: one, move: this.moves })));
    if (this.#isOver || world.enabled() !== 0) return;
    const wrong = world.allDone()
      ? world.quietly(() => this.#judge.verdict(world, this.#hasDied()))
      : "stuck: nobody who has not ended can go on";
    if (wrong !== undefined) this.#broken.push({ rule: wrong, move: this.moves });
    this.go(this.moves); // the judge changes the world
  }

  #hasDied(): boolean {
    return this.#moves.some((move) => !isMoveOfWalker(move));
  }
}

function isMoveOfWalker(move: Move): move is { readonly walker: number } {
  return "walker" in move;
}
