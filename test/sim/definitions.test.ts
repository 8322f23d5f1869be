import { describe, expect, it } from "vitest";
import { type RunConfig, type RunReport, runWorkload } from "../../bindings/sim/index.js";

/*
 * What each workload does follows from its definition, and so do its counts: here they are, in pages of small memory. The TLB is so
 * small that nothing is held from one pass to the next.
 */
const MEMORY = 8 * 2 ** 20;
const PAGES = MEMORY / 4096;
const BLOCKS = MEMORY / 2 ** 21;

function run(workload: string, config: Partial<RunConfig> = {}): RunReport {
  return runWorkload({ workload, memory: MEMORY, backing: "4k", tlb: "tiny", seed: 3, ...config });
}

/** Faults by kind, and what leaves the guest for other reasons. */
function faultsOf({ faults: { translation, permission, access, exits, aborts } }: RunReport) {
  return { translation, permission, access, exits, aborts };
}

const NONE = { translation: 0, permission: 0, access: 0, exits: 0, aborts: 0 };
/** Each page is mapped once. */
const MAPPED = { ...NONE, translation: PAGES };
const BOTH = [1, 2] as const;

describe("demand_paging", () => {
  it.each(BOTH)("maps each page once, whoever of %d vCPUs comes first", (vcpus) => {
    for (const overlap of [false, true]) {
      const report = run("demand_paging", { vcpus, overlap });
      expect(faultsOf(report)).toEqual(MAPPED);
      expect([report.accesses, report.dirty.written]).toEqual(Array(2).fill(overlap ? vcpus * PAGES : PAGES));
      expect(report.table.leaves).toBe(PAGES);
    }
  });
});

describe("dirty_log_perf", () => {
  const config = { random: false, writes: 1, iterations: 3 } as const;

  it.each([{}, { vcpus: 2 }, { slots: 4 }, { manual: true }, { dirty: "ring" }, { dirty: "eager" }] as const)(
    "with stores to each page, and %o, takes a fault a page in each iteration, and reports each page in each",
    (more) => {
      const report = run("dirty_log_perf", { ...config, ...more });
      expect(report.dirty).toMatchObject({ rounds: [PAGES, PAGES, PAGES], unlogged: 0 });
      expect(faultsOf(report)).toEqual({ ...MAPPED, permission: 3 * PAGES });
    },
  );

  it("takes none where the hardware keeps dirty state, and reports the same pages", () => {
    const report = run("dirty_log_perf", { ...config, dirty: "dbm" });
    expect(report.dirty).toMatchObject({ rounds: [PAGES, PAGES, PAGES], unlogged: 0 });
    expect(faultsOf(report)).toEqual(MAPPED);
  });

  it("with loads alone reports nothing", () => {
    const report = run("dirty_log_perf", { ...config, writes: 0 });
    expect([report.dirty.rounds, report.accesses]).toEqual([[0, 0, 0], 4 * PAGES]);
    expect(faultsOf(report)).toEqual(MAPPED);
  });

  it("at random makes a quarter as many accesses as there are pages", () => {
    expect(run("dirty_log_perf", { iterations: 2 }).accesses).toBe(PAGES + 2 * (PAGES / 4));
  });
});

describe("page_table_test", () => {
  it.each(BOTH)("of small pages maps, makes writable, and finds all of it mapped, with %d vCPUs", (vcpus) => {
    const report = run("page_table_test", { vcpus });
    expect(faultsOf(report)).toEqual({ ...MAPPED, permission: PAGES });
    expect([report.accesses, report.dirty.rounds, report.table.leaves]).toEqual([3 * vcpus * PAGES, [PAGES], PAGES]);
  });

  it.each(BOTH)("of blocks maps them, breaks them, and maps them again, with %d vCPUs", (vcpus) => {
    const report = run("page_table_test", { vcpus, backing: "thp" });
    // CREATE: a block each. UPDATE: the store breaks it, each page of its upper half is read. ADJUST: the first hole gives the block back.
    expect(faultsOf(report)).toEqual({ ...NONE, translation: BLOCKS + BLOCKS * 256 + BLOCKS, permission: BLOCKS });
    expect(report.accesses).toBe(vcpus * (BLOCKS + BLOCKS + BLOCKS * 256 + PAGES));
    expect([report.dirty.rounds, report.table.leaves]).toEqual([[BLOCKS], BLOCKS]);
  });

  it("of blocks that were split at once has no hole, so they do not return", () => {
    const report = run("page_table_test", { backing: "thp", dirty: "eager" });
    expect(faultsOf(report)).toEqual({ ...NONE, translation: BLOCKS, permission: BLOCKS });
    expect(report.table.leaves).toBe(PAGES);
  });
});

