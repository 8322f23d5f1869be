// The whole export surface of the release core under random arguments: small numbers, extremes, live handles,
// pointers into the arena. A wrong argument may destroy the caller's tables, but must never trap.

import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { HeaderView } from "../../bindings/core/memory-views.generated.js";
import { SubmissionView } from "../../bindings/core/table-views.generated.js";
import { createEngine, type Engine } from "../../bindings/index.js";
import { Random, runs, SEED } from "../support/random.js";

const RUNS = runs(500);
const CALLS = 1500;

/** What each export takes: h table, c cache, p pointer, s granule, n small number, w word, L 64-bit, D double, z boolean, v level. */
const SIGNATURES: Record<string, string> = {
  initialise: "wwLwww",
  attach: "wz",
  entrust: "pp",
  detach: "",
  resultPointer: "",
  counterPointer: "w",
  engineInfo: "",
  setJournal: "w",
  journalInfo: "w",
  takeBlock: "n",
  giveBlock: "p",
  pageReferences: "p",
  cacheCreate: "sn",
  cacheDestroy: "cs",
  cacheTopUp: "csn",
  cacheFill: "csn",
  cacheCount: "cs",
  createStage2: "sVfw",
  createHyp: "snfw",
  releaseTable: "h",
  tableInfo: "h",
  setForcePte: "hnL",
  createUnlinked: "hLvwcz",
  freeUnlinked: "hpv",
  submit: "pnz",
  call: "nhwcDDDwv",
  lookup: "hD",
  getLeaves: "hpppn",
  mapPages: "hpppnwcw",
  relaxPages: "hppnww",
  lockTable: "hz",
  unlockTable: "hz",
  reclaim: "",
  limboInfo: "",
  walkerInfo: "w",
  writerOfTable: "h",
  bury: "w",
  scan: "hpvLvLnpn",
  walkOutside: "hLLnc",
  poke: "hLL",
  visitRead: "",
  visitTryBreak: "",
  visitMake: "L",
  visitSet: "L",
  visitNewTable: "",
  visitFreeTable: "L",
  levelShift: "sv",
  stage2StartLevel: "sn",
  startTables: "snv",
  blockSizes: "s",
  vtcr: "snLLzzz",
  vttbr: "Lwz",
  vttbrAlignment: "sn",
  tcrEl2: "snwz",
  stage2Leaf: "svLwf",
  hypLeaf: "svLwf",
  protectionOf: "Lfz",
  addressBits: "szL",
  outputAddress: "szL",
  outputMask: "sz",
  tlbiIpaOperand: "sLv",
  tlbiRangeStep: "sLLvvzz",
};

const EDGES = [0, 1, 2, 7, 8, 12, 14, 16, 63, 64, 4095, 4096, 0x7fffffff, 0x80000000, 0xffffffff];
const WIDE_EDGES = [
  0n,
  1n,
  4096n,
  (1n << 39n) - 1n,
  1n << 40n,
  1n << 48n,
  (1n << 52n) - 1n,
  1n << 63n,
  (1n << 64n) - 1n,
];

const DOUBLES = [NaN, Infinity, -Infinity, -0, -1, 0.5, 2 ** 53 - 1, 2 ** 53, 2 ** 63, 2 ** 64, 1e300, 5e-324];

class Attacker {
  readonly #random: Random;
  readonly #engine: Engine;
  handles: number[] = [];
  caches: number[] = [0, 1, 2];
  pointers: number[] = [];

  constructor(engine: Engine, random: Random) {
    this.#engine = engine;
    this.#random = random;
    const table = engine.createStage2({ ipaBits: 39 }),
      hyp = engine.createHyp({ vaBits: 39 });
    table.map(0, 3 << 20, 0, "rw");
    hyp.map(0, 5 << 12, 0, "r");
    this.handles.push(table.handle, hyp.handle);
  }

