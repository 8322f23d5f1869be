// What the exports of the hardware's walker refuse: pointers and windows that cannot be, contexts that are not configured, accesses and
// addresses that do not exist. The facade never passes them, but a program that calls the core itself could.

import { readFileSync } from "node:fs";
import { beforeEach, describe, expect, it } from "vitest";
import * as K from "../../bindings/core/constants.generated.js";
import { instantiateMmu } from "../../bindings/core/mmu-core.js";
import { BankView, ContextView, TlbView } from "../../bindings/core/mmu-views.generated.js";
import { Words } from "../../bindings/core/view.js";

const [EINVAL, ETIMEDOUT] = [-22, -110];
const BYTES = 65536;
/** Where the context, a record, a TLB, a column and its rows lie. */
const [CONTEXT, OUT, TLB, COLUMN, ROWS] = [0, 8192, 16384, 32768, 40960] as const;
/** A bank of eight entries, their keys and clocks apart: what lies there is rounded up to whole entries. */
const BANK_BYTES =
  Math.floor((8 * (K.TLB_ENTRY_BYTES + K.TLB_APART_BYTES) + K.TLB_BANK_SLACK) / K.TLB_ENTRY_BYTES) * K.TLB_ENTRY_BYTES;
const TLB_BYTES = K.TLB_HEADER_BYTES + BANK_BYTES;
const wasm = new WebAssembly.Module(readFileSync(new URL("../../build/mmu.wasm", import.meta.url)));

let memory: WebAssembly.Memory;
let core: ReturnType<typeof instantiateMmu>;
let context: ContextView;

beforeEach(() => {
  memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
  core = instantiateMmu(wasm, memory);
  context = new ContextView(new Words(memory.buffer), CONTEXT);
  context.regime = K.REGIME_EL2; // with no stage on: addresses pass
  context.bytes = BYTES;
});

/** A TLB with one bank of eight entries for data. */
function tlb(): void {
  const bank = new BankView(new Words(memory.buffer), TLB + K.TLB_BANKS_AT);
  bank.sets = 2;
  bank.ways = 4;
  bank.sizes = 1n << 12n;
  expect(core.mmuTlb(TLB, TLB_BYTES)).toBe(0);
}

describe("a context", () => {
  it("lies in memory, whole and aligned", () => {
    for (const p of [4, BYTES - 1016, BYTES, 0xffff_fff8]) expect(core.mmuConfigure(p)).toBe(EINVAL);
    expect(core.mmuConfigure(BYTES - 1024)).toBe(EINVAL); // there, but nothing was written to it
    context = new ContextView(new Words(memory.buffer), BYTES - 1024);
    context.regime = K.REGIME_EL10;
    expect(core.mmuConfigure(BYTES - 1024)).toBe(0);
  });

  it("is of a regime, a size and features that exist", () => {
    const statuses = (field: "regime" | "features", values: readonly number[]) =>
      values.map((value) => {
        const before = context[field];
        context[field] = value;
        const status = core.mmuConfigure(CONTEXT);
        context[field] = before;
        return status;
      });
    expect(statuses("regime", [0, K.REGIME_EL10, K.REGIME_EL2, K.REGIME_EL2 + 1])).toEqual([EINVAL, 0, 0, EINVAL]);
    expect(statuses("features", [0, 1, 2, 3, 4, 5, 6])).toEqual(new Array(7).fill(0));
    expect(statuses("features", [7, 8, 9, 15])).toEqual(new Array(4).fill(EINVAL));
  });

  it("has a window in memory that holds whole descriptors, at an address that one can have", () => {
    const configured = (physBase: bigint, pointer: number, bytes: number) => {
      Object.assign(context, { physBase, pointer, bytes });
      return core.mmuConfigure(CONTEXT);
    };
    for (const bad of [1n, 2n, 4n, 7n]) expect(configured(bad, 0, BYTES), `${bad}`).toBe(EINVAL);
    for (const bad of [1, 2, 4]) expect(configured(0n, bad, 8), `${bad}`).toBe(EINVAL);
    expect([configured(8n, 0, BYTES), configured(0n, 8, BYTES - 8), configured(0n, BYTES - 8, 8)]).toEqual([0, 0, 0]);
    expect([configured(0n, 0, BYTES + 1), configured(0n, 8, BYTES), configured(0n, BYTES, 8)]).toEqual([
      EINVAL,
      EINVAL,
      EINVAL,
    ]);
    expect([configured(0n, 0, 0), configured(0n, 0, 1)]).toEqual([0, 0]);
  });

  it("answers nothing before it is configured, after a configuration that failed, and once its window has moved away", () => {
    const asked = () => [
      core.mmuTranslate(CONTEXT, 0, 0, 0, OUT),
      core.mmuLookup(CONTEXT, 4096, 0, OUT),
      core.mmuTranslateMany(CONTEXT, COLUMN, ROWS, 1, 0),
    ];
    const refused = [EINVAL, EINVAL, EINVAL];
    expect(asked()).toEqual(refused);
    expect(core.mmuConfigure(CONTEXT)).toBe(0);
    expect(asked()).toEqual([0, 4096, 0]);
    context.pointer = 8; // with all of its bytes it would end behind the memory
    expect(asked()).toEqual(refused);
    context.pointer = 0;
    context.physBase = 4n;
    expect(asked()).toEqual(refused);
    expect(core.mmuConfigure(CONTEXT)).toBe(EINVAL);
    context.physBase = 0n;
    expect(asked()).toEqual(refused);
    expect(core.mmuConfigure(CONTEXT)).toBe(0);
    expect(asked()).toEqual([0, 4096, 0]);
  });
});

