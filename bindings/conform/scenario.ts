import * as K from "../core/constants.generated.js";
import { GranuleError } from "../core/errors.js";
import { hex } from "../model/address.js";
import { protFromNames, protNames } from "../model/protection.js";
import { printableValue } from "../report/printable.js";
import type { PageCache } from "../tables/cache.js";
import type { Engine } from "../tables/engine.js";
import type { MmOps } from "../tables/hooks.js";
import type { HypTable } from "../tables/hyp.js";
import type { EngineOptions } from "../tables/layout.js";
import type { Stage2Config, Stage2Table } from "../tables/stage2.js";
import type { Table } from "../tables/table.js";
import { CanonicalDumper } from "./canonical.js";
import { type Event, EventDigest, type Hash } from "./digest.js";
import { type Header, integer, type Line, names, number64, VectorSyntaxError } from "./format.js";

/** What an operation gave: the same fields as in the file. */
export type Actual = Record<string, unknown>;

/** What a scenario needs from its surroundings. */
export interface Surroundings {
  createEngine: (options: EngineOptions) => Engine;
  /** A new SHA-256. Without it nothing is recorded, and only `apply` may be used. */
  createHash?: () => Hash;
  /** Behaviour of the tables; the files are recorded from Linux 6.12. */
  quirks?: "none" | "linux-6.12";
  arenaBytes?: number;
  /** Physical address of the table memory, in place of the header's. */
  physBase?: bigint;
  /**
   * Called at every table that a walk descends to, while an operation is under way, so that whoever reads the journal can
   * keep up with an operation that makes more records than it holds. Descents then go through a hook.
   */
  onDescent?: () => void;
  /** Called after each operation of a script. */
  afterEach?: (line: number) => void;
}

/** An operation made more events than the journal holds, and nobody read them meanwhile: do all again, and read them. */
export class JournalOverrun extends Error {
  override readonly name = "JournalOverrun";
}

/** Records of the journal. It is read when it is half full: between two tables there are far fewer. */
export const JOURNAL_RECORDS: number = 1 << 20;
const EVENT_KINDS = [
  K.J_TLBI_IPA,
  K.J_TLBI_IPA_LOCAL,
  K.J_TLBI_RANGE,
  K.J_TLBI_VMID,
  K.J_TLBI_VA,
  K.J_TLBI_VA_LAST,
  K.J_DCACHE,
  K.J_ICACHE,
];
/** Names of the walk flags: the facade's option, and the flag itself. */
const WALK_FLAGS: Readonly<Record<string, readonly [string, number]>> = {
  LEAF: ["leaf", K.LEAF],
  TABLE_PRE: ["tablePre", K.TABLE_PRE],
  TABLE_POST: ["tablePost", K.TABLE_POST],
  SHARED: ["shared", K.SHARED],
  HANDLE_FAULT: ["handleFault", K.HANDLE_FAULT],
  SKIP_BBM_TLBI: ["skipBreakTlbi", K.SKIP_BBM_TLBI],
  SKIP_CMO: ["skipCacheMaintenance", K.SKIP_CMO],
};
const MAX_EVENTS = 64;
const MAX_VISITS = 200;

/** The walk flags of a line, each with its option. */
function walkFlagsOf(line: Line, n: number): (readonly [string, number])[] {
  return names(line, "walk_flags", n).map((name) => {
    const flag = Object.hasOwn(WALK_FLAGS, name) ? WALK_FLAGS[name] : undefined;
    if (!flag) throw new VectorSyntaxError(n, `unknown walk flag ${printableValue(name)}`);
    return flag;
  });
}

function walkOptions(line: Line, n: number): Record<string, boolean> {
  const options: Record<string, boolean> = { leaf: false };
  for (const [option] of walkFlagsOf(line, n)) options[option] = true;
  return options;
}