describe("access_tracking_perf", () => {
  it("takes an access fault a page in each pass over what was made old", () => {
    const report = run("access_tracking_perf", { iterations: 2 });
    expect(faultsOf(report)).toEqual({ ...MAPPED, access: 2 * 2 * PAGES });
    expect(report.accesses).toBe((3 + 2 * 2) * PAGES);
  });

  it("takes none where the hardware sets access flags", () => {
    expect(faultsOf(run("access_tracking_perf", { iterations: 2, dirty: "dbm" }))).toEqual(MAPPED);
  });
});

describe("slots that come, go and move", () => {
  it.each(BOTH)("leave the mappings of the others alone in memslot_modification_stress, with %d vCPUs", (vcpus) => {
    const report = run("memslot_modification_stress", { iterations: 7, vcpus });
    expect(faultsOf(report)).toEqual(MAPPED);
    expect(report.table.leaves).toBe(PAGES);
  });

  it.each([1, 8, 32])("take what they have with them in memslot_perf, of %d slots", (slots) => {
    const iterations = 2;
    const report = run("memslot_perf", { iterations, slots });
    // map, unmap and unmap in chunks map all pages; then all are mapped again; the slot that moves is, too, each time.
    const translation = 3 * iterations * PAGES + PAGES + iterations * (PAGES / slots);
    expect(faultsOf(report)).toEqual({ ...NONE, translation });
    // A slot that moved when the guest worked in another one is not mapped again.
    expect(report.table.leaves).toBe(slots === 1 ? PAGES : PAGES - PAGES / slots);
  });

  it("are 32 in memslot_perf, and one elsewhere, where nobody says", () => {
    expect([run("memslot_perf", { iterations: 1 }).config.slots, run("boot").config.slots]).toEqual([32, 1]);
  });
});

describe("migration", () => {
  it("converges where the guest writes more slowly than pages are copied", () => {
    const { rounds, unlogged } = run("migration", { writes: 1, rate: 0.25 }).dirty;
    expect(rounds.length).toBeLessThan(30);
    expect([...rounds].sort((a, b) => b - a)).toEqual(rounds);
    expect([rounds.at(-1), unlogged]).toEqual([0, 0]);
    // The last round that copied left less than 1/256 of the pages.
    expect(rounds.at(-2)).toBeLessThanOrEqual(PAGES / 256);
  });

  it("does not where the guest writes its whole working set anew meanwhile", () => {
    const { rounds } = run("migration", { writes: 1, rate: 16 }).dirty;
    expect(rounds).toEqual([...Array(30).fill(PAGES / 4), 0]);
  });
});

describe("what guests and hosts do with memory", () => {
  it.each(BOTH)("balloon maps again what the host took, with %d vCPUs", (vcpus) => {
    const report = run("balloon", { iterations: 3, vcpus });
    expect(faultsOf(report)).toEqual({ ...NONE, translation: PAGES + 3 * (PAGES / 4) });
  });

  it.each(BOTH)(
    "boot runs its image, unpacks it, describes memory, asks devices and runs programs, with %d vCPUs",
    (vcpus) => {
      const report = run("boot", { vcpus });
      const image = PAGES / 8;
      const translation = image + image + PAGES / 64 + vcpus + PAGES / 4;
      // Where there is no slot, nothing is ever mapped: each access to a device is a fault.
      expect(faultsOf(report)).toEqual({ ...NONE, translation: translation + 64, exits: 64 });
      expect(report.accesses).toBe(3 * image + PAGES / 64 + 64 + vcpus * image + vcpus + PAGES / 4);
    },
  );

  it("fork maps all for reading, and lets the guest write page by page", () => {
    const report = run("fork", { iterations: 2 });
    expect(faultsOf(report)).toEqual({ ...NONE, translation: 3 * PAGES, permission: 2 * (PAGES / 2) });
  });

  it("ksm maps what was merged for reading, and gives a page back for each store", () => {
    const report = run("ksm", { iterations: 2 });
    expect(faultsOf(report)).toEqual({ ...NONE, translation: 3 * PAGES, permission: 2 * (PAGES / 4) });
  });
});
