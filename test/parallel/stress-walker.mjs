// One of several walkers that do as they please, in ranges where what may come of it is known (stress.test.ts).

import { parentPort, workerData } from "node:worker_threads";
import { joinEngine } from "../../dist/bindings/index.js";
import { mulberry32 } from "../support/mulberry.mjs";

const { ticket, tickets, seed, self, operations, walkers, progress, notes, ranges, output } = workerData;
const [ARRIVED, DONE] = [0, 1];
const POINT_READ = 1;
const PAGE = 4096n;
const BLOCK = 2n << 20n;
/** Blocks of a range and pages of a block that are used: few, so that walkers meet, and on odd seeds hardly any. */
const CROWDED = seed % 2 === 1;
const PAGES = CROWDED ? 2 : 7;
const FAULT = { shared: true, handleFault: true, cache: "own" };
const SHARED = { shared: true };
const FREE = { lockFree: true };
const MAPPED = 1;
const WRITABLE = 2;

const counts = new Int32Array(progress);
const seen = new Int32Array(notes);
const engine = joinEngine(ticket);
const [table, free] = tickets.map((t) => engine.adopt(t));
const batch = engine.createBatch(16);
const columns = engine.createColumns(64);

const random = mulberry32(seed * 64 + self);
/** Uniform in 0 .. n-1. */
function below(n) {
  return random() % n;
}

function blockOf(range) {
  return ranges[range].base + (CROWDED ? 0n : BigInt(below(ranges[range].blocks)) * BLOCK);
}

function pageOf(range) {
  return blockOf(range) + BigInt(below(PAGES)) * PAGE;
}

/** Milliseconds that a walker of the debug core now and then stays in a window, so that others come in between. */
const PAUSE = 0.05;
const nobody = new Int32Array(new SharedArrayBuffer(4));
let points = 0;

engine.hosts.point = (kind) => {
  if (kind !== POINT_READ && ++points % 17 === 0) Atomics.wait(nobody, 0, 0, PAUSE);
};

/** Notes what came of an operation on a page of the ranges where nothing is ever taken away. */
function note(page, what, outcome) {
  if (outcome !== "done" && outcome !== 0) return;
  const { base, at } = Object.values(ranges).find(
    (r) => r.at !== undefined && page >= r.base && page < r.base + BigInt(r.blocks) * BLOCK,
  );
  Atomics.or(seen, at + Number((page - base) / PAGE), what);
}

function home(ipa, other = 0n) {
  return output + other * output + ipa;
}

/** Blocks and pages flip, two outputs compete, everything is allowed. */
function flip() {
  const [page, block, other] = [pageOf("flip"), blockOf("flip"), BigInt(below(2))];
  switch (below(16)) {
    case 0:
    case 1:
    case 2:
      return table.map(block, BLOCK, home(block, other), "rw", FAULT);
    case 3:
    case 4:
    case 5:
    case 6:
      return table.map(page, PAGE, home(page, other), "rw", FAULT);
    case 7:
      return table.map(page, 9n * PAGE, home(page, other), "r", SHARED);
    case 8:
      return table.map(block, 2n * BLOCK, home(block, other), "rw");
    case 9:
      return table.relaxPerms(page, "x", SHARED);
    case 10:
      return table.wrprotect(block, BLOCK, below(6) ? SHARED : {});
    case 11:
      return table.split(block, BLOCK, "arena", below(6) ? SHARED : {});
    case 12:
      return table.unmap(page, below(4) ? PAGE : BLOCK);
    case 13:
      return table.testClearYoung(block, BLOCK, true, below(6) ? SHARED : {});
    case 14:
      return lookUp(page);
    default:
      return table.mkyoung(page, SHARED);
  }
}

function lookUp(page) {
  const { kind, pa, address } = table.leaf(page);
  if (kind === "table") throw new Error(`a table for a leaf at ${page}`);
  if ((kind === "page" || kind === "block") && pa !== home(address) && pa !== home(address, 1n)) {
    throw new Error(`${page} leads to ${pa.toString(16)}`);
  }
}

/**
 * Nothing is ever taken away: what was mapped stays mapped, what was granted stays granted. No age here: to map over an
 * old leaf is to make it anew [S2-3].
 */
function grow() {
  const page = pageOf("grow");
  switch (below(8)) {
    case 0:
      return note(page, MAPPED, table.map(page, PAGE, home(page), "r", FAULT));
    case 1:
      return note(page, WRITABLE, table.relaxPerms(page, "w", SHARED));
    case 2:
      return table.mkyoung(page, SHARED);
    case 3:
      return lookUp(page);
    case 4:
      return table.map(page, 5n * PAGE, home(page), "r", SHARED);
    case 5:
      return faults();
    case 6:
      return permissions();
    default:
      return records();
  }
}

