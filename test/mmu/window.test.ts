// An MMU on a window of the caller's memory, in place: an emulator's RAM, whose tables the guest wrote itself.

import { describe, expect, it } from "vitest";
import { createEngine, type GranuleError } from "../../bindings/index.js";
import {
  Access,
  createMmu,
  createTlb,
  Fault,
  type Mmu,
  type MmuOptions,
  type MmuRegisters,
  stage2Registers,
} from "../../bindings/mmu/index.js";

const MB = 1 << 20;
const PAGE = 65536;
const RAM = 0x4000_0000;
const CANARY = 0xa5c3_96e1;

// EL1, 4K granule, 39 bits of input below, walks cacheable.
const TG0_4K_39 = 25n;
const EPD1 = 1n << 23n;
const HA = 1n << 39n;
const HD = 1n << 40n;
const PS_40 = 2n << 32n;
const TABLE = 3n;
/** AF, Inner Shareable, attributes of MAIR field 0. */
const PAGE_RW = 0x703n;
const READ_ONLY = 1n << 7n;
const DBM = 1n << 51n;

const EL1: MmuRegisters = {
  sctlr: 1n,
  mair: 0xffn,
  tcr: TG0_4K_39 | EPD1 | PS_40 | HA | HD,
};

/** A guest that has written three tables of its own from `at` of RAM on: VA v of the first 2 MiB is page v of RAM. */
function boot(ram: BigUint64Array, at = 0, base = RAM): bigint {
  const root = BigInt(base + at);
  ram.fill(0n, at / 8, (at + 0x3000) / 8);
  ram[at / 8] = (root + 0x1000n) | TABLE;
  ram[(at + 0x1000) / 8] = (root + 0x2000n) | TABLE;
  for (let i = 0; i < 256; i++) ram[(at + 0x2000) / 8 + i] = BigInt(base + i * 4096) | PAGE_RW | READ_ONLY | DBM;
  return root;
}

function guest(pages: number): { memory: WebAssembly.Memory; ram: BigUint64Array } {
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages + 64, shared: true });
  new Uint32Array(memory.buffer).fill(CANARY);
  return { memory, ram: new BigUint64Array(memory.buffer, 0, MB / 8) };
}

/** What an access comes to. */
function tried(mmu: Mmu, address: number, access: "r" | "w" | "x" = "r"): string {
  const t = mmu.translate(address, access);
  return t.ok ? t.pa.toString(16) : `${t.kind} ${t.level}`;
}

