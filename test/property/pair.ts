// One random sequence on two tables and the model: the fast table has its journal off, so that whole runs of
// descriptors change at once; the watched one has it on and goes entry by entry. Both must be what the model
// says after every step, their counters must agree, and the journal must show every TLBI that is needed.

import {
  type Counters,
  createEngine,
  type Engine,
  GranuleError,
  JournalKind,
  type Outcome,
  type PageCache,
  type Stage2Table,
} from "../../bindings/index.js";
import type { Annotation } from "./format.js";
import { checkImage } from "./image.js";
import { Stage2Model, type Status } from "./model.js";
import { Obligations } from "./obligations.js";
import type { Config, Op, Sequence } from "./sequence.js";

const KINDS = [
  JournalKind.WRITE,
  JournalKind.WRITE_SHARED,
  JournalKind.TLBI_IPA,
  JournalKind.TLBI_RANGE,
  JournalKind.TLBI_VMID,
  JournalKind.DSB,
  JournalKind.TABLE_FREED,
];

/** What an operation gave: its status, and pages left in its cache. */
interface Given {
  status: Status | "young";
  old?: bigint;
  left?: number;
}

function granuleOf(config: Config): 4096 | 16384 | 65536 {
  return (2 ** config.ps) as 4096 | 16384 | 65536;
}

function createTable(engine: Engine, c: Config): Stage2Table {
  return engine.createStage2({
    granule: granuleOf(c),
    lpa2: c.lpa2,
    pa52: c.wide,
    ipaBits: c.inputBits,
    fwb: c.fwb,
    xnx: c.xnx,
    tlbiRange: c.tlbiRange,
    hardwareDirty: c.dirty,
    quirks: c.linux ? "linux-6.12" : "none",
    annotations: c.typed ? "7.x" : "6.12",
    flags: { identity: c.identity },
    forcePte: c.force,
    strict: false,
  });
}

/** The annotation of owner 0..3: none, owner 1, refused ones on 6.12 tables; a typed one on 7.x tables. */
function annotationOf(c: Config, owner: number): Annotation | null | "EINVAL" {
  if (c.typed) return owner < 2 ? "EINVAL" : { kind: "annotation", hi: ((owner << 28) | 5) >>> 0, lo: 0x1ffe };
  if (owner > 1) return "EINVAL";
  return owner === 0 ? null : { kind: "annotation", lo: 4, hi: 0 };
}

/** One table that a sequence runs on. */
class Side {
  readonly table: Stage2Table;
  readonly #engine: Engine;
  readonly #config: Config;
  readonly #watch: Obligations | undefined;
  readonly #before: Counters;

  constructor(engine: Engine, config: Config, watched: boolean) {
    this.#engine = engine;
    this.#config = config;
    this.#before = engine.counters();
    this.table = createTable(engine, config);
    const { rootPa, rootPages, startLevel } = this.table.info();
    if (watched) this.#watch = new Obligations(config, Number(rootPa), rootPages, startLevel);
  }

  perform(op: Op): Given {
    if (!this.#watch) return this.#withCache(op);
    this.#engine.journal.start(KINDS);
    const given = this.#withCache(op);
    if (this.#engine.journal.lost > 0) throw new Error("the journal is too short");
    const complete = !this.#config.linux && op.op !== "destroyRange";
    const rules = { unmap: op.op === "unmap", complete };
    if (op.op !== "destroyRange") this.#watch.follow(this.#engine.journal.read(), rules);
    else
      this.#watch.follow(
        this.#engine.journal.read().filter((r) => r.kind !== JournalKind.TABLE_FREED),
        rules,
      );
    this.#engine.journal.stop();
    return given;
  }

  #withCache(op: Op): Given {
    const pages = "cache" in op ? op.cache : -1;
    if (pages < 0) return this.#status(op, undefined);
    using cache = this.#engine.createCache(granuleOf(this.#config), Math.max(1, pages));
    cache.fill(pages);
    return { ...this.#status(op, cache), left: cache.count };
  }

  #status(op: Op, cache: PageCache | undefined): Given {
    try {
      return this.#run(op, cache);
    } catch (error) {
      if (error instanceof GranuleError) return { status: error.code as Status };
      throw error;
    }
  }

  #run(op: Op, cache: PageCache | undefined): Given {
    const t = this.table;
    const outcome = (o: Outcome): Given => ({ status: o === "done" ? "ok" : "again" });
    switch (op.op) {
      case "map":
        return outcome(t.map(op.addr, op.size, op.pa, op.prot, { cache, handleFault: op.handleFault }));
      case "relax":
        return outcome(t.relaxPerms(op.addr, op.prot));
      case "age":
        return { status: t.testClearYoung(op.addr, op.size, op.clear) ? "young" : "ok" };
      case "young": {
        const old = t.mkyoung(op.addr);
        return { status: old === 0n ? "again" : "ok", old };
      }
      case "owner":
        if (this.#config.typed) t.annotate(op.addr, op.size, op.owner, 0x5_0000_1ffen, cache);
        else t.setOwner(op.addr, op.size, op.owner, cache);
        return { status: "ok" };
      case "split":
        t.split(op.addr, op.size, cache);
        return { status: "ok" };
      default:
        t[op.op](op.addr, op.size);
        return { status: "ok" };
    }
  }

