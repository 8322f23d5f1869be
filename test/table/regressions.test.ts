// One test for each fixed bug of docs/spec K.2 that exclusive walks can show.
//
// Elsewhere, since they need parts that come later: BUG-4, 13, 14, 16, 32, 35, 36, 41, 45 (fault path, memory slots,
// notifiers), BUG-23, 37, 44 (pKVM), BUG-39 (hardware model), BUG-42 (ptdump), BUG-46 (sharing and dirty logging). Of BUG-3, 26, 27
// and 28 the TLB side belongs to the hardware model; what the walker must issue is tested here.

import { describe, expect, it } from "vitest";
import { JournalKind, Prot, type Stage2Config } from "../../bindings/index.js";
import { HostMemory } from "../support/host-memory.js";
import {
  codeOf,
  contents,
  describeRecord,
  expectReferences,
  expectRefused,
  GB1,
  KB4,
  kindsOf,
  leaves,
  MB2,
  recorded,
  slotOf,
  smallEngine,
  tlbis,
} from "../support/tables.js";

function stage2(config: Stage2Config = {}) {
  const engine = smallEngine();
  const empty = engine.arena().taken;
  return { engine, empty, table: engine.createStage2({ ipaBits: 39, ...config }) };
}

function hypTable() {
  const engine = smallEngine();
  const empty = engine.arena().taken;
  return { engine, empty, table: engine.createHyp({ vaBits: 39 }) };
}

describe("regressions of the walker", () => {
  it("BUG-1: a range that starts inside a page visits its last page", () => {
    const { table } = stage2();
    table.map(0, 4 * KB4, 0, "rw", {});
    const visited: bigint[] = [];
    table.walk(0x1800, 0x1000, (visit) => {
      visited.push(visit.address);
    });
    expect(visited).toEqual([0x1000n]); // rounded down, then size up: one page [WLK-1]
    visited.length = 0;
    table.walk(0x1800, 0x1001, (visit) => {
      visited.push(visit.address);
    });
    expect(visited).toEqual([0x1000n, 0x2000n]);
  });

  it("BUG-11: an entry with nothing to do does not end a bulk walk", () => {
    const { table } = stage2();
    table.map(0x5000, KB4, 0, "rw");
    table.wrprotect(0, 0x8000);
    expect(table.leaf(0x5000).prot).toBe(Prot.R);
  });

  it("BUG-15: after a skipped entry input and output stay in step", () => {
    const { table } = stage2();
    table.map(0x1000, KB4, 0x9000, "r"); // the middle page is there: map gives it EAGAIN
    table.map(0, 3 * KB4, 0x8000, "r");
    expect(leaves(table).map((e) => e.pa)).toEqual([0x8000n, 0x9000n, 0xa000n]);
  });

  it("BUG-15: stage 1 computes the output from the walk's start", () => {
    const { table } = hypTable();
    table.map(0x1000, KB4, 0x9000, "r");
    table.map(0, 3 * KB4, 0x8000, "r");
    expect(leaves(table).map((e) => e.pa)).toEqual([0x8000n, 0x9000n, 0xa000n]);
  });

  it("BUG-20: after PRE the replaced child is not read any more", () => {
    const { table, engine } = stage2({ forcePte: "all" });
    table.map(0, MB2, 0, "rw");
    const child = [...table.entries({ tables: true })].find((e) => e.level === 2 && e.kind === "table");
    const pointer = Number((child?.pa ?? 0n) - engine.physBase) + engine.arenaPointer;
    const visits: string[] = [];
    table.walk(
      0,
      MB2,
      (visit) => {
        visits.push(`${visit.phase}${visit.level}`);
        if (visit.phase !== "pre" || visit.level !== 2) return;
        const old = visit.old;
        expect(visit.tryBreak()).toBe(true);
        visit.make((1n << 54n) | 0x7fdn);
        visit.freeTable(old);
        engine.u64.fill(~0n, pointer / 8, pointer / 8 + 512); // whoever reads it now follows wild pointers
      },
      { tablePre: true, tablePost: true },
    );
    expect(visits).toEqual(["pre1", "pre2", "post1"]);
    expect(table.leaf(0).kind).toBe("block");
  });

  it("BUG-48: a range whose end wraps is refused", () => {
    const { table } = stage2({ strict: false });
    table.map(0, KB4, 0, "rw");
    const huge = (1n << 64n) - 1n;
    expectRefused(table, "ERANGE", () => table.unmap(0x1000, huge));
    expectRefused(table, "ERANGE", () => table.map(0x1000, huge - 0xfffn, 0, "r"));
    expectRefused(table, "ERANGE", () => table.split(huge, huge));
    expect(table.walk(0x1000, huge, () => 0)).toBe(-34);
  });
});

