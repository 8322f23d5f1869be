// All eleven memory operations of a table in JavaScript: pages from the engine's blocks, reference counts in a map.

import type { Engine, MmOps } from "../../bindings/index.js";

export class HostMemory {
  readonly #engine: Engine;
  readonly counts = new Map<number, number>();
  /** How often each operation was called. */
  readonly calls: Record<string, number> = {};
  /** Detached tables, kept for later as after a grace period [LCK-10]. */
  readonly detached: { pointer: number; level: number }[] = [];
  /** Called before each operation; may throw. */
  before: (name: string) => void = () => {};

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  #called(name: string): void {
    this.calls[name] = (this.calls[name] ?? 0) + 1;
    this.before(name);
  }

  /** Pages that are in use. */
  get live(): number {
    return this.counts.size;
  }

  ops(): Required<MmOps> {
    const engine = this.#engine,
      { counts } = this;
    const called = (name: string) => this.#called(name);
    return {
      zallocPage: () => {
        called("zallocPage");
        const p = engine.takeBlock(4096);
        counts.set(p, 1);
        return p;
      },
      zallocPagesExact: (bytes) => {
        called("zallocPagesExact");
        const p = engine.takeBlock(bytes);
        for (let at = 0; at < bytes; at += 4096) counts.set(p + at, 1);
        return p;
      },
      freePagesExact: (p, bytes) => {
        called("freePagesExact");
        for (let at = 0; at < bytes; at += 4096) counts.delete(p + at);
        engine.giveBlock(p);
      },
      freeUnlinkedTable: (pointer, level) => {
        called("freeUnlinkedTable");
        this.detached.push({ pointer, level });
      },
      getPage: (p) => {
        called("getPage");
        counts.set(p, (counts.get(p) ?? 0) + 1);
      },
      putPage: (p) => {
        called("putPage");
        const n = (counts.get(p) ?? 0) - 1;
        counts.set(p, n);
        if (n > 0) return false;
        counts.delete(p);
        engine.giveBlock(p);
        return true;
      },
      pageCount: (p) => {
        called("pageCount");
        return counts.get(p) ?? 0;
      },
      physToVirt: (pa) => {
        called("physToVirt");
        return Number(pa - engine.physBase) + engine.arenaPointer;
      },
      virtToPhys: (p) => {
        called("virtToPhys");
        return BigInt(p - engine.arenaPointer) + engine.physBase;
      },
      dcacheCleanInvalPoc: () => called("dcacheCleanInvalPoc"),
      icacheInvalPou: () => called("icacheInvalPou"),
    };
  }
}
