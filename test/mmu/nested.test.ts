// Stage 1 over stage 2, which no recording has: by hand, from the architecture [HWM-10, HWM-12..14, HWM-20..27, HWM-44, BUG-39].

import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import type { Mmu, TranslationFault } from "../../bindings/mmu/index.js";
import * as W from "./world.js";
import { World, wordOf } from "./world.js";

const VA = 0x12_3456_7000n;
const IPA = 0x8000_0000n;
const PA = 0x9_0000_0000n;

function world(leaf1 = 0n, leaf2 = 0n): World {
  const made = new World();
  made.map1(VA, IPA, W.S1_LEAF | leaf1);
  made.map2(IPA, PA, W.S2_LEAF | leaf2);
  return made;
}

function faultOf(mmu: Mmu, access: "r" | "w" | "x" = "r", options = {}, va = VA): TranslationFault {
  const t = mmu.translate(va, access, options);
  if (t.ok) throw new Error(`translated to ${t.pa.toString(16)}`);
  return t;
}

describe("a nested walk", () => {
  it("goes through both stages", () => {
    using mmu = world(W.NG).mmu();
    const t = mmu.translate(VA + 0x123n, "w");
    expect(t).toMatchObject({ ok: true, pa: PA + 0x123n, ipa: IPA + 0x123n, size: 4096n, global: false, updates: 0 });
    expect(t).toMatchObject({ stage1: { level: 3, size: 4096n }, stage2: { level: 3, size: 4096n } });
  });

  it("maps as one what the smaller leaf maps", () => {
    const made = new World();
    made.map1(0x4000_0000n, 0x8000_0000n, W.S1_LEAF, 1);
    made.map2(0x8000_0000n, 0x9_0000_0000n, W.S2_LEAF, 2);
    using mmu = made.mmu();
    expect(mmu.translate(0x4012_3456n)).toMatchObject({
      pa: 0x9_0012_3456n,
      size: 2n << 20n,
      stage1: { level: 1, size: 1n << 30n },
      stage2: { level: 2, size: 2n << 20n },
    });
  });

  it.each([1, 2, 3])("reports a hole of stage 2 under the table of level %i, S1PTW [HWM-10, HWM-2..5]", (level) => {
    const made = world();
    const at = made.entry1(VA, level);
    made.set(made.entry2(at), 0n);
    using mmu = made.mmu();
    const fault = faultOf(mmu, "w", { iss: 0x0101_0000 });
    expect(fault).toMatchObject({ kind: "translation", fsc: 7, level: 3, stage2: true, s1ptw: true, ipa: at });
    // EC 0x24, IL, S1PTW, WnR of the access; no ISV for a walk.
    expect(fault.exception).toEqual({ el: 2, esr: 0x9200_00c7n, far: VA, hpfar: (at >> 12n) << 4n });
    expect(fault.par).toBe(0xb0fn);
  });

  it.each([1, 2, 3])("reports what stage 2 refuses of the table of level %i", (level) => {
    const cases = [
      ["permission", W.S2_LEAF & ~W.S2_R, 0xf],
      ["access", W.S2_LEAF & ~W.AF, 0xb],
      ["address-size", W.S2_LEAF | (1n << 44n), 0x3],
    ] as const;
    for (const [kind, leaf, fsc] of cases) {
      const made = world();
      const at = made.entry1(VA, level);
      made.map2(at & ~4095n, World.physical(at) & ~4095n, leaf);
      using mmu = made.mmu({ vtcr: (W.VTCR.T39 & ~(7n << 16n)) | (4n << 16n) });
      expect(faultOf(mmu)).toMatchObject({ kind, fsc, level: 3, stage2: true, s1ptw: true, ipa: at });
    }
  });

  it("tells a table of the guest outside memory from one of stage 2", () => {
    const first = world();
    const at = first.entry1(VA, 2);
    first.map2(at & ~4095n, 0x7_0000_0000n, W.S2_LEAF);
    using one = first.mmu();
    expect(faultOf(one)).toMatchObject({ kind: "external-walk", fsc: 0x16, stage2: false, s1ptw: false });
    const second = world();
    second.set(second.entry2(second.entry1(VA, 2), 2), 0x7_0000_0000n | 3n);
    using two = second.mmu();
    expect(faultOf(two)).toMatchObject({ kind: "external-walk", fsc: 0x17, level: 3, stage2: true, s1ptw: true });
  });

  it("takes a fault of stage 1 before one of stage 2 for the access [HWM-12]", () => {
    const made = world(W.AP_RO);
    made.set(made.entry2(IPA), 0n);
    using mmu = made.mmu();
    const first = faultOf(mmu, "w");
    expect(first).toMatchObject({ kind: "permission", fsc: 0xf, stage2: false, ipa: 0n });
    expect(first.exception).toEqual({ el: 1, esr: 0x9600_004fn, far: VA, hpfar: 0n });
    expect(faultOf(mmu, "w", { el0: true }).exception).toMatchObject({ el: 1, esr: 0x9200_004fn });
    const second = faultOf(mmu, "r", { iss: 0x0101_0000 });
    expect(second).toMatchObject({ kind: "translation", fsc: 7, stage2: true, s1ptw: false, ipa: IPA });
    expect(second.exception).toEqual({ el: 2, esr: 0x9301_0007n, far: VA, hpfar: IPA >> 8n });
    expect(faultOf(mmu, "x").exception).toMatchObject({ el: 2, esr: 0x8200_0007n });
  });

  it("refuses an IPA beyond stage 2's input, level 0 [HWM-11]", () => {
    const made = world();
    made.map1(VA, 1n << 40n, W.S1_LEAF);
    using mmu = made.mmu();
    expect(faultOf(mmu)).toMatchObject({ kind: "translation", fsc: 4, level: 0, stage2: true, ipa: 1n << 40n });
  });
});

