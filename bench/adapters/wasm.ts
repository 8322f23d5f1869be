/**
 * granule itself, used as an emulator author would: single calls for bulk work, batches of records for the rest.
 * Filling the records is part of what is timed.
 *
 * @module
 */
import * as K from "../../bindings/core/constants.generated.js";
import { type Batch, createEngine, type Engine, type PageCache, type Stage2Table } from "../../bindings/index.js";
import { LeafDigest, PAGE_SIZE } from "../peers/peer.js";
import type { AddressBatch } from "../random.js";
import type { EngineAdapter } from "./adapter.js";

const ARENA_BYTES = 256 << 20;
const CACHE_PAGES = 40;
const SPLIT_PAGES = 520;
/** 1,024 records are 64 KiB: they stay in the second-level cache beside the tables. */
const BATCH = 1024;
const WORDS = K.SUBMIT_BYTES / 4;
const HIGH = 2 ** 32;

/** The Wasm core behind its facade. */
export class WasmAdapter implements EngineAdapter {
  readonly peer: string = "wasm";
  readonly shared: boolean = true;
  readonly #engine: Engine;
  readonly #batch: Batch;
  readonly #faults: PageCache;
  readonly #splits: PageCache;
  readonly #leaves: BigUint64Array = new BigUint64Array(1 << 20);
  readonly #levels: Int8Array = new Int8Array(1 << 20);
  #addresses: BigUint64Array = new BigUint64Array(0);
  #table: Stage2Table;

  constructor() {
    this.#engine = createEngine({ arenaBytes: ARENA_BYTES, pretouch: true });
    this.#batch = this.#engine.createBatch(BATCH);
    this.#faults = this.#engine.createCache(PAGE_SIZE, CACHE_PAGES);
    this.#splits = this.#engine.createCache(PAGE_SIZE, SPLIT_PAGES);
    this.#table = this.#engine.createStage2();
  }

  reset(): void {
    this.#table.close();
    this.#table = this.#engine.createStage2();
  }

  stageAddresses(batch: AddressBatch): void {
    this.#addresses = new BigUint64Array(batch.words.buffer, batch.words.byteOffset, batch.words.length / 2);
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

  faultBatch(order: Uint32Array, ipa: number, pa: number, prot: number, shared: boolean): number {
    this.#table.setForcePte("none");
    const flags = K.HANDLE_FAULT | K.SUBMIT_TOP_UP | (shared ? K.SHARED : 0);
    return this.#pages(K.OP_MAP, order, ipa, pa, prot, flags);
  }

  relaxBatch(order: Uint32Array, ipa: number, prot: number): number {
    return this.#pages(K.OP_RELAX_PERMS, order, ipa, 0, prot, 0);
  }

  /** One operation per page of `order`, BATCH records a call. */
  #pages(op: number, order: Uint32Array, ipa: number, pa: number, prot: number, flags: number): number {
    const { u32 } = this.#engine;
    const first = this.#batch.pointer / 4;
    for (let i = 0; i < BATCH; i++) {
      const word = first + i * WORDS;
      u32[word] = op;
      u32[word + 1] = flags;
      u32[word + 2] = this.#table.handle;
      u32[word + 3] = this.#faults.handle;
      u32[word + 6] = PAGE_SIZE;
      u32[word + 7] = 0;
      u32[word + 10] = prot;
      u32[word + 11] = 0;
    }
    for (let done = 0; done < order.length; ) {
      const n = Math.min(BATCH, order.length - done);
      for (let i = 0; i < n; i++) this.#address(first + i * WORDS, (order[done + i] as number) * PAGE_SIZE, ipa, pa);
      this.#batch.setLength(n);
      const ran = this.#batch.run();
      if (ran < n) return this.#batch.result(ran - 1).status;
      done += n;
    }
    return 0;
  }

  #address(word: number, offset: number, ipa: number, pa: number): void {
    const { u32 } = this.#engine;
    const from = ipa + offset;
    const to = pa + offset;
    u32[word + 4] = from;
    u32[word + 5] = from / HIGH;
    u32[word + 8] = to;
    u32[word + 9] = to / HIGH;
  }

  lookupBatch(batch: AddressBatch): number {
    const n = batch.bytes.length;
    this.#table.leaves64(this.#addresses, this.#leaves, this.#levels);
    const words = new Uint32Array(this.#leaves.buffer);
    let sum = 0;
    for (let i = 0; i < n; i++) sum = (sum + (words[2 * i] as number) + (this.#levels[i] as number)) >>> 0;
    return sum;
  }

  countLeaves(ipa: number, size: number): number {
    return this.#table.countLeaves(ipa, size);
  }

  visitLeaves(ipa: number, size: number): number {
    let n = 0;
    this.#table.walk(ipa, size, (visit) => {
      if (visit.old & 1n) n++;
    });
    return n;
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
