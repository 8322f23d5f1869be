// The instructions of each TLB maintenance call, in order [TLB-1..4, TLB-11], and the order of break, flush and make.

import { describe, expect, it } from "vitest";
import { JournalKind, Prot } from "../../bindings/index.js";
import { CONFIGURATIONS, made } from "../support/configurations.js";
import {
  codeOf,
  describeRecord,
  expectReferences,
  KB4,
  kindsOf,
  leaves,
  MB2,
  recorded,
  rootReferences,
  smallEngine,
  tlbis,
} from "../support/tables.js";

function stage2(config: Parameters<ReturnType<typeof smallEngine>["createStage2"]>[0] = {}) {
  const engine = smallEngine();
  return { engine, table: engine.createStage2({ ipaBits: 39, ...config }) };
}

const DOMAINS = ["ishst", "ish", "nshst", "nsh"];

/** Kinds in order; barriers with their domain. */
function instructions(records: ReturnType<typeof recorded>): string[] {
  return records.map((r, i) =>
    r.kind === JournalKind.DSB ? `DSB ${DOMAINS[Number(r.a)]}` : (kindsOf(records)[i] as string),
  );
}

describe("TLB maintenance", () => {
  const WRITE_FREE = Object.values(JournalKind).filter((kind) => kind !== JournalKind.WRITE);

  it("TLB-1: by IPA, broadcast: the stage-1 entries go too, with a barrier between", () => {
    const { table, engine } = stage2({ tlbiRange: false });
    table.map(0, 2 * KB4, 0, "r");
    expect(instructions(recorded(engine, () => table.unmap(0, KB4), WRITE_FREE))).toEqual([
      "DSB ishst",
      "TLBI_IPA",
      "DSB ish",
      "TLBI_STAGE1",
      "DSB ish",
      "ISB",
    ]);
  });

  it("TLB-2: by IPA, this CPU: all non-shareable", () => {
    const { table, engine } = stage2();
    table.map(0, KB4, 0, "r");
    expect(instructions(recorded(engine, () => table.relaxPerms(0, "r"), WRITE_FREE))).toEqual([
      "DSB nshst",
      "TLBI_IPA_LOCAL",
      "DSB nsh",
      "TLBI_STAGE1_LOCAL",
      "DSB nsh",
      "ISB",
    ]);
  });

  it("TLB-3, TLB-9: a range: pieces of at most 2^21 pages, each with its own barriers", () => {
    const { table, engine } = stage2();
    const records = recorded(engine, () => table.flushTlbRange(0, (2 ** 21 + 1) * KB4));
    const piece = ["DSB ishst", "TLBI_RANGE", "DSB ish", "TLBI_STAGE1", "DSB ish", "ISB"];
    expect(instructions(records)).toEqual([...piece, ...piece]);
    expect(records.filter((r) => r.kind === JournalKind.TLBI_RANGE).map(describeRecord)).toEqual([
      "TLBI_RANGE 0x0 x2097152",
      "TLBI_RANGE 0x200000000 x1",
    ]);
  });

  it("TLB-4, TLB-11: without range instructions the whole VMID, once for any size", () => {
    const { table, engine } = stage2({ tlbiRange: false });
    const records = recorded(engine, () => table.flushTlbRange(0, 1 << 30));
    expect(instructions(records)).toEqual(["DSB ishst", "TLBI_VMID", "DSB ish", "ISB"]);
  });

  it("TLB-8: instructions of a range are counted; an address inside a page ends too", () => {
    for (const [lpa2, pages, operations] of [
      [false, 513, 2],
      [false, 3, 2],
      [true, 17, 2],
    ] as const) {
      const engine = smallEngine();
      const table = engine.createStage2({ ipaBits: 39, lpa2, quirks: "linux-6.12" });
      table.flushTlbRange(0x10008, pages * KB4);
      expect(engine.counters().tlbiRangeOps).toBe(operations);
      table.flushTlbRange(8, 1n << 50n); // took minutes once: an unaligned base was never 64K aligned
    }
  });

  it("TLB-37, BUG-25: relax flushes this CPU alone", () => {
    const { table, engine } = stage2();
    table.map(0, KB4, 0, "r");
    table.relaxPerms(0, "w");
    expect(engine.counters()).toMatchObject({ tlbiIpaLocal: 1, tlbiIpa: 0, tlbiRange: 0, tlbiVmid: 0 });
  });
});