  /** What was counted since the table was made. */
  counted(): Counters {
    const now = this.#engine.counters();
    for (const name of Object.keys(now) as (keyof Counters)[]) now[name] -= this.#before[name];
    return now;
  }
}

/** The model's word on an operation. */
function predict(model: Stage2Model, c: Config, op: Op): Given {
  const supply = { pages: "cache" in op && op.cache >= 0 ? op.cache : Infinity };
  const given = (status: Status | "young"): Given =>
    supply.pages === Infinity ? { status } : { status, left: supply.pages };
  switch (op.op) {
    case "map": {
      if (c.identity && op.addr !== op.pa) return given("EINVAL");
      const pagesOnly = c.force === "all" || (typeof c.force === "object" && op.addr < c.force.below);
      return given(model.map(op.addr, op.size, op.pa, op.prot, supply, { pagesOnly, handleFault: op.handleFault }));
    }
    case "owner": {
      const value = annotationOf(c, op.owner);
      return given(value === "EINVAL" ? "EINVAL" : model.setOwner(op.addr, op.size, value, supply));
    }
    case "split":
      return given(model.split(op.addr, op.size, supply));
    case "unmap":
    case "destroyRange":
      return { status: model.unmap(op.addr, op.size) };
    case "wrprotect":
      return { status: model.wrprotect(op.addr, op.size) };
    case "age":
      return { status: agedIn(model, c, op) };
    case "relax":
      return { status: model.relax(op.addr, op.prot) };
    case "young": {
      const { status, old } = model.mkyoung(op.addr);
      return { status, ...(status === "ERANGE" ? {} : { old: (BigInt(old[1]) << 32n) | BigInt(old[0]) }) };
    }
    default:
      return { status: c.linux && c.fwb ? "ok" : model.range(op.addr, op.size) ? "ok" : "ERANGE" };
  }
}

/** 6.12's caller of test_clear_young sees "not young" where the range is refused. */
function agedIn(model: Stage2Model, c: Config, op: Extract<Op, { op: "age" }>): Status | "young" {
  const status = model.testClearYoung(op.addr, op.size, op.clear);
  return status === "ERANGE" && c.linux ? "ok" : status;
}

function compare(step: string, expected: Given, actual: Given): void {
  for (const field of ["status", "old", "left"] as const) {
    if (expected[field] === actual[field]) continue;
    throw new Error(`${step}: ${field} is ${String(actual[field])}, the model says ${String(expected[field])}`);
  }
}

/** Two engines with equal arenas, one journalling: made once, used for thousands of tables. */
export interface Engines {
  fast: Engine;
  watched: Engine;
}

export function createEngines(physBase: bigint): Engines {
  const options = { arenaBytes: 96 << 20, maxTables: 4, physBase };
  return { fast: createEngine(options), watched: createEngine({ ...options, journalRecords: 1 << 19 }) };
}

/** Runs a sequence; throws what is wrong. */
export function runSequence(engines: Engines, { config, ops }: Sequence): void {
  const model = new Stage2Model(config);
  const taken = engines.fast.arena().taken;
  const fast = new Side(engines.fast, config, false),
    watched = new Side(engines.watched, config, true);
  try {
    ops.forEach((op, i) => {
      const expected = predict(model, config, op);
      for (const [name, side] of [
        ["fast", fast],
        ["watched", watched],
      ] as const) {
        const step = `step ${i} ${op.op} (${name})`;
        try {
          compare(step, expected, side.perform(op));
          checkImage(side.table, model);
        } catch (error) {
          throw new Error(`${step}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
        }
      }
    });
    compareCounters(fast.counted(), watched.counted());
  } finally {
    engines.watched.journal.stop();
    fast.table.close();
    watched.table.close();
  }
  if (engines.fast.arena().taken !== taken) throw new Error("destroy left pages behind");
  if (engines.watched.arena().taken !== taken) throw new Error("destroy left pages behind (watched)");
}

function compareCounters(fast: Counters, watched: Counters): void {
  for (const name of Object.keys(fast) as (keyof Counters)[]) {
    if (fast[name] === watched[name]) continue;
    throw new Error(`counter ${name}: ${fast[name]} with the journal off, ${watched[name]} with it on`);
  }
}
