import { describe, expect, it } from "vitest";
import { passed } from "../../bindings/report/replay.js";
import { CAPTURES, type Capture, replayCapture } from "./support.js";

/** The kernel's tables had these many leaves at the freeze points, all together. */
const LEAVES: Readonly<Partial<Record<Capture, number>>> = {
  "J-boot-6.12-4k/Image612-v1-thp-256m": 39,
  "J-boot-6.12-4k/Image612-v1-nothp-256m": 16725,
  "E-6.1-4k-vhe-a76/age": 3544,
};

describe.each(CAPTURES)("the operations of %s", (capture) => {
  it("give the tables of the running kernel at every freeze point, bit for bit", async () => {
    const report = await replayCapture(capture, { from: "ops" });
    const compared = report.checks.filter((c) => c.skipped === undefined);
    expect(compared.length).toBeGreaterThan(0);
    expect(compared.filter((c) => c.missing + c.extra + c.differing > 0)).toEqual([]);
    expect(report.textChecks.filter((c) => c.differing > 0)).toEqual([]);
    expect(passed(report)).toBe(true);
    const leaves = compared.reduce((sum, c) => sum + c.matched, 0);
    expect(leaves).toBeGreaterThan(0);
    if (LEAVES[capture] !== undefined) expect(leaves).toBe(LEAVES[capture]);
  });

  it("return what they returned there, and none fails", async () => {
    const { operations } = await replayCapture(capture, { from: "ops", truth: undefined });
    expect(operations.returns.agreed).toBeGreaterThan(0);
    expect(operations.returns.differing).toEqual({});
    expect(operations.failed).toEqual({});
  });

  it("never set an access flag that the kernel's table has not", async () => {
    const { checks } = await replayCapture(capture, { from: "ops" });
    expect(checks.map((c) => c.accessFlag.clear)).toEqual(checks.map(() => 0));
  });
});

describe("a dump of another VM", () => {
  it("is recognised by its size of guest addresses, and not compared", async () => {
    const { checks } = await replayCapture("I-7.2-4k-vhe-max/ipa52", { from: "ops" });
    expect(checks.map((c) => [c.point, c.skipped === undefined])).toEqual([
      ["ipa52.scattered", false],
      ["ipa52.deleted", true],
    ]);
    expect(checks[0]?.skipped).toContain("40 bits of IPA");
  });
});

describe("maps that the kernel refused", () => {
  it("are not made: KSM put pages where no table was, with no memory for one", async () => {
    const { operations } = await replayCapture("E-6.1-4k-vhe-a76/age", { from: "ops" });
    expect(operations.refused).toEqual({ "s2_map -12": 1534 });
  });
});

describe("the kernel's own text of its tables", () => {
  it("is ours, byte for byte, at the fifteen points of a 7.2 capture", async () => {
    const { textChecks } = await replayCapture("F-7.2custom-4k-vhe-max/pd-unmap", { from: "ops" });
    expect(textChecks).toHaveLength(15);
    expect(textChecks.filter((c) => c.differing > 0 || c.lines < 2)).toEqual([]);
  });
});

/**
 * Faults for which the kernel's own line is in the trace, and those that we service alike. What is missing: a read of memory that the
 * VMM had filled before it gave it to the guest. Only the kernel's line shows it; the 63 reads after it are of memory known to be filled.
 */
const AGREEMENT: Readonly<Record<Capture, [agreed: number, compared: number]>> = {
  "A-6.12-4k-vhe-max/dthp-man3": [1221, 1221],
  "A-6.12-4k-vhe-max/ipa52": [92, 92],
  "B-6.12-4k-vhe-max-smp2/unmap-2v": [191, 191],
  "C-6.12-16k-vhe-max/ipa16k-48": [92, 92],
  "E-6.1-4k-vhe-a76/age": [515, 516],
  "F-7.2custom-4k-vhe-max/pd-unmap": [183, 183],
  "G-7.2custom-64k-vhe-max/pd64k-ipa48": [92, 92],
  "I-7.2-4k-vhe-max/ipa52": [60, 60],
  "J-boot-6.12-4k/Image612-v1-nothp-256m": [34400, 34400],
  "J-boot-6.12-4k/Image612-v1-thp-256m": [73, 73],
};

describe.each(CAPTURES)("the faults of %s", (capture) => {
  it("lead to the kernel's own operations: address, size and rights", async () => {
    const { service } = await replayCapture(capture, { from: "faults", truth: undefined });
    const { agreed, compared } = service?.agreement ?? {};
    expect([agreed, compared]).toEqual(AGREEMENT[capture]);
  });

  it("give the kernel's tables but for output addresses, though no s2_* line is used", async () => {
    const report = await replayCapture(capture, { from: "faults" });
    const compared = report.checks.filter((c) => c.skipped === undefined);
    expect(compared.length).toBeGreaterThan(0);
    expect(compared.filter((c) => c.missing + c.extra + c.differing > 0)).toEqual([]);
    expect(report.textChecks.filter((c) => c.differing > 0)).toEqual([]);
  });
});

describe("the level of a translation fault", () => {
  it.each(["J-boot-6.12-4k/Image612-v1-nothp-256m", "G-7.2custom-64k-vhe-max/pd64k-ipa48"] as const)(
    "is in %s where our table ended, each time",
    async (capture) => {
      const { service } = await replayCapture(capture, { from: "faults", truth: undefined });
      expect(service?.levels.compared).toBeGreaterThan(90);
      expect(service?.levels.equal).toBe(service?.levels.compared);
    },
  );
});

describe("dirty logging", () => {
  it("counts as many dirty pages as the kernel reported, manual and initially set", async () => {
    const { dirty } = await replayCapture("A-6.12-4k-vhe-max/dthp-man3", { from: "faults", truth: undefined });
    expect(dirty).toMatchObject({ reads: 6, equal: 6, pages: 66333 });
  });
});
