// Several walkers on one thread: instances of test/memory/rooms/walkers.ts in one memory, each of which is one of them.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compile } from "../../bindings/core/compile.mjs";
import { Scratch } from "../support/scratch.js";

type Pointer = number;

/** What test/memory/rooms/walkers.ts exports: flags are 0 and 1, statuses are positive errnos of the core. */
export type Walkers = Record<
  | "advance"
  | "leave"
  | "epoch"
  | "inSection"
  | "reading"
  | "synchronize"
  | "initFrames"
  | "detach"
  | "doubtLimbo"
  | "isLimboDoubtful"
  | "release"
  | "someWait"
  | "takeTable"
  | "poolLock"
  | "limboLock"
  | "waiting"
  | "oldest"
  | "youngest"
  | "taken"
  | "abandonBreak"
  | "finishGive"
  | "handOver"
  | "handOverTree"
  | "intendCount"
  | "giveOwn"
  | "idleWord",
  () => number
> &
  Record<
    | "enter"
    | "isPast"
    | "giveFrames"
    | "isTaken"
    | "isPlain"
    | "markSoftware"
    | "recoverFrames"
    | "references"
    | "takeFrames"
    | "levelOf"
    | "isReader"
    | "isWriter"
    | "readLock"
    | "readUnlock"
    | "tryWriteLock"
    | "writeLock"
    | "writerOf"
    | "writeUnlock"
    | "acquire"
    | "isHeld"
    | "relinquish"
    | "relinquishMine"
    | "finishTable"
    | "giveTable"
    | "isTableHandle"
    | "strays"
    | "appendStraysOf"
    | "recoverLimboOf"
    | "ownerOf"
    | "nameOf"
    | "writes"
    | "writerWordOf"
    | "leftWordOf"
    | "sleepersWordOf"
    | "slotAt"
    | "writing"
    | "handle"
    | "holdPage"
    | "intendGive"
    | "intendMake"
    | "finishMake"
    | "intendNothingOf"
    | "available"
    | "cached"
    | "destroyCache"
    | "giveAllOf"
    | "cachesOf",
    (p: Pointer) => number
  > &
  Record<
    | "attach"
    | "inheritWriteLock"
    | "lock"
    | "unlock"
    | "announce"
    | "acquireAs"
    | "inherit"
    | "tryAcquire"
    | "addPages"
    | "raisePeak"
    | "addReference"
    | "intent"
    | "countHeld"
    | "intendGiveCounted"
    | "isClaimed"
    | "createCache"
    | "fillTo"
    | "isArenaPage"
    | "isCache"
    | "resolve"
    | "takePage"
    | "topUp",
    (p: Pointer, n: number) => number
  > & {
    slotOfWalker(id: number): bigint;
    retire(table: Pointer, p: Pointer, level: number): void;
    holdTree(table: Pointer, p: Pointer, level: number): void;
    intendBreak(table: Pointer, p: Pointer, old: bigint, level: number): void;
    layOut(arena: Pointer, bytes: number, base: bigint, tables: number, walkers: number, ring: number): number;
    isArenaRange(p: Pointer, bytes: bigint): number;
    isInMemory(p: Pointer, bytes: bigint): number;
    physToVirt(pa: bigint, bytes: number): Pointer;
    virtToPhys(p: Pointer): bigint;
    wordAt(pa: bigint, base: bigint, bytes: bigint, pointer: Pointer): Pointer;
  };

async function compiled(): Promise<WebAssembly.Module> {
  using scratch = new Scratch();
  const outFile = join(scratch.path, "walkers.wasm");
  await compile({ entry: "test/memory/rooms/walkers.ts", target: "release", outFile });
  return new WebAssembly.Module(readFileSync(outFile));
}

const module = await compiled();
/** The module and a memory in which walkers were laid out, for a walker on a thread of its own. */
export interface Place {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  base: number;
}
export const PAGES = 64;
export const ARENA = 1 << 20;
/** Pointer of the arena, behind all records. */
export const ARENA_AT: number = 3 << 20;
/** The engine begins at byte 0, so that handles are pointers. */
const BASE = 0;
const hook = (): number => 0;

/** An instance in a memory of its own, in which nothing is laid out. */
export function bare(): Walkers {
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  return new WebAssembly.Instance(module, { env: { memory, base: BASE }, host: { clock: () => 0, hook } })
    .exports as unknown as Walkers;
}

/** `n` walkers of one memory with an arena, a clock that goes on by `step` milliseconds each time it is read, and journals of `ring` records. `asked` is called by whoever reads it. */
export function walkers(
  n: number,
  step = 0,
  ring = 0,
): { all: Walkers[]; u32: Uint32Array; clock: { step: number; asked: () => void }; place: Place } {
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  const clock = { step, now: 0, asked: () => {} };
  const read = (): number => {
    clock.now += clock.step;
    clock.asked();
    return clock.now | 0;
  };
  const host = { clock: read, hook };
  const all = Array.from({ length: n }, () => {
    return new WebAssembly.Instance(module, { env: { memory, base: BASE }, host }).exports as unknown as Walkers;
  });
  const [first] = all as [Walkers];
  first.layOut(ARENA_AT, ARENA, 0n, 4, n, ring);
  first.initFrames();
  for (const [id, walker] of all.entries()) walker.attach(id, 0);
  return { all, u32: new Uint32Array(memory.buffer), clock, place: { module, memory, base: BASE } };
}