/** A table in an engine of its own, on which the lines of one file are performed. */
export class Scenario implements Disposable {
  readonly engine: Engine;
  readonly table: Table;
  readonly #header: Header;
  readonly #createHash: (() => Hash) | undefined;
  readonly #onDescent: (() => void) | undefined;
  readonly #quirks: "none" | "linux-6.12";
  readonly #dumper: CanonicalDumper;
  /** The last dump and its hash: most operations of a file change nothing, and hashing is what takes longest. */
  #dumped: Uint8Array | undefined;
  #hash = "";
  #cache: PageCache | undefined;
  /** Events of the operation under way, and how many records of the journal they come from. */
  #events: EventDigest | undefined;
  #read = 0;

  constructor(header: Header, surroundings: Surroundings) {
    this.#header = header;
    this.#createHash = surroundings.createHash;
    this.#onDescent = surroundings.onDescent;
    this.#quirks = surroundings.quirks ?? "linux-6.12";
    const observe = this.#createHash !== undefined;
    this.engine = surroundings.createEngine({
      arenaBytes: surroundings.arenaBytes ?? 256 << 20,
      physBase: surroundings.physBase ?? BigInt(header.arena_base),
      journalRecords: observe ? JOURNAL_RECORDS : 0,
    });
    this.table = header.stage === "hyp" ? this.#hyp(header.va_bits as number) : this.#stage2(this.vtcr());
    this.#dumper = new CanonicalDumper(this.table);
    if (observe) this.engine.journal.start(EVENT_KINDS);
  }

  #hooks(): MmOps {
    const { mm_ops } = this.#header;
    const onDescent = this.#onDescent;
    return {
      ...(onDescent ? { physToVirt: (pa) => (onDescent(), this.#pointer(pa)) } : {}),
      ...(mm_ops.dcache ? {} : { dcacheCleanInvalPoc: null }),
      ...(mm_ops.icache ? {} : { icacheInvalPou: null }),
    };
  }

  /** Pointer of the page at a physical address of the arena, 0 for none. */
  #pointer(pa: bigint): number {
    const offset = Number(pa - this.engine.physBase);
    return offset >= 0 && offset < this.engine.arenaBytes ? offset + this.engine.arenaPointer : 0;
  }

  #hyp(vaBits: number): HypTable {
    const h = this.#header;
    return this.engine.createHyp({
      granule: h.granule,
      lpa2: h.lpa2,
      pa52: h.pa_bits52,
      vaBits,
      hvhe: h.hvhe,
      bti: h.bti,
      pageCount: h.mm_ops.page_count,
      quirks: this.#quirks,
      strict: false, // a recording says what the kernel was asked
      hooks: this.#hooks(),
    });
  }