describe("an MMU on a caller's memory", () => {
  it.each([0, 0x3000, 0x9_0000])("walks tables that the guest wrote, with the root at byte %i of RAM", (at) => {
    const { memory, ram } = guest(18);
    const ttbr0 = boot(ram, at);
    using mmu = createMmu({
      memory,
      bytes: MB,
      physBase: RAM,
      scratch: { offset: MB, bytes: PAGE },
      registers: { ...EL1, ttbr0 },
    });
    const page = (at + 0x2000) / 8;
    const before = ram.slice();
    expect([tried(mmu, 0x1_2345), tried(mmu, 0x20_0000), tried(mmu, 0x10_0000)]).toEqual([
      (RAM + 0x1_2345).toString(16),
      "translation 2",
      "translation 3",
    ]);
    expect(ram).toEqual(before);
    // A store makes the page dirty there and then; nothing else changes.
    expect(tried(mmu, 0x1_2345, "w")).toBe((RAM + 0x1_2345).toString(16));
    expect(ram[page + 0x12]).toBe((before[page + 0x12] as bigint) & ~READ_ONLY);
    before[page + 0x12] = ram[page + 0x12] as bigint;
    expect(ram).toEqual(before);
    // The guest takes the page away, and another in: the next walk sees it.
    ram[page + 0x12] = 0n;
    ram[page + 0x13] = BigInt(RAM + 0x7000) | PAGE_RW;
    expect([tried(mmu, 0x1_2345), tried(mmu, 0x1_3345, "w")]).toEqual(["translation 3", (RAM + 0x7345).toString(16)]);
  });

  it("writes in its window and its scratch alone, with TLBs and columns", () => {
    const { memory, ram } = guest(40);
    const words = new Uint32Array(memory.buffer);
    const window = { offset: 4 * PAGE, bytes: MB };
    const scratch = { offset: 24 * PAGE, bytes: 4 * PAGE };
    const inWindow = new BigUint64Array(memory.buffer, window.offset, MB / 8);
    const ttbr0 = boot(inWindow, 0x4000);
    {
      using mmu = createMmu({ memory, ...window, physBase: RAM, scratch, registers: { ...EL1, ttbr0 } });
      using tlb = createTlb(mmu, { preset: "cortex-a53" });
      using columns = mmu.createColumns(64);
      using other = createMmu({ beside: mmu, registers: { ...EL1, ttbr0 } });
      for (let i = 0; i < 64; i++) columns.addresses[i] = BigInt(i * 4096 + 8);
      expect(mmu.translateMany(columns, 64, "r")).toBe(0);
      expect(tlb.accessMany(columns, 64, "w")).toBe(0);
      expect(tlb.access(0x1008, "w").ok).toBe(true);
      expect(inWindow.slice(0x6000 / 8, 0x6000 / 8 + 64).every((leaf) => !(leaf & READ_ONLY))).toBe(true);
      expect(tried(other, 0x2008)).toBe((RAM + 0x2008).toString(16));
    }
    const outside = words.filter((_, i) => {
      const at = i * 4;
      const inside = ({ offset, bytes }: typeof window) => at >= offset && at < offset + bytes;
      return !inside(window) && !inside(scratch);
    });
    expect(outside.every((word) => word === CANARY)).toBe(true);
    expect(ram[0]).toBe((BigInt(CANARY) << 32n) | BigInt(CANARY));
  });

  it("takes nothing that the guest writes for an entry of its TLBs, at byte 0 of the memory neither", () => {
    const { memory, ram } = guest(20);
    const registers = { ...EL1, ttbr0: boot(ram, 0x4000) };
    const scratch = { offset: MB, bytes: 4 * PAGE };
    using mmu = createMmu({ memory, bytes: MB, physBase: RAM, scratch, registers });
    using tlb = createTlb(mmu, { preset: "neoverse-n1" });
    expect(tlb.lookup(0x5000, Access.READ)).toBe(RAM + 0x5000);
    // The guest copies what a TLB keeps for this page, and makes it one of a page that it has not mapped.
    const kept = new BigUint64Array(memory.buffer, MB, (4 * PAGE) / 8);
    const entry = kept.findIndex(
      (word, i) => (word & 1n) === 1n && kept[i + 1] === 0x5000n && kept[i + 3] === BigInt(RAM + 0x5000),
    );
    expect(entry).toBeGreaterThan(0);
    ram.set(kept.subarray(entry, entry + 8), 0);
    const unmapped = 0x40_8000;
    ram[1] = BigInt(unmapped);
    ram[3] = 0xdead_0000n;
    expect(tlb.lookup(unmapped, Access.READ)).toBe(Fault.TRANSLATION);
    expect(tlb.access(unmapped).ok).toBe(false);
    using columns = mmu.createColumns(1);
    columns.addresses[0] = BigInt(unmapped);
    expect(tlb.accessMany(columns, 1)).toBe(1);
    expect(columns.rows[0]).toBe(0n);
  });

  it("gives its scratch back block by block, and says when that is spent", () => {
    const { memory, ram } = guest(32);
    const options = { memory, bytes: MB, physBase: RAM, scratch: { offset: MB, bytes: 2 * PAGE } } as const;
    const registers = { ...EL1, ttbr0: boot(ram) };
    for (let round = 0; round < 5; round++) {
      using mmu = createMmu({ ...options, registers });
      const first = mmu.createColumns(1024);
      using second = mmu.createColumns(1024);
      first.close();
      using third = mmu.createColumns(512);
      expect(third.addresses.byteOffset).toBe(first.addresses.byteOffset);
      expect(() => mmu.createColumns(4096)).toThrow(/scratch of 131072 bytes has no 98304 bytes left/);
      expect(() => createTlb(mmu, { shape: { data: { entries: 4096, ways: 4 } } })).toThrow(/no [0-9]+ bytes left/);
      second.addresses[0] = 0x1000n;
      expect(mmu.translateMany(second, 1)).toBe(0);
    }
  });

  it("is seen by an engine in the same memory, and sees that one's range", () => {
    const { memory } = guest(64);
    const scratch = { offset: MB, bytes: PAGE };
    const codeOf = (make: () => unknown) => {
      try {
        make();
      } catch (error) {
        return (error as GranuleError).code;
      }
      return "none";
    };
    using engine = createEngine({ memory, offset: 2 * MB });
    expect(codeOf(() => createMmu({ memory, scratch: { offset: 2 * MB, bytes: PAGE } }))).toBe("EEXIST");
    expect(codeOf(() => createMmu({ memory, scratch: { offset: MB, bytes: 2 * MB } }))).toBe("EEXIST");
    {
      using mmu = createMmu({ memory, scratch });
      expect(mmu.translate(0x1234).ok).toBe(true); // both stages off
      expect(codeOf(() => createMmu({ memory, scratch }))).toBe("EEXIST");
      expect(codeOf(() => createEngine({ memory, offset: 0, bytes: 2 * MB }))).toBe("EEXIST");
    }
    using below = createEngine({ memory, offset: 0, bytes: 2 * MB });
    expect(below.arenaBytes).toBe(MB);
    expect(engine.arenaBytes).toBe(MB);
  });

  it.each([
    [{ memory: {} }, /not a WebAssembly.Memory/],
    [{ memory: new WebAssembly.Memory({ initial: 1 }), scratch: { offset: 0, bytes: PAGE } }, /not shared/],
    [{}, /`memory` needs `scratch`/],
    [{ scratch: { offset: 0 } }, /scratch: bytes undefined/],
    [{ scratch: { offset: 0, bytes: PAGE, size: 1 } }, /unknown option size/],
    [{ scratch: { offset: 8, bytes: PAGE } }, /scratch: offset 8 is not a multiple of 65536/],
    [{ scratch: { offset: 0, bytes: 0 } }, /scratch: bytes 0/],
    [
      { scratch: { offset: 0, bytes: 3 * MB } },
      /scratch: offset 0 \+ bytes 3145728 is beyond the memory's end, 2097152/,
    ],
    [{ scratch: { offset: 0, bytes: PAGE }, offset: 4 }, /offset 4 is not a multiple of 8/],
    [{ scratch: { offset: 0, bytes: PAGE }, bytes: 12 }, /bytes 12 is not a multiple of 8/],
    [{ scratch: { offset: 0, bytes: PAGE }, offset: MB, bytes: 2 * MB }, /beyond the memory's end/],
    [{ scratch: { offset: 0, bytes: PAGE }, physBase: 4 }, /physBase 4/],
    [
      { memory: undefined, image: new Uint8Array(8), scratch: { offset: 0, bytes: PAGE } },
      /`scratch` is a range of `memory`/,
    ],
    [{ memory: undefined, image: new Uint8Array(8), offset: 0 }, /a window of `memory`, or of an engine's/],
    [{ image: new Uint8Array(8) }, /give an engine, a memory, an image, or `beside`/],
  ])("refuses what does not fit: %o", (wrong, words) => {
    const memory = new WebAssembly.Memory({ initial: 32, maximum: 32, shared: true });
    expect(() => createMmu({ memory, ...wrong } as MmuOptions)).toThrow(words);
  });
});

describe("an MMU of an engine with a window", () => {
  it("walks both stages: the guest's tables in RAM, the hypervisor's in the engine beside it", () => {
    const { memory, ram } = guest(96);
    // RAM at 0x4000_0000 for the guest, at 0x9000_0000 for the machine; the engine lies behind it.
    const machine = 0x9000_0000;
    using engine = createEngine({ memory, offset: 4 * MB, physBase: machine + 4 * MB });
    using table = engine.createStage2({ ipaBits: 40 });
    table.map(RAM, MB, machine, "rwx");
    const registers = { ...stage2Registers(table), ...EL1, ttbr0: boot(ram) };
    using mmu = createMmu({ engine, offset: 0, registers: { ...registers, hcr: 1n } });
    const load = mmu.translate(0x5008, "w");
    expect(load).toMatchObject({ ok: true, pa: BigInt(machine + 0x5008), ipa: BigInt(RAM + 0x5008) });
    expect(ram[0x2000 / 8 + 5]).toBe(BigInt(RAM + 0x5000) | PAGE_RW | DBM);
    // The hypervisor write-protects the page that holds the guest's tables: now the hardware's update of them faults.
    table.wrprotect(RAM + 0x2000, 0x1000);
    expect(tried(mmu, 0x6008, "w")).toMatch(/permission/);
    using plain = createMmu({ engine, registers: stage2Registers(table) });
    expect(plain.translate(RAM + 0x100).ok).toBe(true);
    expect(() => createMmu({ engine, bytes: MB })).toThrow(/give its offset too/);
    expect(() => createMmu({ engine, physBase: 0 })).toThrow(/give its offset too/);
  });

  it("sees a window that grows with the memory, once it is made anew", () => {
    const { memory } = guest(48);
    using engine = createEngine({ memory, bytes: 2 * MB });
    memory.grow(16);
    const ram = new BigUint64Array(memory.buffer, 3 * MB, MB / 8);
    const ttbr0 = boot(ram);
    using mmu = createMmu({ engine, offset: 3 * MB, physBase: RAM, registers: { ...EL1, ttbr0 } });
    expect(tried(mmu, 0x3004)).toBe((RAM + 0x3004).toString(16));
  });
});
