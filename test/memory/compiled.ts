// The functions of test/memory/rooms, compiled for release and instantiated on a memory of their own.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compile } from "../../bindings/core/compile.mjs";
import { Scratch } from "../support/scratch.js";

type Pointer = number;

/** What test/memory/rooms/cell.ts exports. */
export interface Cells {
  read(p: Pointer, shared: number): bigint;
  write(p: Pointer, value: bigint): void;
  release(p: Pointer, value: bigint): void;
  exchange(p: Pointer, value: bigint): bigint;
  compareExchange(p: Pointer, old: bigint, next: bigint): number;
  fillHoles(p: Pointer, end: Pointer, value: bigint, step: bigint): Pointer;
  updateValid(p: Pointer, end: Pointer, clear: bigint, set: bigint): void;
  testClear(p: Pointer, end: Pointer, at: number, clear: number): number;
  countValid(p: Pointer, end: Pointer): number;
  countMapped(p: Pointer, end: Pointer): bigint;
  clearRun(p: Pointer, end: Pointer): void;
  leastSince(p: Pointer, end: Pointer, now: number): number;
  enter(table: Pointer): void;
  leave(): void;
  expel(id: number): number;
  slotOfWalker(id: number): bigint;
  layOut(arena: Pointer, bytes: number, base: bigint, tables: number, walkers: number, ring: number): number;
  attach(id: number, sleeps: number): number;
  writerOf(t: Pointer): number;
  readLock(t: Pointer): number;
  readUnlock(t: Pointer): void;
  writeLock(t: Pointer): number;
  writeUnlock(t: Pointer): void;
  acquire(p: Pointer): number;
  relinquish(p: Pointer): void;
}

async function compiled(): Promise<WebAssembly.Module> {
  using scratch = new Scratch();
  const outFile = join(scratch.path, "cell.wasm");
  await compile({ entry: "test/memory/rooms/cell.ts", target: "release", outFile });
  return new WebAssembly.Module(readFileSync(outFile));
}

const module = await compiled();

/** One instance, and its memory of 4 MiB. */
export function cells(): { core: Cells; u64: BigUint64Array; u32: Uint32Array } {
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 65536, shared: true });
  const { exports } = new WebAssembly.Instance(module, { env: { memory, base: 1024 }, host: { clock: () => 0 } });
  return {
    core: exports as unknown as Cells,
    u64: new BigUint64Array(memory.buffer),
    u32: new Uint32Array(memory.buffer),
  };
}