describe("between break and make", () => {
  it("S2-23, FMT-43: the marker is not counted: the count falls at the break and rises at the make", () => {
    const { table, engine } = stage2();
    table.map(0, KB4, 0, "r");
    const [before] = rootReferences(table);
    const counts: number[] = [];
    table.walk(
      0,
      KB4,
      (visit) => {
        if (visit.level !== 1) return;
        const { old } = visit;
        visit.tryBreak();
        counts.push(...rootReferences(table));
        visit.make(old);
        counts.push(...rootReferences(table));
      },
      { leaf: false, tablePre: true },
    );
    expect(counts).toEqual([(before as number) - 1, before]);
    expect(engine.counters().warnings).toBe(0);
    expectReferences(table);
  });

  it("S2-22: who meets the marker gets EAGAIN, with nothing written", () => {
    const { table, engine } = stage2();
    table.poke(0, 0x400n);
    const writes = recorded(engine, () => {
      expect(table.relaxPerms(0, "w")).toBe("again");
      expect(table.mkyoung(0)).toBe(0n);
      table.wrprotect(0, KB4);
      table.unmap(0, KB4);
      expect(table.map(0, 1 << 30, 0, "r", { handleFault: true, shared: true })).toBe("again");
    }, [JournalKind.WRITE, JournalKind.WRITE_SHARED]);
    expect(writes).toEqual([]);
    expect(table.leaf(0).kind).toBe("locked");
  });
});

describe("detached tables", () => {
  it("S2-28: freeing one that has more references than it should warns; levels 0 to 2 are freed whole", () => {
    const { table, engine } = stage2({ ipaBits: 48 });
    const { taken } = engine.arena();
    for (const level of [1, 2])
      table.freeUnlinked(table.createUnlinked(0, level, "rw", { forcePte: level === 2 }), level);
    expect(engine.arena().taken).toBe(taken);
    expect(engine.counters().warnings).toBe(0);
    const page = table.createUnlinked(0, 2, "rw");
    engine.u64[page / 8] = 0n; // a reference without an entry
    table.freeUnlinked(page, 2);
    expect(engine.counters().warnings).toBe(1);
  });

  it("WLK-9: a level that does not exist is a warning and an EINVAL, not a walk", () => {
    const { table, engine } = stage2({ quirks: "linux-6.12" });
    expect(codeOf(() => table.createUnlinked(0, 3, "r"))).toBe("EINVAL");
    expect(engine.counters().warnings).toBeGreaterThan(0);
  });
});

describe("small statements", () => {
  it.each(CONFIGURATIONS)(
    "GEO-7 on %s: the index is the address above the shift, within its table",
    (_name, config) => {
      const { table, page, block } = made(config);
      const last = block / page - 1;
      for (const i of [0, 1, last]) table.map(5 * block + i * page, page, 0, "r");
      expect(leaves(table).map((e) => (Number(e.address) - 5 * block) / page)).toEqual([0, 1, last]);
    },
  );

  it("FMT-30: the numbering of protections is that of 5.11 to 7.0", () => {
    expect([Prot.X, Prot.W, Prot.R, Prot.DEVICE, Prot.NC]).toEqual([1, 2, 4, 8, 16]);
  });

  it("FMT-3: LPA2 changes leaves and tables of both stages alike", () => {
    const engine = smallEngine({ physBase: 0xc_0000_0000_0000n });
    const table = engine.createStage2({ ipaBits: 48, lpa2: true }),
      hyp = engine.createHyp({ vaBits: 48, lpa2: true });
    table.map(0, KB4, 0xc_0000_0000_0000n, "r");
    hyp.map(0, KB4, 0xc_0000_0000_0000n, "r");
    for (const t of [table, hyp]) {
      for (const e of t.entries({ tables: true })) expect((e.descriptor >> 8n) & 3n, `level ${e.level}`).toBe(3n);
      expect(t.leaf(0).pa).toBe(0xc_0000_0000_0000n);
    }
  });

  it("TLB-24: a block is flushed once, with its own level", () => {
    const { table, engine } = stage2({ fwb: false });
    table.map(MB2, MB2, 0, "r");
    expect(tlbis(engine, () => table.unmap(MB2, MB2))[0]).toBe("TLBI_IPA 0x200000 L2");
  });
});
