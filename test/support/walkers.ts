// Several walkers of one engine: on one thread, where a schedule point of one is the turn of the other, or on threads of
// their own, which stop at such points until they are told to go on.

import { Worker } from "node:worker_threads";
import { expect } from "vitest";
import { createEngine } from "../../bindings/debug.js";
import type { HypTable } from "../../bindings/index.js";
import {
  type Engine,
  type EngineOptions,
  joinEngine,
  type Stage2Config,
  type Stage2Table,
} from "../../bindings/index.js";
import { GB1, slotOf } from "./tables.js";

/** How a guest's fault walks. */
export const FAULT = { shared: true, handleFault: true } as const;
export const SHARED = { shared: true } as const;
/** Nothing to do between break and make: a column then fills holes in one step. */
export const COLUMN = { ...FAULT, skipCacheMaintenance: true } as const;

/** Where tests map: a gigabyte in, far from the arena's physical addresses. */
export const BASE = BigInt(GB1);
const OUTPUT = 0x10_0000_0000n;

/** The output address that belongs to an input address; `other` is a second one. */
export function home(ipa: bigint, other = 0n): bigint {
  return OUTPUT + other * OUTPUT + ipa;
}

/** Two walkers and their views of one table. */
export interface Pair {
  one: Engine;
  two: Engine;
  a: Stage2Table;
  b: Stage2Table;
}

/** Two walkers on this thread, in the debug core. */
export function pair(config: Stage2Config = {}, options: EngineOptions = {}): Pair {
  const one = createEngine({ walkers: 2, arenaBytes: 8 << 20, ...options });
  const a = one.createStage2({ ipaBits: 39, ...config });
  const two = joinEngine(one.ticket(1));
  return { one, two, a, b: two.adopt(a.ticket()) as Stage2Table };
}

/** The same two with the roles exchanged. */
export function swapped({ one, two, a, b }: Pair): Pair {
  return { one: two, two: one, a: b, b: a };
}

/** Pointer of the entry where the translation of `addr` ends now. */
export function slotAt(table: Stage2Table, addr: bigint): number {
  return slotOf(table, addr) * 8;
}

/** Lets `action` happen when `engine` meets the schedule point for the `nth` time (pointer 0: anywhere), once. */
export function at(engine: Engine, kind: number, pointer: number, action: () => unknown, nth = 1): { met: number } {
  const seen = { met: 0 };
  engine.hosts.point = (k, p) => {
    if (k !== kind || (pointer !== 0 && p !== pointer) || seen.met >= nth) return;
    if (++seen.met === nth) action();
  };
  return seen;
}

/** Every schedule point that `engine` meets during `action`. */
export function pointsOf(engine: Engine, action: () => unknown): { kind: number; pointer: number }[] {
  const met: { kind: number; pointer: number }[] = [];
  engine.hosts.point = (kind, pointer) => {
    met.push({ kind, pointer });
  };
  action();
  engine.hosts.point = () => {};
  return met;
}

/** Who holds what, in words: what a test says that would otherwise hang. */
export function whoHolds(engine: Engine): string {
  const walkers = engine.walkers().map((w) => {
    const section = w.inSection ? `in a section of table ${w.reads}` : "in no section";
    return `walker ${w.id} ${w.attached ? "attached" : "gone"}, ${section}, writes ${w.writes}`;
  });
  return walkers.join("; ");
}

const PATIENCE_MS = 20_000;

/** `promise`, or an error that says who holds what when it does not come. */
export async function within<T>(engine: Engine, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} does not come: ${whoHolds(engine)}`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until `condition`, or says who holds what. */
export async function until(engine: Engine, what: string, condition: () => boolean): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what} does not come: ${whoHolds(engine)}`);
    await new Promise((go) => setTimeout(go, 1));
  }
}

const nobody = new Int32Array(new SharedArrayBuffer(4));