describe("regressions of map", () => {
  it("BUG-2: replacing a leaf takes no second reference", () => {
    const { table, engine, empty } = stage2();
    table.map(0, KB4, 0x1000, "r");
    table.map(0, KB4, 0x2000, "r");
    expectReferences(table);
    table.unmap(0, KB4);
    expect(contents(table)).toEqual([]);
    table.close();
    expect(engine.arena().taken).toBe(empty);
  });

  it("BUG-3: a table that becomes a block is flushed over its whole range", () => {
    const { table, engine } = stage2();
    table.map(0, KB4, 0x9000, "r");
    expect(tlbis(engine, () => table.map(0, MB2, 0, "r"))).toEqual(["TLBI_RANGE 0x0 x512"]);
    expect(table.leaf(0).level).toBe(2);
  });

  it("BUG-5: a change of permissions only is not made by map", () => {
    const { table, engine } = stage2();
    table.map(0, KB4, 0, "r");
    const before = contents(table);
    const records = recorded(engine, () => expect(table.map(0, KB4, 0, "rw", { handleFault: true })).toBe("again"));
    expect(kindsOf(records).filter((kind) => kind !== "DSB")).toEqual([]);
    expect(contents(table)).toEqual(before);
  });

  it("BUG-6: mapping the same again writes and flushes nothing", () => {
    const { table, engine } = stage2();
    table.map(0, MB2 + 3 * KB4, 0, "rw");
    const records = recorded(engine, () => expect(table.map(0, MB2 + 3 * KB4, 0, "rw")).toBe("done"));
    expect(kindsOf(records).filter((kind) => kind !== "DSB")).toEqual([]);
  });

  it("BUG-21, BUG-22: a thousand merges leave the arena balanced", () => {
    const { table, engine, empty } = stage2();
    for (let i = 0; i < 1000; i++) {
      table.map(0, KB4, BigInt(i) << 12n, "r");
      table.map(0, MB2, BigInt(i) << 21n, "r");
    }
    expect(table.info().pages).toBe(2);
    expect(engine.counters().warnings).toBe(0);
    table.close();
    expect(engine.arena().taken).toBe(empty);
  });

  it("BUG-28: the flush of a table starts at the table's base, wherever the walk is", () => {
    const { table, engine } = stage2();
    table.map(4 * MB2, KB4, 0x9000, "r");
    const flushes = tlbis(engine, () => {
      table.walk(
        4 * MB2 + 5 * KB4,
        KB4,
        (visit) => {
          if (visit.level !== 2) return;
          const old = visit.old;
          visit.tryBreak();
          visit.make(0n);
          visit.freeTable(old);
        },
        { leaf: false, tablePre: true },
      );
    });
    expect(flushes).toEqual(["TLBI_RANGE 0x800000 x512"]);
  });

  it("BUG-28: at POST too, where the walk is already behind the child", () => {
    const { table, engine } = stage2();
    table.map(4 * MB2, MB2 / 2, 0x9000, "r");
    const flushes = tlbis(engine, () => {
      table.walk(
        4 * MB2,
        2 * MB2,
        (visit) => {
          if (visit.phase !== "post" || visit.level !== 2) return;
          const old = visit.old;
          visit.tryBreak();
          visit.make(0n);
          visit.freeTable(old);
        },
        { tablePost: true },
      );
    });
    expect(flushes).toEqual(["TLBI_RANGE 0x800000 x512"]);
    expectReferences(table);
  });

  it("BUG-30: an annotation is no memory: no cache maintenance, no address", () => {
    const { table, engine } = stage2({ fwb: false });
    table.map(0, KB4, 0x9000, "rwx");
    const records = recorded(engine, () => table.setOwner(0, KB4, 1), [JournalKind.DCACHE, JournalKind.ICACHE]);
    expect(records).toEqual([]);
    const cleaned = recorded(engine, () => table.unmap(0, KB4), [JournalKind.DCACHE, JournalKind.ICACHE]);
    expect(cleaned).toEqual([]);
    expect(table.leaf(0).pa).toBe(0n);
  });

  it("BUG-30: typed annotations whose payload looks like Normal memory are not cleaned either", () => {
    const { table, engine } = stage2({ fwb: false, annotations: "7.x" });
    table.annotate(0, KB4, 2, 0x7fen);
    const records = recorded(engine, () => {
      table.flush(0, KB4);
      table.unmap(0, KB4);
    }, [JournalKind.DCACHE]);
    expect(records).toEqual([]);
  });
});

