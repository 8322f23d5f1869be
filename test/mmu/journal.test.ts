// The engine's journal as TLBIs: what each primitive of the kernel says to the CPUs' TLBs [TLB-1..4, TLB-11, TLB-29, TLB-33, HWM-38].

import { describe, expect, it } from "vitest";
import { createEngine, type Engine, JournalKind } from "../../bindings/index.js";
import {
  createMmu,
  createTlb,
  hypRegisters,
  type MmuOptions,
  stage2Registers,
  TlbDomain,
  tlbMessages,
} from "../../bindings/mmu/index.js";
import type { Table } from "../../bindings/tables/table.js";

const QUIET = { early: 0, drop: 0, prefetch: 0 };
const IPA = 0x4000_0000;

/** Two CPUs whose adversaries only wait. */
function cpus(options: MmuOptions): TlbDomain {
  const make = () => createTlb(createMmu(options), { adversarial: true, whims: QUIET });
  return new TlbDomain([make(), make()]);
}

/** What an operation says, as text; and the CPUs hear it. */
function follow(engine: Engine, table: Table, domain: TlbDomain, operate: () => void): string[] {
  engine.journal.start();
  operate();
  const records = engine.journal.read();
  engine.journal.stop();
  for (const record of records) domain.follow(record, { table });
  return records.flatMap((record) => tlbMessages(record, table)).map((m) => ("form" in m ? m.form : m.dsb));
}

describe("the journal of an engine", () => {
  it("flushes EL2's leaves by VALE2IS and its tables by VAE2IS, and nothing stays [TLB-33]", () => {
    using engine = createEngine({ journalRecords: 1000 });
    const hyp = engine.createHyp({ vaBits: 48 });
    hyp.map(0x1_0000, 0x2000, 0x9000_0000, "rw");
    const domain = cpus({ engine, regime: "el2", registers: hypRegisters(hyp) });
    const look = (va: number) => domain.tlbs.map((tlb) => tlb.access(va).ok);
    expect([look(0x1_0000), look(0x1_1000)].flat()).toEqual([true, true, true, true]);
    expect(follow(engine, hyp, domain, () => hyp.unmap(0x1_0000, 0x1000))).toEqual(["VALE2IS", "ish"]);
    expect([look(0x1_0000), look(0x1_1000)].flat()).toEqual([false, false, true, true]);
    const said = follow(engine, hyp, domain, () => hyp.unmap(0x1_1000, 0x1000));
    expect(said.filter((form) => form === "VALE2IS")).toHaveLength(1);
    expect(said.filter((form) => form === "VAE2IS").length).toBeGreaterThan(0);
    for (const tlb of domain.tlbs) expect(tlb.entries().filter(({ size }) => size <= 1n << 21n)).toEqual([]);
  });

  it("flushes an hVHE hypervisor's leaves as entries of EL2&0, whichever MMU its CPU is known by", () => {
    using engine = createEngine({ journalRecords: 1000 });
    const hyp = engine.createHyp({ vaBits: 48, hvhe: true });
    hyp.map(0x1_0000, 0x1000, 0x9000_0000, "rw");
    using mmu = createMmu({ engine, regime: "el2", registers: hypRegisters(hyp) });
    using guest = createMmu({ beside: mmu });
    const entries = createTlb(guest, { adversarial: true, whims: QUIET });
    const tlb = createTlb(mmu, { sharing: entries });
    const domain = new TlbDomain([entries]);
    expect(tlb.access(0x1_0000).ok).toBe(true);
    follow(engine, hyp, domain, () => hyp.unmap(0x1_0000, 0x1000));
    expect(tlb.access(0x1_0000).ok).toBe(false);
  });

  it("says DS of the table: with LPA2 a hint can name level 0 of 4K, and nothing but such a leaf goes [TLB-5]", () => {
    for (const lpa2 of [false, true]) {
      using engine = createEngine({ journalRecords: 1000 });
      const table = engine.createStage2({ lpa2, ipaBits: lpa2 ? 52 : 48, ...(lpa2 ? { paBits: 52 } : {}) });
      table.map(IPA, 0x1000, 0x9000_0000, "rw");
      engine.journal.start();
      table.unmap(IPA, 0x1000);
      const messages = engine.journal.read().flatMap((record) => tlbMessages(record, table));
      const said = messages.flatMap((m) => ("form" in m ? [m.lpa2] : []));
      expect(said.length).toBeGreaterThan(0);
      expect(new Set(said)).toEqual(new Set([lpa2]));
    }
  });

  it("relaxes permissions on one CPU only; the other one's denial is spurious [TLB-2, TLB-29, TLB-37]", () => {
    using engine = createEngine({ journalRecords: 1000 });
    const table = engine.createStage2();
    table.map(IPA, 0x1000, 0x9000_0000, "r");
    const domain = cpus({ engine, registers: stage2Registers(table, 3) });
    const writes = () => domain.tlbs.map((tlb) => tlb.access(IPA, "w").ok);
    expect(writes()).toEqual([false, false]);
    expect(follow(engine, table, domain, () => table.relaxPerms(IPA, "w"))).toEqual([
      "IPAS2E1",
      "nsh",
      "VMALLE1",
      "nsh",
    ]);
    expect(writes()).toEqual([true, false]);
    domain.invalidate(1, "VMALLE1");
    domain.invalidate(1, "IPAS2E1", IPA >> 12);
    domain.dsb(1, "nsh");
    expect(writes()).toEqual([true, true]);
  });

  it("says nothing of a range beyond every input space, which is one record however long [TLB-9]", () => {
    using engine = createEngine({ journalRecords: 1000 });
    const table = engine.createStage2();
    table.map(IPA, 0x1000, 0x9000_0000, "rw");
    engine.journal.start();
    table.flushTlbRange(IPA, 0x1000);
    const range = engine.journal.read().find(({ kind }) => kind === JournalKind.TLBI_RANGE);
    if (range === undefined) throw new Error("no range in the journal");
    expect(tlbMessages(range, table)).toHaveLength(1);
    expect(tlbMessages({ ...range, address: 1n << 55n, a: 1n << 40n }, table)).toEqual([]);
  });

  it("flushes a range by range operations, or the VMID where there are none [TLB-3, TLB-4, TLB-11]", () => {
    for (const tlbiRange of [true, false]) {
      using engine = createEngine({ journalRecords: 1000 });
      const table = engine.createStage2({ tlbiRange });
      table.map(IPA, 0x20_1000, 0x9000_0000, "rw");
      const domain = cpus({ engine, registers: stage2Registers(table, 3) });
      const writes = (at: number) => domain.tlbs.map((tlb) => tlb.access(IPA + at, "w").ok);
      expect([writes(0), writes(0x20_0000)].flat()).toEqual([true, true, true, true]);
      table.wrprotect(IPA, 0x20_1000);
      expect([writes(0), writes(0x20_0000)].flat()).toEqual([true, true, true, true]);
      const said = follow(engine, table, domain, () => table.flushTlbRange(IPA, 0x20_1000));
      expect(said).toEqual(
        tlbiRange ? ["RIPAS2E1IS", "IPAS2E1IS", "ish", "VMALLE1IS", "ish"] : ["VMALLS12E1IS", "ish"],
      );
      expect([writes(0), writes(0x20_0000)].flat()).toEqual([false, false, false, false]);
    }
  });
});