/** The same where this thread must not go on with anything else: inside a schedule point. */
export function stayUntil(engine: Engine, what: string, condition: () => boolean): void {
  const end = Date.now() + PATIENCE_MS;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what} does not come: ${whoHolds(engine)}`);
    Atomics.wait(nobody, 0, 0, 1);
  }
}

interface Answer {
  id: number;
  value?: unknown;
  error?: { message: string; code: string; stack: string };
}

const [KIND, POINTER, NTH, STATE] = [0, 1, 2, 3];
const STOPPED = 1;

/** A walker on a thread of its own, which runs `script` with `data`. */
export class Remote {
  readonly walker: number;
  readonly #engine: Engine;
  readonly #worker: Worker;
  readonly #control = new Int32Array(new SharedArrayBuffer(16));
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #next = 0;

  constructor(engine: Engine, walker: number, script: string, data: object) {
    this.#engine = engine;
    this.walker = walker;
    const workerData = { ...data, control: this.#control.buffer };
    this.#worker = new Worker(new URL(script, import.meta.url), { workerData });
    this.#worker.on("message", (answer: Answer) => this.#settle(answer));
    this.#worker.on("error", (error) => this.#fail(error as Error));
    this.#worker.on("exit", () => this.#fail(new Error(`walker ${walker} has ended`)));
  }

  #settle({ id, value, error }: Answer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(Object.assign(new Error(`${error.message}\n${error.stack}`), { code: error.code }));
    else waiting?.resolve(value);
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  /** Calls a method of the first table over there (or a verb of walker.mjs). */
  call(method: string, ...args: unknown[]): Promise<unknown> {
    const id = this.#next++;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    this.#worker.postMessage({ id, method, args });
    const settled = within(this.#engine, `walker ${this.walker}: ${method}`, answer);
    settled.catch(() => {}); // whoever awaits it gets the error; who does not (a walker that is killed) needs none
    return settled;
  }

  /** It will stop when it meets the point for the `nth` time; if it stands at one now, it goes on. */
  stopAt(kind: number, pointer = 0, nth = 1): void {
    Atomics.store(this.#control, POINTER, pointer | 0);
    Atomics.store(this.#control, NTH, nth);
    Atomics.store(this.#control, KIND, kind);
    this.resume();
  }

  /** Is it stopped at a point? */
  get isStopped(): boolean {
    return Atomics.load(this.#control, STATE) === STOPPED;
  }

  /** Waits until it has stopped at its point. */
  stopped(): Promise<void> {
    return until(this.#engine, `walker ${this.walker} at its point`, () => this.isStopped);
  }

  /** Lets it go on. */
  resume(): void {
    Atomics.store(this.#control, STATE, 0);
    Atomics.notify(this.#control, STATE);
  }

  /** The thread dies where it is. */
  async kill(): Promise<void> {
    await this.#worker.terminate();
  }

  /** Leaves the engine in order. */
  async leave(): Promise<void> {
    await this.call("leave");
    await this.kill();
  }
}

/** A walker that uses tables; see test/parallel/walker.mjs. */
export class Thread extends Remote {
  constructor(engine: Engine, walker: number, ...tables: (Stage2Table | HypTable)[]) {
    const data = { ticket: engine.ticket(walker), tables: tables.map((table) => table.ticket()) };
    super(engine, walker, "../parallel/walker.mjs", data);
  }
}

/** The state of a promise that should still be waiting. */
export async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const settled = promise.then(
    () => false,
    () => false,
  );
  return Promise.race([settled, new Promise<boolean>((go) => setTimeout(() => go(true), 20))]);
}

/** Closes the table and both walkers; everything went back to the arena but what the walkers themselves hold. */
export function expectAllGiven({ one, two, a, b }: Pair): void {
  const { pages } = a.info();
  const before = one.arena().taken;
  b.close();
  a.close();
  expect(before - one.arena().taken).toBe(pages * a.granule);
  expect(one.limbo()).toMatchObject({ waiting: 0 });
  two.close();
  one.close();
}