describe("a root", () => {
  /** With the window at byte 0 of memory, where no pointer is out of the question. */
  const walking = (ttbr0: bigint, bytes: number) => {
    Object.assign(context, { bytes, sctlr: 1n, tcr: 25n | (5n << 16n), ttbr0, features: 5 });
    expect(core.mmuConfigure(CONTEXT)).toBe(0);
    const one = core.mmuTranslate(CONTEXT, 0x1000, 0, 0, OUT);
    const [pa, info] = new BigUint64Array(memory.buffer, OUT, 2);
    new BigUint64Array(memory.buffer, COLUMN, 1)[0] = 0x1000n;
    const many = core.mmuTranslateMany(CONTEXT, COLUMN, ROWS, 1, 0);
    return { one, many, same: [...new BigUint64Array(memory.buffer, ROWS, 2)].join() === [pa, info].join(), info };
  };

  it("that lies outside of the window, or in part, is an abort of the walk, for one access and for many", () => {
    for (const [ttbr0, bytes] of [
      [0x10000n, BYTES],
      [0xf000_0000n, BYTES],
      [0xe000n, 0xe000],
      [0xe000n, 0xe800],
      [0x1000n, 0x800],
    ] as const) {
      const at = walking(ttbr0, bytes);
      expect(at, `${ttbr0} of ${bytes}`).toMatchObject({ one: 1, many: 1, same: true });
    }
    expect(walking(0xe000n, BYTES)).toMatchObject({ one: 1, many: 1, same: true }); // in it: a hole
    new BigUint64Array(memory.buffer, 0xe000, 1)[0] = 0x4000_0000n | (1n << 10n) | 1n;
    expect(walking(0xe000n, BYTES)).toMatchObject({ one: 0, many: 0, same: true }); // a block of 1 GiB
  });
});

describe("a start level that the host wrote over", () => {
  it("is a fault where there is no such level, for one access and for many", () => {
    Object.assign(context, { sctlr: 1n, tcr: 25n | (5n << 16n), ttbr0: 0xe000n, features: 5 });
    const start = new Int32Array(memory.buffer, CONTEXT + 208 + 8, 1); // Stage.start of the low half, in mmu/context.ts
    for (const level of [-5, -2, 4, 5, 100, 0x7fff_ffff]) {
      expect(core.mmuConfigure(CONTEXT)).toBe(0);
      expect(start[0]).toBe(1);
      start[0] = level;
      expect(core.mmuTranslate(CONTEXT, 0x1000, 0, 0, OUT), `level ${level}`).toBe(1);
      const [, info] = new BigUint64Array(memory.buffer, OUT, 2);
      expect(Number((info as bigint) & 0x3fn) & ~3, `level ${level}`).toBe(4); // a translation fault
    }
  });
});

