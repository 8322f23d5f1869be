// One of several walkers with functions of its own on tables that replace their memory operations (hooks.test.ts). What the
// functions of all walkers share lies in shared memory: a count for each page of the arena.

import { parentPort, workerData } from "node:worker_threads";
import { joinEngine } from "../../dist/bindings/index.js";
import { mulberry32 } from "../support/mulberry.mjs";

const { ticket, tickets, seed, self, operations, walkers, gate, counts, output, base } = workerData;
const PAGE = 4096n;
const BLOCK = 2n << 20n;
const BLOCKS = 3;
const PAGES = seed % 2 ? 2 : 6;
const AGAIN = -11;
const FAULT = { shared: true, handleFault: true };
const SHARED = { shared: true };
const VISIT = { shared: true, maySleep: false };
const THROWN = "thrown on purpose";

const arrived = new Int32Array(gate);
const shared = new Int32Array(counts);
const engine = joinEngine(ticket);

const random = mulberry32(seed * 64 + self);
/** Uniform in 0 .. n-1. */
function below(n) {
  return random() % n;
}

let thrown = 0;
function perhapsThrow() {
  if (below(40)) return;
  thrown++;
  throw new Error(THROWN);
}

const unit = (p) => (p - engine.arenaPointer) >>> 12;
const detached = [];

/** The functions of this walker; the same as in hooks.test.ts. */
const hooks = {
  zallocPage() {
    perhapsThrow();
    const p = engine.core.takeBlock(0) >>> 0;
    if (p !== 0) Atomics.store(shared, unit(p), 1);
    return p;
  },
  zallocPagesExact: () => 0,
  freePagesExact(p, bytes) {
    for (let at = 0; at < bytes; at += 4096) Atomics.store(shared, unit(p + at), 0);
    engine.core.giveBlock(p);
  },
  getPage: (p) => void Atomics.add(shared, unit(p), 1),
  putPage(p) {
    if (Atomics.sub(shared, unit(p), 1) !== 1) return false;
    engine.core.giveBlock(p);
    return true;
  },
  pageCount: (p) => Atomics.load(shared, unit(p)),
  physToVirt: (pa) => Number(pa - engine.physBase) + engine.arenaPointer,
  virtToPhys: (p) => BigInt(p - engine.arenaPointer) + engine.physBase,
  freeUnlinkedTable: (pointer, level) => void detached.push({ pointer, level }),
  dcacheCleanInvalPoc: perhapsThrow,
  icacheInvalPou: perhapsThrow,
};
const forcePte = (start) => {
  perhapsThrow();
  return (start >> 21n) % 3n === 0n;
};

const [hooked, plain] = tickets.map((t, i) => engine.adopt(t, i === 0 ? { hooks, forcePte, maySleep: false } : {}));

const home = (ipa) => output + ipa;
const blockOf = () => base + BigInt(below(BLOCKS)) * BLOCK;
const pageOf = () => blockOf() + BigInt(below(PAGES)) * PAGE;
/** Bits [58:55] of a descriptor are software's. */
const SOFTWARE = 1n << 55n;

/** Moves leaves aside and back, fills holes, gives tables, takes tables; now and then throws between break and make. */
function visitor(visit) {
  perhapsThrow();
  if (visit.phase === "pre") return below(3) ? 0 : toBlock(visit);
  const { old, kind } = visit;
  if (kind === "locked") return AGAIN;
  if (kind === "page" || kind === "block") {
    if (below(2)) return visit.set(old ^ SOFTWARE) ? 0 : AGAIN;
    if (!visit.tryBreak()) return AGAIN;
    perhapsThrow();
    visit.make(old ^ SOFTWARE);
    return 0;
  }
  if (kind !== "hole") return 0;
  return visit.level === 3 ? toPage(visit) : toTable(visit);
}

function toBlock(visit) {
  const { old, level } = visit;
  if (level !== 2 || visit.read() !== old || !visit.tryBreak()) return AGAIN;
  perhapsThrow();
  visit.make((home(visit.address & -BLOCK) | 0x7fdn) & ~2n);
  visit.freeTable(old);
  return 0;
}

/** A leaf by `set`, which counts a reference, and sometimes the hole again. */
function toPage(visit) {
  const leaf = home(visit.address) | 0x7ffn;
  if (!visit.set(leaf)) return AGAIN;
  return below(4) || visit.set(0n) ? 0 : AGAIN;
}

function toTable(visit) {
  if (visit.level !== 2 || !visit.tryBreak()) return AGAIN;
  let table;
  try {
    table = visit.newTable();
  } catch (error) {
    if (error.code === "ENOMEM") return 0; // the hole comes back
    throw error;
  }
  visit.make(table);
  return 0;
}

function lookUp(table, page) {
  const { kind, pa, address } = table.leaf(page);
  if ((kind === "page" || kind === "block") && pa !== home(address))
    throw new Error(`${page} leads to ${pa.toString(16)}`);
}

function walk(table) {
  const options = { ...VISIT, tablePre: below(2) === 0, handleFault: below(3) === 0 };
  const status = table.walk(pageOf(), BigInt(1 + below(4)) * PAGE, visitor, options);
  if (status !== 0 && status !== AGAIN) throw new Error(`a walk ended with ${status}`);
}

function operation(table) {
  const [page, block] = [pageOf(), blockOf()];
  switch (below(14)) {
    case 0:
    case 1:
    case 2:
      return table.map(page, PAGE, home(page), "rw", { ...FAULT, cache: below(2) ? "own" : "arena" });
    case 3:
    case 4:
      return table.map(block, BLOCK, home(block), "rwx", FAULT);
    case 5:
      return table.relaxPerms(page, "x", SHARED);
    case 6:
      return table.wrprotect(block, BLOCK, below(6) ? SHARED : {});
    case 7:
      return table.split(block, BLOCK, "arena", below(6) ? SHARED : {});
    case 8:
      return below(3) ? table.unmap(page, PAGE) : table.unmap(block, BLOCK);
    case 9:
      return table.testClearYoung(block, BLOCK, true, below(6) ? SHARED : {});
    case 10:
      return lookUp(table, page);
    default:
      return walk(table);
  }
}

/** Waits until all walkers are here. */
function meet(round) {
  Atomics.add(arrived, 0, 1);
  Atomics.notify(arrived, 0);
  for (let n = 0; n < walkers * round; n = Atomics.load(arrived, 0)) Atomics.wait(arrived, 0, n, 50);
}

function free() {
  for (const { pointer, level } of detached.splice(0)) hooked.freeUnlinked(pointer, level);
}

function work() {
  meet(1);
  let noMemory = 0;
  for (let i = 0; i < operations; i++) {
    try {
      operation(below(3) ? hooked : plain);
    } catch (error) {
      // An allocator that throws has no page to give either: the operation may end with that first.
      if (error.code === "ENOMEM") noMemory++;
      else if (error.message !== THROWN) throw error;
    }
    const { attached, inSection, writes } = engine.walkers()[ticket.walker];
    if (!attached || inSection || writes) throw new Error(`operation ${i} left a section or a lock behind`);
    free();
  }
  meet(2);
  engine.reclaim();
  free();
  const report = { thrown, noMemory };
  engine.close();
  return report;
}

try {
  parentPort.postMessage({ report: work() });
} catch (error) {
  parentPort.postMessage({ error: `${error.message}\n${error.stack}` });
}
