// The hardware's walker with random registers, overwritten contexts, memory and pointers. It may report faults, but must never trap.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { instantiateMmu } from "../../bindings/core/mmu-core.js";
import { BankView, ContextView } from "../../bindings/core/mmu-views.generated.js";
import { Words } from "../../bindings/core/view.js";
import { createMmu, createTlb } from "../../bindings/mmu/index.js";
import { Random, runs, SEED } from "../support/random.js";

const PAGES = 4;
const BYTES = PAGES * 65536;
const EINVAL = -22;
/** The header of a TLB, and room for entries. */
const TLB_BYTES = K.TLB_HEADER_BYTES + 8 * (K.TLB_ENTRY_BYTES + K.TLB_APART_BYTES) + K.BANKS * K.TLB_BANK_SLACK;
const DOUBLES = [NaN, Infinity, -Infinity, -0, -1, 0.5, 2 ** 53 - 1, 1 - 2 ** 53, 2 ** 53, -(2 ** 63), 2 ** 64, 1e300];
const wasm = new WebAssembly.Module(readFileSync(new URL("../../build/mmu.wasm", import.meta.url)));

/** Offset of the first byte of a context that the walker decodes for itself, behind what the host writes and the magic. */
function decodedAt(): number {
  const words = new Words(new ArrayBuffer(K.CONTEXT_BYTES));
  new ContextView(words).flags = 1;
  return words.u32.indexOf(1) * 4;
}

const DECODED = decodedAt();

