/**
 * granule itself, used as an emulator author would: single calls for bulk work, columns of addresses for many faults.
 *
 * @module
 */
import * as K from "../../bindings/core/constants.generated.js";
import {
  type Columns,
  createEngine,
  type Engine,
  type PageCache,
  type Run,
  type Stage2Table,
} from "../../bindings/index.js";
import {
  createMmu,
  createTlb,
  type Mmu,
  type MmuColumns,
  type MmuRegisters,
  stage2Registers,
  type Tlb,
} from "../../bindings/mmu/index.js";
import { LeafDigest, PAGE_SIZE } from "../peers/peer.js";
import type { AddressBatch } from "../random.js";
import type { EngineAdapter } from "./adapter.js";

const ARENA_BYTES = 256 << 20;
const CACHE_PAGES = 40;
const SPLIT_PAGES = 520;
/** Rows per call: many for faults; for lookups only so many that the results are still in the first-level cache. */
const FAULT_ROWS = 8192;
const LOOKUP_ROWS = 2048;
/** No cache maintenance operations, as in the kernel's benchmark. */
const HOOKS = { dcacheCleanInvalPoc: null, icacheInvalPou: null };

/** Input bits that a walk of 4K pages resolves in four levels. */
const FOUR_LEVELS = 48;
/** TCR_EL1: T0SZ 16, EPD1, IPS 48 bits. */
const TCR_48_BITS = 16n | (1n << 23n) | (5n << 32n);
const HCR_DC = 1n << 12n;

function validIn({ words, count }: Run): number {
  let n = 0;
  for (let at = 0; at < 2 * count; at += 2) n += (words[at] as number) & 1;
  return n;
}

/** The Wasm core behind its facade. */
export class WasmAdapter implements EngineAdapter {
  readonly peer: string = "wasm";
  readonly shared: boolean = true;
  #engine: Engine;
  #faults: PageCache;
  #splits: PageCache;
  #staged: Uint32Array | AddressBatch | undefined;
  #pieces: { columns: Columns; rows: number }[] = [];
  #table: Stage2Table;
  #translations: { mmu: Mmu; columns: MmuColumns; tlb: Tlb } | undefined;

  constructor() {
    this.#engine = createEngine({ arenaBytes: ARENA_BYTES, pretouch: true });
    this.#faults = this.#engine.createCache(PAGE_SIZE, CACHE_PAGES);
    this.#splits = this.#engine.createCache(PAGE_SIZE, SPLIT_PAGES);
    this.#table = this.#engine.createStage2({ hooks: HOOKS });
  }

  /** Shared work is done in an engine that expects another walker: locks, sections and all. */
  reset(shared = false): void {
    this.#table.close();
    const walkers = shared ? 2 : 1;
    if (this.#engine.walkerCount !== walkers) this.#remake(walkers);
    this.#table = this.#engine.createStage2({ hooks: HOOKS });
  }

  #remake(walkers: number): void {
    this.#engine.close();
    this.#pieces = [];
    this.#staged = undefined;
    this.#engine = createEngine({ arenaBytes: ARENA_BYTES, walkers, pretouch: true });
    this.#faults = this.#engine.createCache(PAGE_SIZE, CACHE_PAGES);
    this.#splits = this.#engine.createCache(PAGE_SIZE, SPLIT_PAGES);
  }

