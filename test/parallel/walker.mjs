// A walker on a thread of its own: does what it is told (test/support/walkers.ts), and stops at the schedule point it is told.

import { parentPort, workerData } from "node:worker_threads";
import { joinEngine } from "../../dist/bindings/index.js";

const [KIND, POINTER, NTH, STATE] = [0, 1, 2, 3];
const STOPPED = 1;

const control = new Int32Array(workerData.control);
const engine = joinEngine(workerData.ticket);
let [table] = workerData.tables.map((ticket) => engine.adopt(ticket));
const held = [];

engine.hosts.point = (kind, pointer) => {
  if (Atomics.load(control, KIND) !== kind) return;
  const wanted = Atomics.load(control, POINTER) >>> 0;
  if ((wanted !== 0 && wanted !== pointer) || Atomics.sub(control, NTH, 1) !== 1) return;
  Atomics.store(control, KIND, 0);
  Atomics.store(control, STATE, STOPPED);
  while (Atomics.load(control, STATE) === STOPPED) Atomics.wait(control, STATE, STOPPED);
};

/** What a table has no method for, or none whose arguments and result can be posted. */
const verbs = {
  lock(mode) {
    held.push(table.lock(mode));
  },
  unlock() {
    held.pop()[Symbol.dispose]();
  },
  mapColumns(addresses, values, prot, options) {
    const columns = engine.createColumns(addresses.length);
    columns.addresses.set(addresses);
    columns.values.set(values);
    table.mapColumns(columns, addresses.length, prot, options);
    const statuses = [...columns.statuses.subarray(0, addresses.length)];
    columns.close();
    return statuses;
  },
  /** Works on a table from now on whose pages are counted in `counts`, as hooks.test.ts does. */
  adoptCounted(ticket, counts) {
    const shared = new Int32Array(counts);
    const unit = (p) => (p - engine.arenaPointer) / 4096;
    const hooks = {
      zallocPage() {
        const p = engine.takeBlock(4096);
        Atomics.store(shared, unit(p), 1);
        return p;
      },
      zallocPagesExact: () => 0,
      freePagesExact() {},
      freeUnlinkedTable() {},
      getPage: (p) => void Atomics.add(shared, unit(p), 1),
      putPage(p) {
        if (Atomics.sub(shared, unit(p), 1) !== 1) return false;
        // Told so by a 1, it never comes back from the second page.
        if (Atomics.compareExchange(shared, 0, 1, 2) !== 1 && Atomics.compareExchange(shared, 0, 2, 3) === 2) {
          Atomics.wait(shared, 0, 3);
        }
        engine.giveBlock(p);
        return true;
      },
      pageCount: (p) => Atomics.load(shared, unit(p)),
      physToVirt: (pa) => Number(pa - engine.physBase) + engine.arenaPointer,
      virtToPhys: (p) => BigInt(p - engine.arenaPointer) + engine.physBase,
      dcacheCleanInvalPoc() {},
      icacheInvalPou() {},
    };
    table = engine.adopt(ticket, { hooks, maySleep: false });
  },
  reclaim: () => engine.reclaim(),
  limbo: () => engine.limbo(),
  leave: () => engine.close(),
  /** `n` times: takes a block, writes a name of its own all over it, looks whether it is still there, gives it back. */
  storm(n, order, name) {
    const words = (4096 << order) / 4;
    for (let i = 0; i < n; i++) {
      const p = engine.core.takeBlock(order) >>> 0;
      if (p === 0) throw new Error("the arena is spent");
      const mine = engine.u32.subarray(p / 4, p / 4 + words);
      if (mine.some((word) => word !== 0)) throw new Error(`block ${p} came with something in it`);
      mine.fill(name + i);
      if (mine.some((word) => word !== name + i)) throw new Error(`block ${p} has two holders`);
      mine.fill(0);
      if (engine.core.giveBlock(p) !== 0) throw new Error(`block ${p} is not taken`);
    }
  },
  /** Takes and lets go of the lock for reading until the word says stop; how often. */
  readUntil(pointer) {
    let n = 0;
    for (; Atomics.load(engine.u32, pointer / 4) === 0; n++) table.lock("read")[Symbol.dispose]();
    return n;
  },
  /** The same for writing; the word behind it counts. */
  writeUntil(pointer) {
    while (Atomics.load(engine.u32, pointer / 4) === 0) {
      table.lock("write")[Symbol.dispose]();
      Atomics.add(engine.u32, pointer / 4 + 1, 1);
    }
  },
  /** `n` times: maps a page of a hypervisor's table, takes it away again. */
  comeAndGo(n, base, output) {
    for (let i = 0; i < n; i++) {
      const va = base + BigInt(i % 3) * 0x20_0000n;
      table.map(va, 4096, output + va, "rw");
      if (table.unmap(va, 4096) !== 4096n) throw new Error(`unmap of ${va} in round ${i}`);
    }
  },
  /** Looks up what another maps and unmaps until the word says stop; how often it was there, and how often not. */
  lookUntil(pointer, base, output) {
    const columns = engine.createColumns(3);
    const found = { page: 0, hole: 0 };
    while (Atomics.load(engine.u32, pointer / 4) === 0) {
      for (let i = 0; i < 3; i++) columns.addresses[i] = base + BigInt(i) * 0x20_0000n;
      for (const va of columns.addresses.subarray(0, 3)) {
        const { kind, pa } = table.leaf(va);
        found[kind]++;
        if (kind !== "hole" && (kind !== "page" || pa !== output + va)) throw new Error(`${kind} ${pa} at ${va}`);
      }
      table.leafColumns(columns, 3);
      for (const leaf of columns.values.subarray(0, 3)) if ((leaf & 3n) === 1n) throw new Error(`leaf ${leaf}`);
    }
    columns.close();
    return found;
  },
  /** `n` random operations that others may meet, on a few blocks from `base` on. */
  scramble(n, seed, base, blocks) {
    let state = seed;
    const below = (m) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * m);
    };
    const fault = { shared: true, handleFault: true, cache: "own" };
    for (let i = 0; i < n; i++) {
      const block = base + BigInt(below(blocks)) * 0x20_0000n;
      const page = block + BigInt(below(4)) * 4096n;
      const op = below(8);
      if (op < 3) table.map(page, 4096, 0x10_0000_0000n + page, "rw", fault);
      else if (op === 3) table.map(block, 1 << 21, 0x10_0000_0000n + block, "rw", fault);
      else if (op === 4) table.relaxPerms(page, "w", { shared: true });
      else if (op === 5) table.wrprotect(block, 1 << 21, { shared: true });
      else if (op === 6) table.testClearYoung(block, 1 << 21, true, { shared: true });
      else table.unmap(page, 4096);
    }
  },
  /** `n` times under the lock: one more in a word, by a load and a store that no lock would let meet. */
  countUp(n, mode, pointer, other) {
    const word = pointer / 4;
    let bad = 0;
    for (let i = 0; i < n; i++) {
      const lock = table.lock(mode);
      if (mode === "write") engine.u32[word]++;
      if (mode === "write") engine.u32[other / 4]++;
      if (engine.u32[word] !== engine.u32[other / 4]) bad++;
      lock[Symbol.dispose]();
    }
    return bad;
  },
};

parentPort.on("message", ({ id, method, args }) => {
  try {
    const value = method in verbs ? verbs[method](...args) : table[method](...args);
    parentPort.postMessage({ id, value });
  } catch (error) {
    const { message, stack, code } = error;
    parentPort.postMessage({ id, error: { message, stack, code: code ?? "" } });
  }
});