describe("an access", () => {
  beforeEach(() => expect(core.mmuConfigure(CONTEXT)).toBe(0));

  it("has a record in memory", () => {
    for (const p of [BYTES - 56, 8193, 0xffff_fff8]) {
      expect(core.mmuTranslate(CONTEXT, 0, 0, 0, p)).toBe(EINVAL);
      expect(core.mmuLookup(CONTEXT, 4096, 0, p)).toBe(EINVAL);
    }
    expect(core.mmuTranslate(CONTEXT, 0, 0, 0, BYTES - K.RESULT_BYTES)).toBe(0);
  });

  it("is a read, a write or a fetch, at an address that a double has exactly", () => {
    expect([0, 1, 2, 4, 8, 12, 14].map((access) => core.mmuLookup(CONTEXT, 4096, access, OUT))).toEqual(
      new Array(7).fill(4096),
    );
    for (const bad of [3, 7, 11, 15, 16, 0xffff_ffff]) expect(core.mmuLookup(CONTEXT, 4096, bad, OUT)).toBe(EINVAL);
    for (const bad of [NaN, 0.5, 2 ** 53, -(2 ** 53), Infinity]) {
      expect(core.mmuLookup(CONTEXT, bad, 0, OUT)).toBe(EINVAL);
    }
  });

  it("of many has columns in memory, which are not the context", () => {
    const many = (addrs: number, rows: number, n: number) => core.mmuTranslateMany(CONTEXT, addrs, rows, n, 0);
    expect([many(COLUMN, ROWS, 4), many(BYTES - 32, ROWS, 4), many(COLUMN, BYTES - 64, 4)]).toEqual([0, 0, 0]);
    expect([many(BYTES - 24, ROWS, 4), many(COLUMN, BYTES - 56, 4), many(COLUMN, ROWS, 0x8000_0000)]).toEqual([
      EINVAL,
      EINVAL,
      EINVAL,
    ]);
    expect([many(COLUMN, K.CONTEXT_BYTES, 4), many(COLUMN, K.CONTEXT_BYTES - 8, 4), many(COLUMN, 0, 1)]).toEqual([
      0,
      EINVAL,
      EINVAL,
    ]);
  });
});