  stageOrder(order: Uint32Array, ipa: number, pa: number): void {
    if (this.#staged === order) return;
    this.#staged = order;
    this.#stage(order.length, FAULT_ROWS, (columns, row, i) => {
      const offset = (order[i] as number) * PAGE_SIZE;
      columns.addresses[row] = BigInt(ipa + offset);
      columns.values[row] = BigInt(pa + offset);
    });
  }

  stageAddresses(batch: AddressBatch): void {
    if (this.#staged === batch) return;
    this.#staged = batch;
    this.#stage(batch.bytes.length, LOOKUP_ROWS, (columns, row, i) => {
      columns.addresses[row] = BigInt(batch.bytes[i] as number);
    });
  }

  /** Fills as many columns as `n` rows take. */
  #stage(n: number, capacity: number, fill: (columns: Columns, row: number, i: number) => void): void {
    for (const { columns } of this.#pieces) columns.close();
    this.#pieces = [];
    for (let from = 0; from < n; from += capacity) {
      const rows = Math.min(capacity, n - from);
      const columns = this.#engine.createColumns(capacity);
      for (let row = 0; row < rows; row++) fill(columns, row, from + row);
      this.#pieces.push({ columns, rows });
    }
  }

  map(ipa: number, size: number, pa: number, prot: number, forcePages: boolean): number {
    this.#table.setForcePte(forcePages ? "all" : "none");
    return this.#table.map(ipa, size, pa, prot) === "done" ? 0 : K.EAGAIN;
  }

  unmap(ipa: number, size: number): number {
    this.#table.unmap(ipa, size);
    return 0;
  }

  wrprotect(ipa: number, size: number): number {
    this.#table.wrprotect(ipa, size);
    return 0;
  }

  testClearYoung(ipa: number, size: number, clear: boolean): number {
    return this.#table.testClearYoung(ipa, size, clear) ? 1 : 0;
  }

  split(ipa: number, size: number, chunk: number): number {
    for (let at = ipa; at < ipa + size; at += chunk) {
      this.#splits.topUp(Math.ceil(chunk / 2 ** 30) + Math.ceil(chunk / 2 ** 21));
      this.#table.split(at, chunk, this.#splits);
    }
    return 0;
  }

  faultBatch(_order: Uint32Array, _ipa: number, _pa: number, prot: number, shared: boolean): number {
    this.#table.setForcePte("none");
    for (const { columns, rows } of this.#pieces) {
      this.#table.mapColumns(columns, rows, prot, { cache: this.#faults, shared });
    }
    return 0;
  }

  relaxBatch(_order: Uint32Array, _ipa: number, prot: number): number {
    for (const { columns, rows } of this.#pieces) this.#table.relaxColumns(columns, rows, prot);
    return 0;
  }

  lookupBatch(_batch: AddressBatch): number {
    let sum = 0;
    for (const { columns, rows } of this.#pieces) {
      this.#table.leafColumns(columns, rows);
      const { values, statuses } = columns;
      const words = new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
      for (let i = 0; i < rows; i++) sum = (sum + (words[2 * i] as number) + (statuses[i] as number)) | 0;
    }
    return sum >>> 0;
  }

  countLeaves(ipa: number, size: number): number {
    return this.#table.countLeaves(ipa, size);
  }

  readLeaves(ipa: number, size: number): number {
    let n = 0;
    this.#table.walkRuns(ipa, size, (run) => {
      n += validIn(run);
    });
    return n;
  }

  visitLeaves(ipa: number, size: number): number {
    let n = 0;
    this.#table.walk(ipa, size, (visit) => {
      if (visit.valid) n++;
    });
    return n;
  }

  stageTranslations(nested: boolean, batch: AddressBatch, ipa: number, pa: number, pages: number): void {
    this.#translations?.columns.close();
    this.#translations?.tlb.close();
    this.#translations?.mmu.close();
    const engine = this.#engine;
    this.#table.close();
    this.#table = engine.createStage2({ ipaBits: FOUR_LEVELS, forcePte: "all", hooks: HOOKS });
    this.#table.map(ipa, pages * PAGE_SIZE, pa, "rw");
    const mmu = createMmu({ engine, registers: nested ? this.#guest(ipa, pages) : stage2Registers(this.#table) });
    const columns = mmu.createColumns(batch.bytes.length);
    batch.bytes.forEach((address, i) => {
      columns.addresses[i] = BigInt(address);
    });
    this.#translations = { mmu, columns, tlb: createTlb(mmu, { preset: "neoverse-n1" }) };
  }

  /** A guest's table of the same pages, in memory that stage 2 maps as it is; registers for both stages. */
  #guest(ipa: number, pages: number): MmuRegisters {
    const guest = this.#engine.createHyp({ vaBits: FOUR_LEVELS });
    for (let i = 0; i < pages; i++) guest.map(ipa + i * PAGE_SIZE, PAGE_SIZE, ipa + i * PAGE_SIZE, "rw");
    this.#table.map(this.#engine.physBase, ARENA_BYTES, this.#engine.physBase, "rw");
    const { vtcr, vttbr, hcr } = stage2Registers(this.#table);
    const ttbr0 = guest.info().rootPa;
    return {
      hcr: BigInt(hcr ?? 0) & ~HCR_DC,
      sctlr: 1,
      tcr: TCR_48_BITS,
      ttbr0,
      mair: 0xff,
      vtcr,
      vttbr,
    } as MmuRegisters;
  }

  translateBatch(): number {
    const { mmu, columns } = this.#translations as { mmu: Mmu; columns: MmuColumns };
    return mmu.translateMany(columns, columns.addresses.length, "r");
  }

  accessBatch(): number {
    const { tlb, columns } = this.#translations as { tlb: Tlb; columns: MmuColumns };
    return tlb.accessMany(columns, columns.addresses.length, "r");
  }

  tableBytes(): number {
    const info = this.#table.info();
    return (info.pages - info.rootPages) * PAGE_SIZE;
  }

  digest(): string {
    const digest = new LeafDigest();
    for (const leaf of this.#table.leaves()) {
      const low = Number(leaf.descriptor & 0xffffffffn);
      digest.add(Number(leaf.address), leaf.level, low, Number(leaf.descriptor >> 32n));
    }
    return digest.toString();
  }
}