  #pointer(): number {
    const r = this.#random,
      { arenaPointer, arenaBytes } = this.#engine;
    if (r.oneIn(2) && this.pointers.length > 0) return r.pick(this.pointers);
    if (r.oneIn(4)) return r.pick(EDGES);
    const at = arenaPointer + r.below(arenaBytes);
    return r.oneIn(5) ? at : at & ~4095;
  }

  #wide(): bigint {
    const r = this.#random;
    if (r.oneIn(3)) return r.pick(WIDE_EDGES);
    if (r.oneIn(3)) return this.#engine.physBase + BigInt(r.below(2048)) * 4096n + (r.oneIn(2) ? 3n : 0n);
    return r.oneIn(3) ? r.u64() : BigInt(r.below(1024)) * 4096n;
  }

  #double(): number {
    return this.#random.oneIn(4) ? this.#random.pick(DOUBLES) : Number(this.#wide());
  }

  #vtcr(): bigint {
    const r = this.#random;
    const t0sz = BigInt(r.below(64)),
      tail = BigInt(r.below(4)) << 6n;
    return r.oneIn(4) ? r.u64() : t0sz | tail | (BigInt(r.below(4)) << 14n) | (BigInt(r.below(2)) << 22n);
  }

  argument(kind: string): number | bigint {
    const r = this.#random;
    switch (kind) {
      case "h":
        return r.oneIn(12) ? r.u32() : r.pick(this.handles);
      case "c":
        return r.oneIn(12) ? this.#pointer() : r.pick(this.caches);
      case "p":
        return this.#pointer();
      case "s":
        return r.oneIn(8) ? r.pick(EDGES) : r.pick([12, 12, 14, 16]);
      case "n":
        return r.oneIn(12) ? r.pick(EDGES) : r.below(60);
      case "f":
        return r.oneIn(8) ? r.u32() : r.below(K.T_FLAGS + 1);
      case "v":
        return r.oneIn(12) ? r.u32() | 0 : r.below(7) - 2;
      case "z":
        return r.below(2);
      case "V":
        return this.#vtcr();
      case "L":
        return this.#wide();
      case "D":
        return this.#double();
      default:
        return r.oneIn(2) ? r.pick(EDGES) : r.u32();
    }
  }

  /** Keeps what a call gave, to use it against the core later. */
  keep(name: string, result: number | bigint | undefined): void {
    if (typeof result !== "number" || (result < 0 && result > -4096) || result === 0) return;
    const p = result >>> 0;
    if (name.startsWith("create") && name !== "createUnlinked") this.handles.push(p);
    if (name === "cacheCreate") this.caches.push(p);
    if (name === "takeBlock" || name === "cacheCreate") this.pointers.push(p);
    if (name === "createUnlinked") this.pointers.push(this.#engine.results.unlinked.page);
    for (const list of [this.handles, this.caches, this.pointers]) if (list.length > 24) list.splice(2, 1);
  }

  /** A submission record of random operations in a block, as `submit` reads it. */
  writeRecord(): void {
    const r = this.#random,
      { words, io } = this.#engine;
    const p = r.oneIn(2) ? io.at : this.#pointer() & ~7;
    if (p < this.#engine.arenaPointer || p + SubmissionView.BYTES > this.#engine.arenaPointer + this.#engine.arenaBytes)
      return;
    this.pointers.push(p);
    const record = new SubmissionView(words, p);
    record.op = r.below(20);
    record.flags = r.oneIn(3) ? r.u32() & 0x3007f : 0;
    record.table = this.argument("h") as number;
    record.cache = this.argument("c") as number;
    record.address = this.#wide();
    record.size = this.#wide();
    record.phys = this.#wide();
    record.prot = r.oneIn(4) ? r.u32() : r.below(256);
    record.level = this.argument("v") as number;
  }
}

/** What must never change: the header's magic, version and geometry. */
function header(engine: Engine): number[] {
  const at = engine.offset / 4;
  return [...engine.u32.subarray(at, at + HeaderView.BYTES / 4)];
}

function attack(seed: number): void {
  const random = new Random(seed);
  const walkers = random.oneIn(2) ? 1 : 3;
  const engine = createEngine({ arenaBytes: 1 << 20, maxTables: 8, journalRecords: 64, walkers });
  const core = engine.core as unknown as Record<string, (...args: (number | bigint)[]) => number | bigint | undefined>;
  const attacker = new Attacker(engine, random);
  const before = header(engine);
  const names = Object.keys(SIGNATURES);
  for (let i = 0; i < CALLS; i++) {
    if (random.oneIn(3)) attacker.writeRecord();
    const name = random.oneIn(3) ? "submit" : random.pick(names);
    const args = [...(SIGNATURES[name] as string)].map((kind) => attacker.argument(kind));
    try {
      attacker.keep(name, core[name]?.(...args));
      if (name === "detach") core.attach?.(random.below(walkers), 1);
    } catch (error) {
      throw new Error(`seed ${seed}, call ${i}: ${name}(${args.join(", ")})`, { cause: error });
    }
  }
  expect(header(engine)).toEqual(before);
  core.attach?.(0, 1); // whichever walker it is by now, it is one
  expect(engine.core.engineInfo()).toBe(0);
}

describe("hostile exports", () => {
  it("knows every export of the core", () => {
    const engine = createEngine({ arenaBytes: 1 << 20 });
    const functions = Object.entries(engine.core)
      .filter(([, value]) => typeof value === "function")
      .map(([name]) => name);
    expect(functions.sort()).toEqual(Object.keys(SIGNATURES).sort());
  });

  it(`never traps and never loses its header (first seed ${SEED})`, { timeout: 300_000 }, () => {
    for (let seed = SEED; seed < SEED + RUNS; seed++) attack(seed);
  });

  it("a handle that was given back, or never given, is refused everywhere", () => {
    const engine = createEngine({ arenaBytes: 1 << 20, maxTables: 4 });
    const table = engine.createStage2({ ipaBits: 39 });
    const { handle } = table;
    table.close();
    const core = engine.core as unknown as Record<string, (...args: (number | bigint)[]) => number>;
    const plain: Record<string, number | bigint> = { L: 0n, p: engine.arenaPointer, s: 12 };
    for (const [name, signature] of Object.entries(SIGNATURES)) {
      if (!signature.startsWith("h")) continue;
      for (const wrong of [handle, handle + K.TABLE_BYTES, handle + 8, 0, 4096, 0xffffffff]) {
        const args = [...signature.slice(1)].map((kind) => plain[kind] ?? 0);
        expect(core[name]?.(wrong, ...args), `${name}(${wrong})`).toBe(K.EINVAL);
      }
    }
    expect(engine.core.tableInfo(engine.createHyp().handle)).toBe(0); // and the slot serves again
  });

  it("a second engine is not laid out over the first", () => {
    const engine = createEngine({ arenaBytes: 1 << 20 });
    expect(engine.core.initialise(1 << 20, 1 << 20, 0n, 1, 1, 0)).toBe(K.EEXIST);
    expect(engine.core.attach(1, 1)).toBe(K.EINVAL);
    expect(engine.core.engineInfo()).toBe(0);
  });
});