describe("regressions of attributes", () => {
  it("BUG-12: relax on a hole is EAGAIN, and writes nothing", () => {
    const { table, engine } = stage2();
    table.map(0x1000, KB4, 0, "r");
    const before = contents(table);
    const writes = recorded(engine, () => expect(table.relaxPerms(0, "w")).toBe("again"), [JournalKind.WRITE]);
    expect(writes).toEqual([]);
    expect(contents(table)).toEqual(before);
  });

  it("BUG-12: mkyoung issues its barrier only when it succeeded", () => {
    const { table, engine } = stage2();
    expect(kindsOf(recorded(engine, () => table.mkyoung(0)))).toEqual([]);
    table.map(0, KB4, 0, "r");
    expect(kindsOf(recorded(engine, () => table.mkyoung(0)))).toEqual(["DSB"]);
  });

  it("BUG-24: ageing looks at every page of a range, and at the part of a block", () => {
    const { table } = stage2();
    table.map(0x1000, 3 * KB4, 0x1000, "r");
    table.map(MB2, MB2, 0, "r");
    table.testClearYoung(0, 4 * MB2);
    table.mkyoung(0x3000);
    expect(table.testClearYoung(0x1000, 3 * KB4)).toBe(true);
    expect(table.testClearYoung(0x1000, 3 * KB4)).toBe(false);
    table.mkyoung(MB2);
    expect(table.testClearYoung(0x2000, MB2, false)).toBe(true);
    expect(table.testClearYoung(0x2000, MB2)).toBe(true);
    expect(leaves(table).every((e) => (e.descriptor & (1n << 10n)) === 0n)).toBe(true);
  });

  it("BUG-25: relax flushes this CPU even when it had nothing to do or lost", () => {
    const { table, engine } = stage2();
    table.map(0, KB4, 0, "rw");
    expect(tlbis(engine, () => table.relaxPerms(0, "w"))).toEqual(["TLBI_IPA_LOCAL 0x0 L3"]);
    expect(tlbis(engine, () => table.relaxPerms(0x1000, "w"))).toEqual(["TLBI_IPA_LOCAL 0x1000 no hint"]);
  });

  it("BUG-31: of a hole nothing is known: relax gives no level hint, whatever ran before", () => {
    const { table, engine } = stage2();
    table.map(0, MB2, 0, "r");
    table.leaf(0);
    table.relaxPerms(0, "w");
    expect(tlbis(engine, () => table.relaxPerms(8 * MB2, "w"))).toEqual(["TLBI_IPA_LOCAL 0x1000000 no hint"]);
  });

  it("BUG-38, S2-18: relax(W) on an executable leaf keeps X, with FEAT_XNX too", () => {
    const { table } = stage2({ xnx: true });
    table.map(0, KB4, 0, "rx");
    table.map(KB4, KB4, 0, Prot.R | Prot.PX);
    table.relaxPerms(0, "w");
    table.relaxPerms(KB4, Prot.W | Prot.UX);
    expect([table.leaf(0).prot, table.leaf(KB4).prot]).toEqual([Prot.R | Prot.W | Prot.X, Prot.R | Prot.W | Prot.X]);
  });
});

