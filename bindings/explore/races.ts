// Which plain accesses race: vector clocks beside every step of a search. A release of a word by an atomic store or exchange is
// before every atomic load or exchange of it afterwards; two accesses without such an order, one of them plain and one a write,
// are a race [Wasm threads: data races]. Clocks belong to a path, so going back in the search takes back what was noted.

import { type AccessKind, isAtomic, writes } from "./build.js";
import type { Observer, World } from "./world.js";

/** The last accesses to four bytes. Never changed: a new one takes its place. */
interface Cell {
  /** Last write, -1 for none, and at which tick of its walker. */
  readonly writer: number;
  readonly tick: number;
  readonly site: number;
  readonly atomic: boolean;
  /** Reads since: tick of each walker, 0 for none, and where. */
  readonly reads: readonly number[];
  readonly readSites: readonly number[];
  readonly atomicReads: number;
}

/** Two accesses that race, by the lines of the source. */
export interface Race {
  readonly first: string;
  readonly second: string;
  /** Where, in bytes. */
  readonly address: number;
}

type Clock = readonly number[];

/** How to take one note back. */
type Undo = () => void;

export class RaceDetector implements Observer {
  readonly #world: World;
  readonly #nothing: Cell;
  #clocks: Clock[];
  readonly #released = new Map<number, Clock>();
  readonly #cells = new Map<number, Cell>();
  readonly #undo: Undo[] = [];
  /** Length of `#undo` at each depth of the path. */
  readonly #marks: number[] = [];
  readonly #found = new Map<string, Race>();
  readonly #racing = new Set<number>();
  #fresh: Race[] = [];

  constructor(world: World) {
    this.#world = world;
    const none = new Array<number>(world.walkers).fill(0);
    this.#nothing = { writer: -1, tick: 0, site: 0, atomic: false, reads: none, readSites: none, atomicReads: 0 };
    this.#clocks = Array.from({ length: world.walkers }, (_, id) => tick(new Array(world.walkers).fill(0), id));
  }

  /** The next accesses are those of a step from the `depth`th state of the path. */
  at(depth: number): void {
    const mark = this.#marks[depth];
    if (mark === undefined) this.#marks[depth] = this.#undo.length;
    else while (this.#undo.length > mark) (this.#undo.pop() as Undo)();
    this.#marks.length = depth + 1;
  }

  /** Words of four bytes that were raced for, by address. */
  get racing(): ReadonlySet<number> {
    return this.#racing;
  }

  /** Races found since the last call. */
  take(): readonly Race[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }

  access(id: number, site: number, kind: AccessKind, address: number, bytes: number): void {
    if (kind === "wait" || kind === "notify") return;
    const atomic = isAtomic(kind),
      write = writes(kind);
    if (atomic && kind !== "atomic store") this.#acquire(id, address >>> 2);
    for (let cell = address >>> 2, last = (address + bytes - 1) >>> 2; cell <= last; cell++) {
      this.#note(id, site, atomic, write, cell);
    }
    if (atomic && write) this.#release(id, address >>> 2, kind === "exchange");
  }

  #setClock(id: number, clock: Clock): void {
    const old = this.#clocks[id] as Clock;
    this.#undo.push(() => {
      this.#clocks[id] = old;
    });
    this.#clocks[id] = clock;
  }

  #acquire(id: number, word: number): void {
    const seen = this.#released.get(word),
      mine = this.#clocks[id] as Clock;
    if (seen?.some((t, i) => t > (mine[i] as number))) this.#setClock(id, join(mine, seen));
  }

  /** An exchange also passes on what was released there before. */
  #release(id: number, word: number, keeps: boolean): void {
    const mine = this.#clocks[id] as Clock,
      before = this.#released.get(word);
    this.#undo.push(() => {
      if (before === undefined) this.#released.delete(word);
      else this.#released.set(word, before);
    });
    this.#released.set(word, keeps && before !== undefined ? join(before, mine) : mine);
    this.#setClock(id, tick(mine, id));
  }

  #note(id: number, site: number, atomic: boolean, write: boolean, word: number): void {
    const had = this.#cells.get(word) ?? this.#nothing,
      clock = this.#clocks[id] as Clock,
      now = clock[id] as number;
    if (had.writer >= 0 && had.writer !== id && !(had.atomic && atomic) && had.tick > (clock[had.writer] as number)) {
      this.#report(had.site, site, word);
    }
    if (write) {
      for (let other = 0; other < clock.length; other++) {
        const both = atomic && (had.atomicReads & (1 << other)) !== 0;
        if (other === id || both || (had.reads[other] as number) <= (clock[other] as number)) continue;
        this.#report(had.readSites[other] as number, site, word);
      }
    } else if (had.reads[id] === now && (atomic || (had.atomicReads & (1 << id)) === 0)) return;
    this.#undo.push(() => this.#cells.set(word, had));
    this.#cells.set(
      word,
      write ? { ...this.#nothing, writer: id, tick: now, site, atomic } : this.#withRead(had, id, now, site, atomic),
    );
  }

  #withRead(had: Cell, id: number, now: number, site: number, atomic: boolean): Cell {
    const reads = had.reads.slice(),
      readSites = had.readSites.slice();
    reads[id] = now;
    readSites[id] = site;
    const bit = 1 << id;
    const { writer, tick: wrote, site: where, atomic: was } = had,
      atomicReads = atomic ? had.atomicReads | bit : had.atomicReads & ~bit;
    return { writer, tick: wrote, site: where, atomic: was, reads, readSites, atomicReads };
  }

  #report(first: number, second: number, word: number): void {
    const say = (site: number) => {
      const { kind, line } = this.#world.siteAt(site);
      return `${kind} at ${line}`;
    };
    this.#racing.add(word * 4);
    const race = { first: say(first), second: say(second), address: word * 4 },
      key = [race.first, race.second].sort().join();
    if (this.#found.has(key)) return;
    this.#found.set(key, race);
    this.#fresh.push(race);
  }
}

function tick(clock: Clock, id: number): Clock {
  const next = [...clock];
  next[id] = (next[id] ?? 0) + 1;
  return next;
}

function join(a: Clock, b: Clock): Clock {
  return a.map((t, i) => Math.max(t, b[i] as number));
}

/** A race as the rule that it breaks. */
export function raceRule({ first, second }: Pick<Race, "first" | "second">): string {
  return `race: ${first} and ${second}`;
}