function faults() {
  const n = 1 + below(64);
  const chosen = Array.from({ length: n }, () => pageOf("grow"));
  columns.addresses.set(chosen);
  columns.values.set(chosen.map((page) => home(page)));
  table.mapColumns(columns, n, "r", { ...FAULT, skipCacheMaintenance: below(4) !== 0 });
  chosen.forEach((page, i) => {
    note(page, MAPPED, columns.statuses[i]);
  });
}

function permissions() {
  const n = 1 + below(64);
  const chosen = Array.from({ length: n }, () => pageOf("grow"));
  columns.addresses.set(chosen);
  table.relaxColumns(columns, n, "w", SHARED);
  chosen.forEach((page, i) => {
    note(page, WRITABLE, columns.statuses[i]);
  });
}

function records() {
  batch.clear();
  const chosen = Array.from({ length: 1 + below(16) }, () => pageOf("grow"));
  const granted = chosen.map((page, i) => {
    if (i % 2) batch.relaxPerms(table, page, "w", SHARED);
    else batch.map(table, page, PAGE, home(page), "r", FAULT);
    return i % 2 ? WRITABLE : MAPPED;
  });
  batch.run({ stop: false });
  chosen.forEach((page, i) => {
    const { status } = batch.result(i);
    if (status !== 0 && status !== -11) throw new Error(`record ${i}: ${status}`);
    note(page, granted[i], status);
  });
}

/** Write permission comes and goes; in the end it goes. */
function guard(last) {
  const [page, block] = [pageOf("guard"), blockOf("guard")];
  switch (below(6)) {
    case 0:
      return table.map(page, PAGE, home(page), last ? "r" : "rw", FAULT);
    case 1:
      return table.relaxPerms(page, last ? "x" : "w", SHARED);
    case 2:
      return table.wrprotect(block, BLOCK, below(6) ? SHARED : {});
    case 3:
      return table.testClearYoung(block, BLOCK, true, SHARED);
    case 4:
      return table.split(block, BLOCK, "arena", SHARED);
    default:
      return table.mkyoung(page, SHARED);
  }
}

/** Leaves that are all there: their flags change from all sides, and what was granted stays granted. */
function aged() {
  const [page, block] = [pageOf("aged"), blockOf("aged")];
  switch (below(4)) {
    case 0:
      return note(page, WRITABLE, table.relaxPerms(page, "w", SHARED));
    case 1:
      return table.mkyoung(page, SHARED);
    default:
      return table.testClearYoung(block, BigInt(PAGES) * PAGE, true, below(6) ? SHARED : {});
  }
}

/** The same without the lock, while exclusive operations that take nothing of it away go over them. */
function bold() {
  const [page, block] = [pageOf("bold"), blockOf("bold")];
  switch (below(8)) {
    case 0:
    case 1:
    case 2:
      return note(page, WRITABLE, free.relaxPerms(page, "w", FREE));
    case 3:
    case 4:
      return free.mkyoung(page, FREE);
    case 5:
    case 6:
      return free.testClearYoung(block, BigInt(PAGES) * PAGE);
    default:
      return free.leaf(page);
  }
}

/** On the same table: tables come and go under those who look without the lock. */
function brave() {
  const [page, block] = [pageOf("brave"), blockOf("brave")];
  switch (below(8)) {
    case 0:
      return free.map(page, PAGE, home(page), "rw");
    case 1:
      return free.map(block, BLOCK, home(block), "rw", below(2) ? FAULT : {});
    case 2:
      return free.unmap(page, below(2) ? PAGE : BLOCK);
    case 3:
      return free.relaxPerms(page, "x", FREE);
    case 4:
      return free.mkyoung(page, FREE);
    case 5:
      return free.wrprotect(block, BLOCK);
    case 6:
      return free.split(block, BLOCK);
    default:
      return free.leaf(page);
  }
}

/** Waits until all walkers are here. */
function meet(round) {
  Atomics.add(counts, ARRIVED, 1);
  Atomics.notify(counts, ARRIVED);
  for (let n = 0; n < walkers * round; n = Atomics.load(counts, ARRIVED)) Atomics.wait(counts, ARRIVED, n, 50);
}

/** Operations between two signs of life. */
const STRIDE = 64;

function perform(n, mix) {
  for (let i = 0; i < n; i++) {
    mix[below(mix.length)]();
    if (i % STRIDE === 0) Atomics.add(counts, DONE, STRIDE);
  }
}

function work() {
  meet(1);
  perform(operations, [flip, flip, flip, grow, grow, aged, () => guard(false), bold, bold, brave]);
  meet(2);
  perform(operations >> 3, [() => guard(true)]);
  const { base, blocks } = ranges.guard;
  table.wrprotect(base, BigInt(blocks) * BLOCK, SHARED);
  meet(3);
  batch.close();
  columns.close();
  engine.close();
}

try {
  work();
  parentPort.postMessage({ done: true });
} catch (error) {
  parentPort.postMessage({ error: `${error.message}\n${error.stack}` });
}