describe("permissions of both stages", () => {
  const ACCESSES = ["r", "w", "x"] as const;

  it("are those that both grant, for each EL [HWM-13]", () => {
    for (let bits = 0; bits < 256; bits++) {
      const [el0, ro, uxn, pxn] = [1, 2, 4, 8].map((bit) => (bits & bit) !== 0) as [boolean, boolean, boolean, boolean];
      const [read, write] = [(bits & 16) !== 0, (bits & 32) !== 0];
      const xn = bits >> 6;
      const leaf1 = (el0 ? W.AP_EL0 : 0n) | (ro ? W.AP_RO : 0n) | (uxn ? W.XN : 0n) | (pxn ? W.PXN : 0n);
      const leaf2 = W.AF | W.S2_WB | (read ? W.S2_R : 0n) | (write ? W.S2_W : 0n) | (BigInt(xn) << 53n);
      const made = world(leaf1);
      made.map2(IPA, PA, leaf2);
      using mmu = made.mmu();
      const expected = {
        privileged: { r: read, w: write && !ro, x: !pxn && !(el0 && !ro) && (xn === 0 || xn === 3) },
        unprivileged: { r: read && el0, w: write && el0 && !ro, x: !uxn && (xn === 0 || xn === 1) },
      };
      for (const access of ACCESSES) {
        expect(mmu.translate(VA, access).ok, `${bits} ${access}`).toBe(expected.privileged[access]);
        expect(mmu.translate(VA, access, { el0: true }).ok, `${bits} ${access} EL0`).toBe(
          expected.unprivileged[access],
        );
      }
    }
  });

  it("lose execution to WXN, and data to PAN", () => {
    using wxn = world().mmu({ sctlr: W.SCTLR.M | W.SCTLR.WXN });
    expect(faultOf(wxn, "x").kind).toBe("permission");
    using plain = world(W.AP_EL0 | W.XN).mmu();
    expect(plain.translate(VA, "r", { pan: true }).ok).toBe(false);
    expect(plain.translate(VA, "r").ok).toBe(true);
    expect(plain.translate(VA, "r", { pan: true, el0: true }).ok).toBe(true);
    // What EL0 can only execute is data of EL1's own, unless EPAN.
    using executable = world(W.AP_RO).mmu();
    expect(executable.translate(VA, "r", { pan: true }).ok).toBe(true);
    executable.setRegisters({ sctlr: W.SCTLR.M | W.SCTLR.EPAN });
    expect(executable.translate(VA, "r", { pan: true }).ok).toBe(false);
  });

  it.each([
    ["APTable[1]", 62n, "w"],
    ["PXNTable", 59n, "x"],
  ] as const)("%s of a table above takes them, unless HPD", (_name, bit, access) => {
    const made = world();
    const above = World.physical(made.entry1(VA, 2));
    made.set(above, made.word(above) | (1n << bit));
    using mmu = made.mmu();
    expect(mmu.translate(VA, access).ok).toBe(false);
    expect(mmu.translate(VA, "r").ok).toBe(true);
    mmu.setRegisters({ tcr: W.TCR.T39 | W.TCR.HPD0 });
    expect(mmu.translate(VA, access).ok).toBe(true);
  });

  it("of EL0 fall to APTable[0] and UXNTable", () => {
    const made = world(W.AP_EL0 | W.AP_RO);
    const above = World.physical(made.entry1(VA, 1));
    made.set(above, made.word(above) | (1n << 61n));
    using mmu = made.mmu();
    expect(mmu.translate(VA, "r", { el0: true }).ok).toBe(false);
    expect(mmu.translate(VA, "x", { el0: true }).ok).toBe(true);
    made.set(above, made.word(above) | (1n << 60n));
    using never = made.mmu();
    expect(never.translate(VA, "x", { el0: true }).ok).toBe(false);
    expect(never.translate(VA, "x").ok).toBe(true);
  });

  it("need no read for a fetch at stage 2, unless asked [HWM-13]", () => {
    const made = world();
    made.map2(IPA, PA, W.AF | W.S2_WB);
    using mmu = made.mmu();
    expect(mmu.translate(VA, "x").ok).toBe(true);
    using strict = made.mmu({}, { fetchReads: true });
    expect(strict.translate(VA, "x").ok).toBe(false);
  });
});