  /** VTCR_EL2 of the header's CPU, or of other ID registers and sizes. */
  vtcr(
    mmfr0 = BigInt(this.#header.mmfr0 ?? "0x5"),
    mmfr1 = BigInt(this.#header.mmfr1 ?? "0x20"),
    bits = this.#header.phys_shift ?? 40,
  ): bigint {
    const h = this.#header;
    const wide = h.lpa2 || (h.granule === 65536 && h.pa_bits52) ? 1 : 0;
    const value = this.engine.core.vtcr(Math.log2(h.granule), bits, mmfr0, mmfr1, h.lpa2 ? 1 : 0, wide, h.ac03 ? 0 : 1);
    return BigInt.asUintN(64, value);
  }

  #stage2(vtcr: bigint): Stage2Table {
    const h = this.#header;
    const config: Stage2Config = {
      granule: h.granule,
      lpa2: h.lpa2,
      pa52: h.pa_bits52,
      vtcr,
      fwb: h.fwb,
      tlbiRange: h.tlbi_range,
      quirks: this.#quirks,
      strict: false,
      flags: { noFwb: h.flags.includes("NOFWB"), identity: h.flags.includes("IDMAP") },
      hooks: this.#hooks(),
      forcePte: typeof h.force_pte === "object" ? { below: BigInt(h.force_pte.below) } : h.force_pte,
    };
    return this.engine.createStage2(config);
  }

  /** Geometry of the table, as the header states it. */
  geometry(): Actual {
    const info = this.table.info();
    const geometry: Actual = { ia_bits: info.inputBits, start_level: info.startLevel, pgd_pages: info.rootPages };
    if (this.#header.stage === "stage2") geometry.vtcr = hex(this.vtcr());
    return geometry;
  }

  /** The canonical dump as text lines. */
  dump(): string[] {
    const text = new TextDecoder().decode(this.#dumper.dump());
    return text === "" ? [] : text.slice(0, -1).split("\n");
  }

  #dumpHash(): string {
    const bytes = this.#dumper.dump();
    if (bytes !== this.#dumped) {
      this.#dumped = bytes;
      this.#hash = this.#sha256(bytes);
    }
    return this.#hash;
  }

  #hasher(): Hash {
    if (this.#createHash === undefined) throw new Error("a scenario that hashes nothing was asked for results");
    return this.#createHash();
  }

  #sha256(bytes: Uint8Array): string {
    const hash = this.#hasher();
    hash.update(bytes);
    return hash.digest("hex");
  }

  /** Performs an operation line, and looks at nothing but what it returns. */
  apply(line: Line, n: number): Actual {
    const name: unknown = line.op;
    const perform = typeof name === "string" && Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name] : undefined;
    if (!perform) throw new VectorSyntaxError(n, `unknown operation ${printableValue(name)}`);
    this.#cache = this.#cacheFor(line, n);
    try {
      const result = perform(this, line, n);
      if (this.#cache) result.mc_left = this.#cache.count;
      return result;
    } finally {
      this.#cache?.close();
      this.#cache = undefined;
    }
  }

  /** Performs an operation line; every result field of docs/formats/operations.md. */
  perform(line: Line, n: number): Actual {
    this.engine.journal.clear();
    this.#read = 0;
    const events = new EventDigest(MAX_EVENTS, () => this.#hasher());
    this.#events = events;
    const before = this.engine.counters();
    const result = this.apply(line, n);
    const after = this.engine.counters();
    this.readEvents();
    return {
      ...result,
      events: events.result("events"),
      alloc: after.tablesTaken - before.tablesTaken,
      free: after.tablesFreed - before.tablesFreed,
      live: after.tablesTaken - after.tablesFreed,
      pgd_rc: this.#rootReferences(),
      warn: after.warnings - before.warnings,
      sha256: this.#dumpHash(),
    };
  }

  #cacheFor(line: Line, n: number): PageCache | undefined {
    if (line.mc === undefined || line.mc === null) return undefined;
    const pages = integer(line, "mc", n);
    const cache = this.engine.createCache(this.#header.granule, Math.max(pages, 1));
    if (!cache.fill(pages)) throw new VectorSyntaxError(n, `mc ${pages}: the arena has not that many pages`);
    return cache;
  }

  /** Where an operation takes tables: its cache, nowhere for `null`, the arena where the line names none. */
  cacheOption(line: Line): PageCache | "arena" | null {
    return this.#cache ?? (line.mc === null ? null : "arena");
  }

  #rootReferences(): number {
    const info = this.table.info();
    if (info.rootPa === 0n) return 0;
    const root = Number(info.rootPa - this.engine.physBase) + this.engine.arenaPointer;
    let sum = 0;
    for (let i = 0; i < info.rootPages; i++) sum += this.engine.core.pageReferences(root + i * info.granule);
    return sum;
  }

  /** Events that the operation under way has made and that nobody has read yet. */
  get unread(): number {
    return this.engine.journal.total - this.#read;
  }

  /** Takes the unread events out of the journal. */
  readEvents(): void {
    const { unread } = this;
    if (unread > JOURNAL_RECORDS) throw new JournalOverrun(`${unread} events are more than the journal holds`);
    for (const r of this.engine.journal.read(0, this.#read)) {
      this.#events?.add(EVENTS[r.kind]?.(hex(r.address), r.level, r.a) ?? ["unknown", r.kind]);
    }
    this.#read += unread;
  }

  walk(line: Line, n: number): Actual {
    // A script wants no results: nothing to digest then.
    const visits = this.#createHash && new EventDigest(MAX_VISITS, () => this.#hasher());
    let visited = 0;
    const failAt = line.fail_at === undefined ? -1 : integer(line, "fail_at", n);
    const failRet = line.fail_ret === undefined ? 0 : integer(line, "fail_ret", n);
    const mask = BigInt.asUintN(64, this.engine.core.outputMask(this.table.format.ps, this.#header.lpa2 ? 1 : 0));
    const ret = this.table.walk(
      number64(line, "addr", n),
      number64(line, "size", n),
      (visit) => {
        const old = visit.kind === "table" ? visit.old & ~mask : visit.old;
        visits?.add([visit.phase, hex(visit.address), visit.level, hex(old)]);
        return visited++ === failAt ? failRet : 0;
      },
      walkOptions(line, n),
    );
    return visits === undefined ? { ret } : { ret, visits: visits.result("visits") };
  }

  getVtcr(line: Line, n: number): Actual {
    const vtcr = this.vtcr(number64(line, "mmfr0", n), number64(line, "mmfr1", n), integer(line, "phys_shift", n));
    const scratch = this.#stage2(vtcr);
    const info = scratch.info();
    scratch.close();
    return {
      ret: hex(vtcr),
      pgd_size: hex(info.rootPages * info.granule),
      ia_bits: info.inputBits,
      start_level: info.startLevel,
      init_ret: 0,
    };
  }

  hypInit(line: Line, n: number): Actual {
    const vaBits = integer(line, "va_bits", n);
    const result: Actual = {};
    result.ret = status(() => {
      using scratch = this.#hyp(vaBits);
      result.ia_bits = scratch.info().inputBits;
      result.start_level = scratch.info().startLevel;
    });
    return result;
  }

  createUnlinked(line: Line, n: number): Actual {
    const table = this.table as Stage2Table;
    const level = integer(line, "level", n);
    const before = this.engine.counters().tablesTaken;
    let page = 0;
    const ret = status(() => {
      page = table.createUnlinked(number64(line, "phys", n), level, protFromNames(names(line, "prot", n)), {
        cache: this.cacheOption(line),
        forcePte: line.force_pte === true,
      });
    });
    if (ret) return { ret };
    const result: Actual = {
      ret,
      unlinked_pages: this.engine.counters().tablesTaken - before,
      unlinked_rc: this.engine.core.pageReferences(page),
    };
    if (this.#createHash) {
      const dump = new CanonicalDumper(table).dump({ pointer: page, level: level + 1 });
      result.unlinked_sha256 = this.#sha256(dump);
    }
    table.freeUnlinked(page, level);
    return result;
  }

  [Symbol.dispose](): void {
    this.engine.close();
  }
}

const EVENTS: Readonly<Record<number, (address: string, level: number, a: bigint) => Event>> = {
  [K.J_TLBI_IPA]: (address, level) => ["tlb_flush_vmid_ipa", address, level],
  [K.J_TLBI_IPA_LOCAL]: (address, level) => ["tlb_flush_vmid_ipa_nsh", address, level],
  [K.J_TLBI_RANGE]: (address, _level, pages) => ["tlb_flush_vmid_range", address, Number(pages)],
  [K.J_TLBI_VMID]: () => ["tlb_flush_vmid"],
  [K.J_TLBI_VA]: (address, level) => ["tlbi_vae2is", address, level],
  [K.J_TLBI_VA_LAST]: (address, level) => ["tlbi_vale2is", address, level],
  [K.J_DCACHE]: (address, _level, bytes) => ["dcache", address, hex(bytes)],
  [K.J_ICACHE]: (address, _level, bytes) => ["icache", address, hex(bytes)],
};

/** 0, or the errno that the operation threw. */
function status(operation: () => unknown): number {
  try {
    return operation() === "again" ? K.EAGAIN : 0;
  } catch (error) {
    if (error instanceof GranuleError) return error.errno;
    throw error;
  }
}

type Perform = (s: Scenario, line: Line, n: number) => Actual;

function stage2(s: Scenario, n: number): Stage2Table {
  if (s.table.isHyp) throw new VectorSyntaxError(n, "a stage-2 operation on a hyp table");
  return s.table as Stage2Table;
}

function hyp(s: Scenario, n: number): HypTable {
  if (!s.table.isHyp) throw new VectorSyntaxError(n, "a hyp operation on a stage-2 table");
  return s.table as HypTable;
}

/** An operation on the table's [addr, addr + size) whose result is a status. */
function ranged(operation: (t: Stage2Table, addr: bigint, size: bigint, s: Scenario, line: Line) => unknown): Perform {
  return (s, line, n) => {
    const t = stage2(s, n);
    return { ret: status(() => operation(t, number64(line, "addr", n), number64(line, "size", n), s, line)) };
  };
}

/** What performs each operation of a file, by its name there. */
export const OPERATIONS: Readonly<Record<string, Perform>> = {
  map: (s, line, n) => {
    const [addr, size, phys] = ["addr", "size", "phys"].map((name) => number64(line, name, n)) as [
      bigint,
      bigint,
      bigint,
    ];
    const prot = protFromNames(names(line, "prot", n));
    // The flags as they are: a recording asks for visits that the facade's own map has no option for.
    const flags = walkFlagsOf(line, n).reduce((all, [, flag]) => all | flag, 0);
    const table = stage2(s, n);
    const cache = s.cacheOption(line);
    return {
      ret: status(() => table.perform(K.OP_MAP, "map", addr, size, phys, prot, flags, cache) === K.EAGAIN && "again"),
    };
  },
  unmap: ranged((t, addr, size) => t.unmap(addr, size)),
  set_owner: (s, line, n) => {
    const owner = integer(line, "owner", n);
    const [addr, size] = [number64(line, "addr", n), number64(line, "size", n)];
    return { ret: status(() => stage2(s, n).setOwner(addr, size, owner, s.cacheOption(line))) };
  },
  wrprotect: ranged((t, addr, size) => t.wrprotect(addr, size)),
  mkyoung: (s, line, n) => {
    let old = 0n;
    status(() => {
      old = stage2(s, n).mkyoung(number64(line, "addr", n));
    });
    return { ret: hex(old) };
  },
  test_clear_young: (s, line, n) => {
    let young = false;
    status(() => {
      young = stage2(s, n).testClearYoung(number64(line, "addr", n), number64(line, "size", n), line.mkold === true);
    });
    return { ret: young };
  },
  relax_perms: (s, line, n) => {
    const prot = protFromNames(names(line, "prot", n));
    return { ret: status(() => stage2(s, n).relaxPerms(number64(line, "addr", n), prot)) };
  },
  flush: ranged((t, addr, size) => t.flush(addr, size)),
  split: ranged((t, addr, size, s, line) => t.split(addr, size, s.cacheOption(line))),
  get_leaf: (s, line, n) => {
    const result: Actual = {};
    result.ret = status(() => {
      const leaf = s.table.leaf(number64(line, "addr", n));
      result.pte = hex(leaf.descriptor);
      result.level = leaf.level;
    });
    return result;
  },
  walk: (s, line, n) => s.walk(line, n),
  create_unlinked: (s, line, n) => s.createUnlinked(line, n),
  tlb_flush_range: (s, line, n) => {
    stage2(s, n).flushTlbRange(number64(line, "addr", n), number64(line, "size", n));
    return { ret: null };
  },
  pte_prot: (s, line, n) => {
    const prot = s.engine.core.protectionOf(number64(line, "pte", n), s.table.format.flags, 0) >>> 0;
    return { ret: protNames(prot) };
  },
  get_vtcr: (s, line, n) => s.getVtcr(line, n),
  hyp_map: (s, line, n) => {
    const prot = protFromNames(names(line, "prot", n));
    const [addr, size, phys] = ["addr", "size", "phys"].map((name) => number64(line, name, n)) as [
      bigint,
      bigint,
      bigint,
    ];
    return { ret: status(() => hyp(s, n).map(addr, size, phys, prot, { cache: s.cacheOption(line) })) };
  },
  hyp_unmap: (s, line, n) => {
    let bytes = 0n;
    status(() => {
      bytes = hyp(s, n).unmap(number64(line, "addr", n), number64(line, "size", n));
    });
    return { ret: hex(bytes) };
  },
  hyp_init: (s, line, n) => s.hypInit(line, n),
  destroy: (s) => {
    s.table.destroy();
    return { ret: null };
  },
  poke: (s, line, n) => {
    const { old, level } = s.table.poke(number64(line, "addr", n), number64(line, "pte", n));
    return { ret: hex(old), level_found: level };
  },
};