describe("regressions of unmap", () => {
  it("BUG-26: a table that goes is flushed without a level hint", () => {
    for (const tlbiRange of [true, false]) {
      const { table, engine } = stage2({ tlbiRange });
      table.map(0, KB4, 0, "r");
      const flushes = tlbis(engine, () => table.unmap(0, KB4));
      expect(flushes).toContain("TLBI_IPA 0x0 no hint");
      expect(flushes.filter((f) => /L[012]$/.test(f))).toEqual([]);
    }
  });

  it("BUG-27: no table is freed before it is flushed, deferred or not", () => {
    const { table, engine } = stage2();
    table.map(0, KB4, 0, "r");
    const kinds = kindsOf(
      recorded(engine, () => table.unmap(0, KB4), [
        JournalKind.WRITE,
        JournalKind.TLBI_IPA,
        JournalKind.TLBI_RANGE,
        JournalKind.TABLE_FREED,
      ]),
    );
    // The page, then both tables above it, each: emptied, flushed, freed; the deferred flush of the page last.
    expect(kinds).toEqual([
      "WRITE",
      "WRITE",
      "TLBI_IPA",
      "TABLE_FREED",
      "WRITE",
      "TLBI_IPA",
      "TABLE_FREED",
      "TLBI_RANGE",
    ]);
  });

  it.each([[2 ** 21 - 1], [2 ** 21], [2 ** 21 + 1]])("BUG-29: a flush of %i pages covers them all", (pages) => {
    const { table, engine } = stage2();
    const records = recorded(engine, () => table.flushTlbRange(0, pages * KB4), [JournalKind.TLBI_RANGE]);
    expect(records.reduce((sum, r) => sum + Number(r.a), 0)).toBe(pages);
    expect(records.every((r) => r.a <= 2n ** 21n)).toBe(true);
    expect(engine.counters().tlbiRangeOps).toBeGreaterThan(0);
  });

  it("BUG-29: exactly 2^21 pages are one instruction of SCALE 3 and NUM 31", () => {
    const { engine } = stage2();
    expect(engine.core.tlbiRangeStep(12, 0n, 1n << 21n, 3, -1, 0, 1)).toBe(0);
    const { pages, scale, num } = engine.results.rangeStep;
    expect([pages, scale, num]).toEqual([1n << 21n, 3, 31]);
  });

  it("BUG-33: destroy in chunks of every size leaves nothing, wherever the chunks end", () => {
    for (const chunk of [KB4, 3 * KB4, 511 * KB4, MB2, MB2 + KB4, 3 * MB2, GB1]) {
      const { table, engine, empty } = stage2();
      table.map(0x3000, 3 * MB2, 0x3000, "rw");
      table.setOwner(6 * MB2, 2 * KB4, 1);
      for (let at = 0; at < 8 * MB2; at += chunk) {
        table.destroyRange(at, chunk);
        expectReferences(table);
      }
      expect(contents(table)).toEqual([]);
      expect(table.info().pages).toBe(table.info().rootPages);
      table.close();
      expect(engine.arena().taken).toBe(empty);
    }
  });

  it("BUG-7: stage 1 never unmaps a part of a block", () => {
    const { table } = hypTable();
    table.map(MB2, MB2, MB2, "r");
    const before = contents(table);
    expect(table.unmap(MB2, MB2 - KB4)).toBe(0n);
    expect(contents(table)).toEqual(before);
    expect(table.unmap(MB2, MB2)).toBe(BigInt(MB2));
  });
});