class Attacker {
  readonly memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  readonly core = instantiateMmu(wasm, this.memory);
  readonly #words = new Words(this.memory.buffer);
  readonly #u64 = this.#words.u64;
  readonly #u32 = this.#words.u32;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
    for (let i = 0; i < 4096; i++) this.#u64[random.below(BYTES / 8)] = this.#descriptor();
  }

  /** Something that leads somewhere: a table, a leaf, or noise. */
  #descriptor(): bigint {
    const r = this.#random;
    if (r.oneIn(4)) return r.u64();
    const target = BigInt(r.below(BYTES)) & ~4095n;
    const extra = r.oneIn(3) ? r.u64() & 0xfff0_0000_0000_0ffcn : 0n;
    return target | extra | BigInt(r.below(4)) | (r.oneIn(2) ? 0x4c0n : 0n);
  }

  #pointer(): number {
    const r = this.#random;
    if (r.oneIn(6)) return r.pick([0, 8, 4, BYTES - 8, BYTES - 64, BYTES, 0x7fff_fff8, 0xffff_fff8, 0xffff_ffff]);
    return r.below(BYTES) & (r.oneIn(10) ? ~0 : ~7);
  }

  #control(): bigint {
    const r = this.#random;
    const t0sz = BigInt(r.pick([12, 16, 24, 25, 32, 40, 47, 48, r.below(64)]));
    const high = r.oneIn(2) ? (r.u64() & 0xffff_ffff_0000_0000n) | (t0sz << 16n) : 0n;
    return r.oneIn(4)
      ? r.u64()
      : t0sz | (BigInt(r.below(4)) << 6n) | (BigInt(r.below(4)) << 14n) | (BigInt(r.below(256)) << 16n) | high;
  }

  configure(context: number): number {
    const r = this.#random;
    if (context % 8 === 0 && context + K.CONTEXT_BYTES <= BYTES) {
      const at = context / 8;
      const base = r.oneIn(3) ? 0n : r.u64() & ~7n & (r.oneIn(2) ? (1n << 40n) - 1n : ~0n);
      const flags = (1n << 0n) | (1n << 12n) | (1n << 46n) | (1n << 34n);
      const root = () => base + (BigInt(r.below(BYTES)) & ~4095n);
      const values = [
        r.oneIn(3) ? r.u64() : r.u64() & flags,
        r.u64() | BigInt(r.below(2)),
        this.#control(),
        root(),
        root(),
        r.u64(),
      ];
      [...values, this.#control(), root(), base].forEach((value, i) => {
        this.#u64[at + i] = BigInt.asUintN(64, value);
      });
      const view = new ContextView(this.#words, context);
      view.pointer = r.oneIn(8) ? this.#pointer() : 0;
      view.bytes = r.oneIn(6) ? r.u32() : BYTES;
      view.regime = r.oneIn(20) ? r.u32() : 1 + r.below(2);
      view.features = r.oneIn(20) ? r.u32() : r.below(128) | (r.oneIn(2) ? 6 : 0);
    }
    return this.core.mmuConfigure(context);
  }

  /** Writes where the walker keeps what it decoded. */
  scribble(context: number): void {
    const r = this.#random;
    if (context + K.CONTEXT_BYTES > BYTES) return;
    const from = DECODED;
    const view = new ContextView(this.#words, context);
    for (let i = 0; i < 3; i++)
      this.#u32[(context + from + r.below(K.CONTEXT_BYTES - from)) >> 2] = r.oneIn(2) ? r.u32() : r.below(64);
    if (r.oneIn(4)) view.pointer = r.u32();
    if (r.oneIn(4)) view.bytes = r.u32();
  }

  /** A TLB that was one, or any pointer. */
  tlb(): number {
    const r = this.#random;
    const at = this.#pointer();
    if (at % 8 !== 0 || at + TLB_BYTES > BYTES || r.oneIn(4)) return at;
    for (let i = 0; i < K.BANKS; i++) {
      const bank = new BankView(this.#words, at + K.TLB_BANKS_AT + i * K.TLB_BANK_BYTES);
      bank.sets = 1;
      bank.ways = r.below(3);
      bank.policy = r.below(5);
      bank.sizes = r.u64();
    }
    this.core.mmuTlb(at, TLB_BYTES);
    for (let i = 0; i < 4; i++)
      this.#u32[(at + 8 + r.below(TLB_BYTES - 8)) >> 2] = r.oneIn(2) ? r.u32() : r.below(BYTES);
    return at;
  }

  round(): number {
    const r = this.#random;
    const context = r.oneIn(10) ? this.#pointer() : r.below(BYTES / 1024) * 1024;
    const configured = this.configure(context);
    if (r.oneIn(2)) this.scribble(context);
    for (let i = 0; i < 8; i++) {
      const access = r.oneIn(10) ? r.u32() : r.below(32);
      const [lo, hi] = [r.u32(), r.oneIn(2) ? r.below(256) : r.pick([r.u32(), 0xffff_ff80, 0x8000_0000, 0])];
      const one = this.core.mmuTranslate(context, lo, hi, access, this.#pointer());
      expect([0, 1, EINVAL]).toContain(one);
      const given = r.oneIn(3) ? r.pick(DOUBLES) : (hi | 0) * 2 ** 32 + lo;
      for (const at of [
        this.core.mmuLookup(context, given, access, this.#pointer()),
        this.core.mmuLookupTlb(context, this.tlb(), given, access, this.#pointer()),
      ]) {
        expect(at >= 0 || (at < 0 && at >= -K.FAULT_CONFLICT) || at === EINVAL, `${at}`).toBe(true);
      }
      const n = r.oneIn(8) ? r.u32() : r.below(40);
      const many = this.core.mmuTranslateMany(context, this.#pointer(), this.#pointer(), n, access);
      expect(many === EINVAL || (many >= 0 && many <= n)).toBe(true);
    }
    return configured;
  }
}

describe("the walker's exports", () => {
  it("survive any registers, contexts, tables and pointers", () => {
    let configured = 0;
    for (let seed = 0; seed < runs(300); seed++) {
      const attacker = new Attacker(new Random(SEED + seed));
      for (let i = 0; i < 25; i++) if (attacker.round() === 0) configured++;
    }
    expect(configured).toBeGreaterThan(runs(300) * 5);
  });

  it("refuse a TLBI while a thread that died holds the queue, and change nothing", () => {
    using mmu = createMmu({ image: new Uint8Array(8) });
    using tlb = createTlb(mmu, { adversarial: true, whims: { early: 1, drop: 0, prefetch: 0 } });
    tlb.access(0x1000);
    tlb.invalidate("VMALLE1IS");
    const lock = new Uint32Array(mmu.memory.buffer, tlb.pointer + 16, 1);
    lock[0] = 1;
    const before = tlb.stats();
    expect(() => tlb.invalidate("VMALLE1IS")).toThrow("ETIMEDOUT");
    expect(tlb.stats()).toEqual(before);
    // Accesses go on: what an adversary does early it may as well leave undone.
    expect(tlb.access(0x2000).ok).toBe(true);
    expect(tlb.stats().pending).toBe(1);
    lock[0] = 0;
    tlb.dsb();
    expect(tlb.stats().pending).toBe(0);
  });

  it("survive any one word of the context, with tables that lead far away", () => {
    const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
    const core = instantiateMmu(wasm, memory);
    const words = new Words(memory.buffer);
    const { u32, u64 } = words;
    const context = new ContextView(words);
    const [table, columns] = [65536, 8192];
    for (let i = 0; i < 512; i++) u64[table / 8 + i] = BigInt(table + (i << 20)) | 3n;
    for (let i = 0; i < 32; i++) u64[columns / 8 + i] = BigInt(i) << 30n;
    const control = 25n | (1n << 6n) | (5n << 16n) | (25n << 16n) | (5n << 32n);
    for (const [hcr, sctlr] of [
      [1n, 0n],
      [1n, 1n],
      [0n, 1n],
    ] as const) {
      for (let at = DECODED / 4; at < K.CONTEXT_BYTES / 4; at++) {
        for (const value of [0, 1, 0x10000, 0x7fff_fff8, 0xffff_ffff]) {
          u64.set([
            hcr,
            sctlr,
            control,
            BigInt(table),
            BigInt(table),
            0xffn,
            25n | (1n << 6n) | (5n << 16n),
            BigInt(table),
            0n,
          ]);
          context.pointer = 0;
          context.bytes = 2 * 65536;
          context.regime = K.REGIME_EL10;
          context.features = 6;
          expect(core.mmuConfigure(0)).toBe(0);
          u32[at] = value;
          expect(core.mmuTranslateMany(0, columns, 16384, 32, 0)).toBeLessThanOrEqual(32);
          expect(core.mmuTranslate(0, 0, 0, 1, 4096)).toBeLessThanOrEqual(1);
        }
      }
    }
  });
});