describe("hardware updates of a guest's tables", () => {
  const HA1 = { tcr: W.TCR.T39 | W.TCR.HA };
  const HAD1 = { tcr: W.TCR.T39 | W.TCR.HA | W.TCR.HD };

  function young(leaf1: bigint, tableLeaf2: bigint): { made: World; slot: bigint; entry2: bigint } {
    const made = world();
    const at = made.entry1(VA);
    made.map1(VA, IPA, leaf1);
    const entry2 = made.entry2(at);
    made.map2(at & ~4095n, World.physical(at) & ~4095n, tableLeaf2);
    return { made, slot: World.physical(at), entry2 };
  }

  it("are made for each of many, though their leaves look the same [HWM-20]", () => {
    const made = new World();
    const pages = [0n, 1n, 2n].map((i) => VA + i * 0x1000n);
    for (const va of pages) made.map1(va, IPA, W.S1_LEAF & ~W.AF);
    made.map2(IPA, PA, W.S2_LEAF);
    using mmu = made.mmu({ tcr: W.TCR.T39 | W.TCR.HA });
    const columns = mmu.createColumns(pages.length);
    columns.addresses.set(pages);
    for (let round = 0; round < 2; round++) {
      expect(mmu.translateMany(columns, pages.length)).toBe(0);
      for (const va of pages) expect(wordOf(mmu, World.physical(made.entry1(va))) & W.AF).toBe(W.AF);
    }
    for (const va of pages) expect(mmu.translate(va)).toMatchObject({ ok: true, updates: 0 });
  });

  it("set the access flag, through stage 2 [HWM-20]", () => {
    const { made, slot } = young(W.INNER, W.S2_LEAF);
    using off = made.mmu();
    expect(faultOf(off)).toMatchObject({ kind: "access", fsc: 0xb, stage2: false });
    expect(wordOf(off, slot)).toBe(made.word(slot));
    using on = made.mmu(HA1);
    expect(on.translate(VA)).toMatchObject({ ok: true, updates: 1 });
    expect(wordOf(on, slot)).toBe(made.word(slot) | W.AF);
    expect(on.translate(VA)).toMatchObject({ ok: true, updates: 0 });
  });

  it("need stage 2 to allow the write: else permission, S1PTW, and nothing is written [HWM-26, BUG-39]", () => {
    const { made, slot } = young(W.INNER, W.S2_LEAF & ~W.S2_W);
    using mmu = made.mmu(HA1);
    const fault = faultOf(mmu);
    expect(fault).toMatchObject({ kind: "permission", fsc: 0xf, stage2: true, s1ptw: true, updates: 0 });
    expect(fault.ipa).toBe(made.entry1(VA));
    expect(wordOf(mmu, slot)).toBe(made.word(slot));
    // A table whose flag is set is only read.
    const set = young(W.S1_LEAF, W.S2_LEAF & ~W.S2_W);
    using read = set.made.mmu(HA1);
    expect(read.translate(VA).ok).toBe(true);
  });

  it("mark the table's page dirty at stage 2 [HWM-26]", () => {
    const { made, slot, entry2 } = young(W.INNER, (W.S2_LEAF & ~W.S2_W) | W.DBM);
    using mmu = made.mmu({ ...HA1, vtcr: W.VTCR.T39 | W.VTCR.HA | W.VTCR.HD });
    expect(mmu.translate(VA)).toMatchObject({ ok: true, updates: 2 });
    expect(wordOf(mmu, entry2) & W.S2_W).toBe(W.S2_W);
    expect(wordOf(mmu, slot) & W.AF).toBe(W.AF);
  });

  it("set dirty state at a write only, flag and dirty at once [HWM-22, HWM-23, HWM-25]", () => {
    const { made, slot } = young(W.INNER | W.AP_RO | W.DBM, W.S2_LEAF);
    using mmu = made.mmu(HAD1);
    expect(mmu.translate(VA, "r")).toMatchObject({ ok: true, updates: 1, privileged: { write: false } });
    expect(wordOf(mmu, slot)).toBe(made.word(slot) | W.AF);
    expect(mmu.translate(VA, "r")).toMatchObject({ stage1: { dirtyable: true } });
    expect(mmu.translate(VA, "w")).toMatchObject({ ok: true, updates: 1, stage1: { dirtyable: false } });
    expect(wordOf(mmu, slot)).toBe((made.word(slot) | W.AF) & ~W.AP_RO);
    using both = made.mmu(HAD1);
    expect(both.translate(VA, "w")).toMatchObject({ ok: true, updates: 1 });
    using alone = made.mmu({ tcr: W.TCR.T39 | W.TCR.HD }); // HD without HA does nothing
    made.map1(VA, IPA, W.S1_LEAF | W.AP_RO | W.DBM);
    expect(faultOf(alone, "w").kind).toBe("access");
  });

  it("do not make writable what a table above forbids", () => {
    const { made, slot } = young(W.S1_LEAF | W.AP_RO | W.DBM, W.S2_LEAF);
    const above = World.physical(made.entry1(VA, 2));
    made.set(above, made.word(above) | (1n << 62n));
    using mmu = made.mmu(HAD1);
    expect(faultOf(mmu, "w")).toMatchObject({ kind: "permission", updates: 0 });
    expect(wordOf(mmu, slot)).toBe(made.word(slot));
  });

  it("leave stage 1 dirty when stage 2 then refuses the access", () => {
    const { made, slot } = young(W.S1_LEAF | W.AP_RO | W.DBM, W.S2_LEAF);
    made.map2(IPA, PA, W.S2_LEAF & ~W.S2_W);
    using mmu = made.mmu(HAD1);
    expect(faultOf(mmu, "w")).toMatchObject({ kind: "permission", stage2: true, s1ptw: false, updates: 1 });
    expect(wordOf(mmu, slot) & W.AP_RO).toBe(0n);
  });

  it("lose no change that another thread makes meanwhile, and walk again [HWM-20, HWM-24, HWM-28]", async () => {
    const { made, slot } = young(W.INNER, W.S2_LEAF);
    using mmu = made.mmu(HA1);
    const { buffer } = mmu.memory;
    const at = mmu.image().byteOffset + Number(slot - W.BASE);
    using columns = mmu.createColumns(4096);
    columns.addresses.fill(VA);
    const flips = 2_000_003;
    const worker = new Worker(new URL("flip.mjs", import.meta.url), { workerData: { buffer, at, flips } });
    const done = new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
    let ended = false;
    void done.then(() => {
      ended = true;
    });
    while (!ended) {
      expect(mmu.translateMany(columns, 4096)).toBe(0);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await worker.terminate();
    // Bits 63:55 have counted them all: one that was overwritten would be missing.
    expect(wordOf(mmu, slot) >> 55n).toBe(BigInt(flips) & 511n);
  });

  it("of Device memory fail with 0x31 where that is asked for [HWM-27]", () => {
    const { made } = young(W.INNER, (W.S2_LEAF & ~W.S2_WB) | (1n << 2n));
    using mmu = made.mmu(HA1, { updateCacheableOnly: true });
    expect(faultOf(mmu)).toMatchObject({ kind: "update", fsc: 0x31, stage2: false });
    using lenient = made.mmu(HA1);
    expect(lenient.translate(VA).ok).toBe(true);
  });

  it("are refused for tables in Device memory with PTW [HWM-14]", () => {
    const { made } = young(W.S1_LEAF, (W.S2_LEAF & ~W.S2_WB) | (1n << 2n));
    using mmu = made.mmu({ hcr: W.HCR.VM | W.HCR.PTW });
    expect(faultOf(mmu)).toMatchObject({ kind: "permission", fsc: 0xf, stage2: true, s1ptw: true });
    mmu.setRegisters({ hcr: W.HCR.VM });
    expect(mmu.translate(VA).ok).toBe(true);
  });

  it("are refused there also when many are translated and the leaf is known", () => {
    const other = VA + (1n << 21n);
    const made = world();
    made.map1(other, IPA, W.S1_LEAF);
    const table = made.entry1(other) & ~4095n;
    made.map2(table, World.physical(table), (W.S2_LEAF & ~W.S2_WB) | (1n << 2n));
    using mmu = made.mmu({ hcr: W.HCR.VM | W.HCR.PTW });
    using columns = mmu.createColumns(3);
    columns.addresses.set([VA, VA, other]);
    expect(mmu.translateMany(columns, 3)).toBe(1);
    expect(columns.rows[5]).toBe(0x1cfn | (3n << 9n) | (4n << 12n));
  });
});

describe("a table of stage 2 that lies outside of the image", () => {
  it.each([
    [1, 0x4020_0000n],
    [2, 0x4020_0000n],
    [1, 0xffff_c000_0000n],
    [2, 0xffff_c000_0000n],
  ])("is an abort of the walk, also when many are translated: level %i, %i", (level, pa) => {
    const made = world();
    made.set(made.entry2(IPA, level), pa | 3n);
    using mmu = made.mmu();
    using columns = mmu.createColumns(2);
    columns.addresses.set([VA, VA]);
    expect(mmu.translateMany(columns, 2)).toBe(2);
    expect(faultOf(mmu)).toMatchObject({ kind: "external-walk", stage2: true, level: level + 1 });
    expect(columns.rows[0]).toBe(0n);
  });
});

describe("a root of 48 bits", () => {
  it("has no bits 51:48 below: those bits of VTTBR_EL2 and TTBR0_EL1 are ignored [REG-8]", () => {
    const made = world();
    using mmu = made.mmu({ vttbr: made.s2Root | 0x3cn, ttbr0: made.s1Root | 0x3cn });
    expect(mmu.translate(VA)).toMatchObject({ ok: true });
  });
});