describe("regressions of setting up", () => {
  it("BUG-10: pages are taken outside any visit: an allocator may call the engine", () => {
    const engine = smallEngine();
    const host = new HostMemory(engine);
    const other = engine.createStage2({ ipaBits: 39 });
    host.before = (name) => {
      if (name === "zallocPage") other.map(0, KB4, 0, "r");
    };
    const table = engine.createHyp({ vaBits: 39, hooks: host.ops() });
    table.map(0, KB4, 0x9000, "r");
    expect([table.leaf(0).pa, other.leaf(0).kind]).toEqual([0x9000n, "page"]);
  });

  it("BUG-34: without hardware access flags VTCR has no HA", () => {
    const { table } = stage2({ hardwareAf: false });
    expect((table.vtcr >> 21n) & 1n).toBe(0n);
    expect((stage2().table.vtcr >> 21n) & 1n).toBe(1n);
  });

  it("BUG-40: hVHE leaves have UXN and PXN", () => {
    const { engine } = hypTable();
    const table = engine.createHyp({ vaBits: 39, hvhe: true });
    table.map(0, KB4, 0, "r");
    table.map(KB4, KB4, 0, "rx");
    expect([0, KB4].map((at) => (table.leaf(at).descriptor >> 53n) & 3n)).toEqual([3n, 0n]);
  });

  it("BUG-43: a table that could not be made leaves nothing behind", () => {
    const engine = smallEngine({ arenaBytes: 1 << 20 });
    const { taken } = engine.arena();
    expect(codeOf(() => engine.createStage2({ granule: 65536, ipaBits: 46, pa52: false }))).toBe("ENOMEM");
    expect(codeOf(() => engine.createStage2({ forcePte: { below: -1n } }))).toBe("EINVAL");
    expect(engine.arena().taken).toBe(taken);
  });

  it("BUG-47: a split flushes each block once, and not the tree that it builds", () => {
    const { table, engine } = stage2();
    table.map(0, 2 * MB2, 0, "rwx");
    expect(tlbis(engine, () => table.split(0, 2 * MB2))).toEqual([
      "TLBI_IPA 0x0 L2",
      `TLBI_IPA 0x${MB2.toString(16)} L2`,
    ]);
    const one = stage2();
    one.table.map(GB1, GB1, GB1, "rw");
    using cache = one.engine.createCache(4096, 4);
    cache.fill(2);
    expect(tlbis(one.engine, () => one.table.split(GB1, MB2, cache))).toEqual([
      "TLBI_IPA 0x40000000 L1",
      "TLBI_IPA 0x40000000 L2",
    ]);
  });

  it("BUG-49: split keeps the memory type", () => {
    for (const [letters, type] of [
      ["rwd", Prot.DEVICE],
      ["rn", Prot.NC],
    ] as const) {
      const { table } = stage2();
      table.map(0, MB2, 0, letters);
      const { prot } = table.leaf(0);
      table.split(0, MB2);
      expect(leaves(table).map((e) => e.prot)).toEqual(new Array<number>(512).fill(prot));
      expect(prot & type).toBe(type);
    }
  });

  it("BUG-50: with HD on a dirty bit set meanwhile survives", () => {
    const engine = smallEngine();
    let slot = -1;
    const dirty = 1n << 7n;
    const table = engine.createStage2({
      ipaBits: 39,
      hardwareDirty: true,
      hooks: {
        icacheInvalPou: () => {
          if (slot >= 0) engine.u64[slot] = (engine.u64[slot] as bigint) | dirty;
        },
      },
    });
    table.map(0, KB4, 0, "r");
    slot = slotOf(table, 0n);
    expect(table.relaxPerms(0, "x")).toBe("done"); // the hook writes between snapshot and store
    expect(table.leaf(0).prot).toBe(Prot.R | Prot.W | Prot.X);
  });
});

describe("records", () => {
  it("are described as the tests above read them", () => {
    const { table, engine } = stage2();
    const records = recorded(engine, () => table.flushTlbRange(0, KB4), [JournalKind.TLBI_RANGE]);
    expect(records.map(describeRecord)).toEqual(["TLBI_RANGE 0x0 x1"]);
  });
});
