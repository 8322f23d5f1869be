// Who waits sleeps, on the word that will change, and who changes it wakes them. A sleeper wakes by itself after a millisecond, so
// nothing else shows that it was woken: here the words are asked who sleeps on them.

import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import { type Place, type Walkers, walkers } from "./walkers.js";

/** What TypeScript's library does not know yet. */
const { waitAsync } = Atomics as unknown as { waitAsync(words: Int32Array, index: number, value: number): unknown };

interface Scene {
  a: Walkers;
  b: Walkers;
  t: number;
  i32: Int32Array;
  place: Place;
}

/** Two walkers here, room for a third on a thread, and a table. */
function scene(): Scene {
  const { all, u32, place } = walkers(3);
  const [a, b, c] = all as [Walkers, Walkers, Walkers];
  c.detach();
  const t = a.takeTable() >>> 0;
  a.finishTable(t);
  return { a, b, t, i32: new Int32Array(u32.buffer), place };
}

/** Does `action` wake who sleeps on the word at `p`? */
function wakes({ i32 }: Scene, p: number, action: () => unknown): boolean {
  waitAsync(i32, p / 4, Atomics.load(i32, p / 4));
  action();
  return Atomics.notify(i32, p / 4) === 0;
}

describe("whoever lets go of a table wakes", () => {
  it("those who sleep until there is no writer, once it is held no more, and looks for none if none sleeps [LCK-2]", () => {
    const all = scene();
    const { a, t, i32 } = all;
    const [writer, sleepers] = [a.writerWordOf(t), a.sleepersWordOf(t) / 4];
    Atomics.store(i32, sleepers, 1);
    a.writeLock(t);
    a.writeLock(t);
    expect(wakes(all, writer, () => a.writeUnlock(t))).toBe(false);
    expect(wakes(all, writer, () => a.writeUnlock(t))).toBe(true);
    Atomics.store(i32, sleepers, 0);
    a.writeLock(t);
    expect(wakes(all, writer, () => a.writeUnlock(t))).toBe(false);
  });

  it("the writer that waits for readers, when the reader is out of its last section [LCK-2]", () => {
    const all = scene();
    const { a, t, i32 } = all;
    const word = a.leftWordOf(t);
    const left = () => Atomics.load(i32, word / 4);
    for (let n = 0; n < 3; n++) a.readLock(t);
    expect([wakes(all, word, () => a.readUnlock(t)), left()]).toEqual([false, 0]);
    a.announce(t, 1);
    expect([wakes(all, word, () => a.readUnlock(t)), left()]).toEqual([false, 0]);
    expect([wakes(all, word, () => a.readUnlock(t)), left()]).toEqual([true, 1]);
  });

  it("nobody, if no writer waits [LCK-2]", () => {
    const all = scene();
    const { a, t, i32 } = all;
    const word = a.leftWordOf(t);
    a.readLock(t);
    expect([wakes(all, word, () => a.readUnlock(t)), Atomics.load(i32, word / 4)]).toEqual([false, 0]);
  });
});

/** Milliseconds after which a test gives up: only one that fails takes so long. */
const LONG = 20_000;

async function until(what: string, condition: () => boolean): Promise<void> {
  for (const end = Date.now() + LONG; !condition(); await new Promise((go) => setTimeout(go, 1))) {
    if (Date.now() > end) throw new Error(`${what} never happens`);
  }
}

/** Walker 2 on a thread of its own, whose clock stands still and counts how often it is read. */
class Sleeper {
  readonly #worker: Worker;
  readonly #reads = new Int32Array(new SharedArrayBuffer(4));

  constructor({ place }: Scene, sleeps: boolean) {
    const workerData = { ...place, id: 2, sleeps: sleeps ? 1 : 0, reads: this.#reads };
    this.#worker = new Worker(new URL("sleeper.mjs", import.meta.url), { workerData });
  }

  /** Calls functions in their order; what they return. */
  call(...calls: [name: keyof Walkers, ...args: number[]][]): Promise<number[]> {
    return new Promise((resolve, reject) => {
      this.#worker.once("message", resolve);
      this.#worker.once("error", reject);
      this.#worker.postMessage(calls);
    });
  }

  /** How often it has asked for the time. */
  get reads(): number {
    return Atomics.load(this.#reads, 0);
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

let sleeper: Sleeper | undefined;
afterEach(async () => {
  await sleeper?.end();
  sleeper = undefined;
});

/** What walker 2 waits for while walker 0 holds something: its calls, the word that it sleeps on, and what ends its wait. */
const WAITS: [string, (all: Scene) => { calls: [keyof Walkers, number][]; word: number; end: () => void }][] = [
  [
    "a reader that waits for a writer",
    ({ a, t }) => {
      a.writeLock(t);
      return {
        calls: [
          ["readLock", t],
          ["readUnlock", t],
        ],
        word: a.writerWordOf(t),
        end: () => a.writeUnlock(t),
      };
    },
  ],
  [
    "a writer that waits for another",
    ({ a, t }) => {
      a.writeLock(t);
      return {
        calls: [
          ["writeLock", t],
          ["writeUnlock", t],
        ],
        word: a.writerWordOf(t),
        end: () => a.writeUnlock(t),
      };
    },
  ],
  [
    "a writer that waits for a reader",
    ({ a, t }) => {
      a.readLock(t);
      return {
        calls: [
          ["writeLock", t],
          ["writeUnlock", t],
        ],
        word: a.leftWordOf(t),
        end: () => a.readUnlock(t),
      };
    },
  ],
  [
    "a walker that waits for a spin lock",
    ({ a }) => {
      const p = a.poolLock();
      a.acquire(p);
      return {
        calls: [
          ["acquire", p],
          ["relinquish", p],
        ],
        word: a.idleWord(),
        end: () => a.relinquish(p),
      };
    },
  ],
];

describe.each(WAITS)("%s", (_, begin) => {
  it("looks for a while, then sleeps on the word that will change, and goes on when it has [LCK-17]", async () => {
    const all = scene();
    const { calls, word, end } = begin(all);
    sleeper = new Sleeper(all, true);
    const done = sleeper.call(...calls);
    await until("a sleep", () => Atomics.notify(all.i32, word / 4) > 0);
    expect(sleeper.reads).toBeGreaterThan(0); // its time counts from its first sleep on
    end();
    expect(await done).toEqual([0, 0]);
  });

  it("does not sleep on a thread that may not", async () => {
    const all = scene();
    const { calls, word, end } = begin(all);
    const walker = new Sleeper(all, false);
    sleeper = walker;
    const done = walker.call(...calls);
    let slept = 0;
    await until("a hundred looks at the clock", () => {
      slept += Atomics.notify(all.i32, word / 4);
      return walker.reads > 100;
    });
    expect(slept).toBe(0);
    end();
    expect(await done).toEqual([0, 0]);
  });
});

it("who sleeps until there is no writer is counted, and then not any more", async () => {
  const all = scene();
  const { a, t, i32 } = all;
  const sleepers = a.sleepersWordOf(t) / 4;
  a.writeLock(t);
  sleeper = new Sleeper(all, true);
  const done = sleeper.call(["readLock", t], ["readUnlock", t]);
  await until("a sleeper", () => Atomics.load(i32, sleepers) === 1);
  a.writeUnlock(t);
  expect(await done).toEqual([0, 0]);
  expect(Atomics.load(i32, sleepers)).toBe(0);
});
