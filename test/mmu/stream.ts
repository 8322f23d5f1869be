// Operations of one walker, each as other CPUs see it.

import { createEngine, type Engine, type Stage2Table } from "../../dist/bindings/index.js";
import type { TlbStats } from "../../dist/bindings/mmu/index.js";
import type { Random } from "../support/random.js";
import { BASE, BLOCK, BLOCKS, CPUS, type CpuOptions, Cpus, IPA, OLDEST_PA, PAGE } from "./cpus.js";

const ARENA = 2 << 20;

/** How a run is made. */
export interface StreamOptions extends CpuOptions {
  operations?: number;
}

export class Stream {
  readonly #random: Random;
  readonly #engine: Engine;
  readonly #table: Stage2Table;
  readonly #cpus: Cpus;

  constructor(random: Random, seed: number, options: StreamOptions) {
    this.#random = random;
    this.#engine = createEngine({ arenaBytes: ARENA, physBase: BASE, journalRecords: 1 << 15 });
    const tlbiRange = random.oneIn(2);
    this.#table = this.#engine.createStage2({ ipaBits: 39, tlbiRange, fwb: random.oneIn(2) });
    this.#cpus = new Cpus(this.#engine, this.#table, random, seed, options);
    this.#engine.journal.start();
  }

  close(): void {
    this.#cpus.close();
    this.#engine.close();
  }

  get stats(): TlbStats[] {
    return this.#cpus.stats;
  }

  /** One random operation; what it touches is looked at more often than the rest. */
  #operate(): void {
    const r = this.#random,
      t = this.#table;
    const whole = r.oneIn(3);
    const address = whole ? IPA + r.below(BLOCKS) * BLOCK : this.#cpus.address();
    const size = whole ? BLOCK : PAGE * (1 + r.below(4));
    this.#cpus.window = Array.from({ length: 8 }, () =>
      Math.floor((address - IPA + r.below(size / PAGE) * PAGE) / PAGE),
    );
    const cache = this.#engine.createCache();
    cache.topUp(8);
    switch (r.below(9)) {
      case 0:
      case 1:
      case 2:
        t.map(address, size, OLDEST_PA + r.below(64) * BLOCK + (address % BLOCK), r.pick(["r", "rw", "rwx"]));
        break;
      case 3:
      case 4:
        t.unmap(address, size);
        break;
      case 5:
        t.wrprotect(address, size);
        t.flushTlbRange(address, size);
        break;
      case 6:
        t.relaxPerms(address, r.pick(["w", "x", "rw"]));
        break;
      case 7:
        if (whole) t.split(address, size, cache);
        else t.mkyoung(address);
        break;
      default:
        t.map(IPA + r.below(BLOCKS) * BLOCK, BLOCK, OLDEST_PA + r.below(64) * BLOCK, "rw");
    }
    cache.close();
  }

  /** Operations until one shows a violation, or `n`. */
  run(n: number): string | undefined {
    const r = this.#random;
    for (let i = 0; i < n; i++) {
      this.#operate();
      const { journal } = this.#engine;
      if (journal.lost > 0) throw new Error("the journal is too small");
      const records = journal.read();
      journal.clear();
      const cpu = r.below(CPUS);
      for (const record of records) {
        this.#cpus.apply(record, cpu);
        if (r.oneIn(1 + Math.floor(records.length / 30))) {
          const wrong = this.#cpus.look(false);
          if (wrong) return `operation ${i}, in it: ${wrong}`;
        }
      }
      for (let k = 0; k < 30; k++) {
        const wrong = this.#cpus.look(true);
        if (wrong) return `operation ${i}, after it: ${wrong}`;
      }
    }
    return this.#cpus.compare();
  }
}