describe("a TLB", () => {
  beforeEach(() => expect(core.mmuConfigure(CONTEXT)).toBe(0));

  const bank = () => new BankView(new Words(memory.buffer), TLB + K.TLB_BANKS_AT);

  it("has a bank for data, of shapes that can be, in a block that holds it", () => {
    expect(core.mmuTlb(TLB, TLB_BYTES)).toBe(EINVAL); // no bank
    tlb();
    expect([core.mmuTlb(TLB, TLB_BYTES - 8), core.mmuTlb(TLB, TLB_BYTES + 8), core.mmuTlb(TLB, 8)]).toEqual([
      EINVAL,
      0,
      EINVAL,
    ]);
    for (const [sets, ways, policy] of [
      [0, 4, 0],
      [3, 2, 0],
      [6, 1, 0],
      [2, 4, 4],
      [1 << 17, 1, 0],
      [1, (1 << 16) + 1, 0],
      [1 << 9, 1 << 8, 0],
    ] as const) {
      Object.assign(bank(), { sets, ways, policy });
      expect(core.mmuTlb(TLB, TLB_BYTES), `${sets} x ${ways}, policy ${policy}`).toBe(EINVAL);
    }
    for (const policy of [0, 1, 2, 3]) {
      Object.assign(bank(), { sets: 2, ways: 4, policy });
      expect(core.mmuTlb(TLB, TLB_BYTES)).toBe(0);
    }
  });

  it("begins empty, whatever its block held before", () => {
    tlb();
    const row = new BigUint64Array(memory.buffer, ROWS, 2);
    for (const kind of [0, 2]) core.mmuAccess(CONTEXT, TLB, 0x5000, 0, kind, OUT);
    new Uint8Array(memory.buffer).fill(0xff, TLB + K.TLB_HEADER_BYTES, TLB + TLB_BYTES);
    const before = bank();
    Object.assign(before, { present: -1n, hits: 7n, misses: 7n, inserts: 7n, evicted: 7n, flushed: 7n, dropped: 7n });
    tlb();
    const { present, hits, misses, inserts, evicted, flushed, dropped } = bank();
    expect([present, hits, misses, inserts, evicted, flushed, dropped]).toEqual(new Array(7).fill(0n));
    const entries = new Uint8Array(memory.buffer, TLB + K.TLB_HEADER_BYTES, 8 * K.TLB_ENTRY_BYTES);
    expect(entries.every((byte) => byte === 0)).toBe(true);
    expect(core.mmuAccessMany(CONTEXT, TLB, COLUMN, ROWS, 1, 0)).toBe(0);
    expect([row[0], bank().misses, bank().inserts]).toEqual([0n, 1n, 1n]);
  });

  it("whose holder of the lock has died takes no TLBI and no DSB: ETIMEDOUT, and nothing changes [HWM-41]", () => {
    tlb();
    core.mmuAccess(CONTEXT, TLB, 0x5000, 0, 0, OUT);
    const view = new TlbView(new Words(memory.buffer), TLB);
    view.flags |= K.TLB_ADVERSARIAL;
    expect(core.mmuTlbi(TLB, 1, K.TLBI_ALL, 0, 0, 0)).toBe(0);
    view.lock = 7;
    const before = new Uint8Array(memory.buffer).slice(TLB, TLB + TLB_BYTES);
    expect([core.mmuTlbi(TLB, 0, K.TLBI_ALL, 0, 0, 0), core.mmuDsb(TLB, 1, 2)]).toEqual([ETIMEDOUT, ETIMEDOUT]);
    expect(new Uint8Array(memory.buffer).slice(TLB, TLB + TLB_BYTES)).toEqual(before);
    view.lock = 0;
    expect([core.mmuDsb(TLB, 1, 2), view.lock, view.pending]).toEqual([0, 0, 0]);
  });

  it("is asked only while it is one", () => {
    let page = 4096; // another one each time: what a hint finds is answered without a look at the whole TLB
    const asked = () => {
      page += 4096;
      return [
        core.mmuAccess(CONTEXT, TLB, 4096, 0, 0, OUT),
        core.mmuAccessMany(CONTEXT, TLB, COLUMN, ROWS, 2, 0),
        Math.min(core.mmuLookupTlb(CONTEXT, TLB, page, 0, OUT), 0),
        core.mmuSpeculate(CONTEXT, TLB, 4096, 0),
        core.mmuTlbi(TLB, 0, K.TLBI_ALL, 0, 0, 0),
        core.mmuDsb(TLB, 0, 2),
      ];
    };
    const refused = new Array(6).fill(EINVAL);
    expect(asked()).toEqual(refused);
    tlb();
    const answered = new Array(6).fill(0);
    expect(asked()).toEqual(answered);
    for (const [field, value] of [
      ["sets", 3],
      ["sets", 1 << 20],
      ["ways", 0],
      ["pointer", BYTES - 8],
      ["pointer", 4],
      ["policy", 9],
    ] as const) {
      const before = bank()[field];
      bank()[field] = value;
      expect(asked(), `${field} ${value}`).toEqual(refused);
      bank()[field] = before;
    }
    expect(asked()).toEqual(answered);
  });

  it("hears TLBIs whose scope and domain exist [HWM-41]", () => {
    tlb();
    const statuses = (forms: readonly number[]) => forms.map((form) => core.mmuTlbi(TLB, 0, form, 0, 0, 0));
    const domain = (n: number) => n << K.TLBI_DOMAIN_LOW;
    expect(statuses([0, 1, 2, 3, 4, 5, 6, 7, 8, 15])).toEqual([0, 0, 0, 0, 0, 0, 0, EINVAL, EINVAL, EINVAL]);
    expect(statuses([domain(0), domain(1), domain(2), domain(3)])).toEqual([0, 0, 0, EINVAL]);
    expect(statuses([domain(3) | K.TLBI_IPA | K.TLBI_LPA2, domain(2) | K.TLBI_IPA | K.TLBI_LPA2])).toEqual([EINVAL, 0]);
  });

  it("keeps to its block: what lies before and behind it is no part of its lock, nor of anything else", () => {
    tlb();
    const around = [new Uint8Array(memory.buffer, TLB - 256, 256), new Uint8Array(memory.buffer, TLB + TLB_BYTES, 256)];
    for (const bytes of around) bytes.fill(0xff);
    for (const form of [K.TLBI_ALL, K.TLBI_VA, K.TLBI_IPA]) expect(core.mmuTlbi(TLB, 0, form, 5, 0, 0)).toBe(0);
    expect([core.mmuDsb(TLB, 0, 2), core.mmuAccess(CONTEXT, TLB, 0x5000, 0, 0, OUT)]).toEqual([0, 0]);
    for (const bytes of around) expect(bytes.every((byte) => byte === 0xff)).toBe(true);
  });

  it("is not among the rows that a column of accesses writes", () => {
    tlb();
    const many = (rows: number) => core.mmuAccessMany(CONTEXT, TLB, COLUMN, rows, 4, 0);
    expect([many(TLB - 64), many(TLB - 56), many(TLB + TLB_BYTES - 8), many(TLB + TLB_BYTES)]).toEqual([
      0,
      EINVAL,
      EINVAL,
      0,
    ]);
  });
});
