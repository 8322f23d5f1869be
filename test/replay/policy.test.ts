import { describe, expect, it } from "vitest";
import type { ReplayPolicy } from "../../bindings/replay/policy.js";
import { reportText } from "../../bindings/report/replay-text.js";
import { granule } from "../cli/granule.js";
import {
  CAPTURES,
  type Capture,
  esr,
  fault,
  line,
  replayCapture,
  replayText,
  setRegion,
  tracePath,
} from "./support.js";

const NOTHP = "J-boot-6.12-4k/Image612-v1-nothp-256m";
const THP = "J-boot-6.12-4k/Image612-v1-thp-256m";
const PAGE = { hugetlb: 0, thp: false };
const HUGE = { hugetlb: 0, thp: true };

async function under(capture: Capture, policy: ReplayPolicy) {
  const report = await replayCapture(capture, { policy, truth: undefined });
  const { comparison } = report;
  if (comparison === undefined) throw new Error("no comparison");
  return { ...comparison, report };
}

/** Faults for which the kernel had nothing to do: another vCPU had mapped the page already. */
const RACED: Readonly<Partial<Record<Capture, number>>> = { "B-6.12-4k-vhe-max-smp2/unmap-2v": 10 };

describe("recorded faults under another policy", () => {
  it.each(CAPTURES)("all happen under that of %s itself", async (capture) => {
    const { recorded, first, again, avoided, report } = await under(capture, {});
    expect(avoided.block + avoided.mapped).toBe(RACED[capture] ?? 0);
    expect(first + again.protected + again.unmapped + again.aged + (RACED[capture] ?? 0)).toBe(recorded);
    expect(recorded).toBeGreaterThan(50);
    expect(report.service?.agreement).toBeUndefined();
  });

  it("of a boot in small pages are as many with huge pages as the same boot took with huge pages", async () => {
    const small = await under(NOTHP, { backing: HUGE });
    const huge = await under(THP, {});
    expect([small.recorded, small.avoided.block, small.first]).toEqual([34_400, 34_327, 73]);
    expect(small.first).toBe(huge.recorded);
  });

  it("of a boot with huge pages say nothing of the pages that a block had: they are counted", async () => {
    const { recorded, first, covered } = await under(THP, { backing: PAGE });
    // As many pages as the same boot touched one by one are among them.
    expect([recorded, first]).toEqual([73, 73]);
    expect(covered + recorded).toBeGreaterThan(34_400);
  });

  it("in pages of 64K are one for each 64K that was touched", async () => {
    const { first, avoided, unfitSlots } = await under(NOTHP, { granule: 65536, backing: PAGE });
    expect([first, avoided.block, unfitSlots > 0]).toEqual([2263, 0, true]);
    expect(avoided.mapped).toBe(34_399 - 2263);
  });

  it("of dirty logging happen again where blocks are left to split, and where they were split only to be marked", async () => {
    const lazy = await under("A-6.12-4k-vhe-max/dthp-man3", {});
    const eager = await under("A-6.12-4k-vhe-max/dthp-man3", { dirty: "eager", splitChunk: 2 << 20 });
    expect(lazy.again).toEqual({ protected: 189, unmapped: 900, aged: 0 });
    expect(eager.again).toEqual({ protected: 899, unmapped: 0, aged: 0 });
    // 190 faults were taken because a neighbour's store had broken the block.
    expect(eager.avoided).toEqual({ block: 0, mapped: 190 });
    // However it logs, the log is the kernel's.
    for (const { report } of [lazy, eager]) expect(report.dirty).toMatchObject({ reads: 6, equal: 6, pages: 66_333 });
  });
});

describe("one fault after another", () => {
  const RAM = 0x4000_0000;
  const HVA = 0xffff_8000_0000;
  const MIB2 = 2 << 20;
  const logs = (on: boolean) => setRegion(0, on ? 1 : 0, RAM, 64 << 20, HVA);
  const write = (at: number) => fault(at, esr.write(0x07));
  const read = (at: number) => fault(at, esr.read(0x07));
  const age = line("kvm_age_hva", `mmu notifier age hva: 0x${HVA.toString(16)} -- 0x${(HVA + MIB2).toString(16)}`, 9);
  const unmap = line(
    "kvm_unmap_hva_range",
    `mmu notifier unmap range: 0x${HVA.toString(16)} -- 0x${(HVA + 0x1000).toString(16)}`,
    9,
  );
  const compared = async (text: string, policy: ReplayPolicy = { backing: PAGE }) => {
    const { comparison } = await replayText(logs(false) + text, { policy });
    const { first, again, avoided, devices } = comparison ?? {};
    return { first, again, avoided, devices };
  };
  const NEVER = { protected: 0, unmapped: 0, aged: 0 };

  it("at a page that is mapped would not have happened", async () => {
    const seen = await compared(write(RAM) + write(RAM + 8) + read(RAM) + read(0x9000_0000));
    expect(seen).toEqual({ first: 1, again: NEVER, avoided: { block: 0, mapped: 2 }, devices: 1 });
  });

  it("at a page that the host took away is a first one", async () => {
    expect(await compared(write(RAM) + unmap + write(RAM))).toMatchObject({ first: 2, again: NEVER });
  });

  it("that stores where the guest had only read is a first one, too", async () => {
    expect(await compared(logs(true) + read(RAM) + write(RAM))).toMatchObject({ first: 2, again: NEVER });
  });

  it("at a page that logging protected happens again, but not where hardware keeps dirty state", async () => {
    const text = write(RAM) + logs(true) + write(RAM);
    expect(await compared(text)).toMatchObject({ first: 1, again: { ...NEVER, protected: 1 } });
    const avoided = { block: 0, mapped: 1 };
    expect(await compared(text, { backing: PAGE, dirty: "dbm" })).toMatchObject({ first: 1, again: NEVER, avoided });
  });

  it("beside the page of a block that logging broke happens again, but not where blocks are split at once", async () => {
    const text = write(RAM) + logs(true) + write(RAM) + read(RAM + 0x3000);
    expect(await compared(text, { backing: HUGE })).toMatchObject({
      first: 1,
      again: { protected: 1, unmapped: 1, aged: 0 },
    });
    const eager = { backing: HUGE, dirty: "eager", splitChunk: MIB2 } as const;
    const split = { again: { ...NEVER, protected: 1 }, avoided: { block: 0, mapped: 1 } };
    expect(await compared(text, eager)).toMatchObject(split);
  });

  it("at an aged page would not have happened where hardware sets access flags", async () => {
    const avoided = { block: 0, mapped: 1 };
    expect(await compared(write(RAM) + age + fault(RAM, esr.read(0x0b)))).toMatchObject({
      first: 1,
      again: NEVER,
      avoided,
    });
  });
});

describe("granule replay --compare", () => {
  it("prints what becomes of the faults", async () => {
    const { code, stdout } = await granule(["replay", tracePath(NOTHP), "--compare", "--backing", "thp"]);
    expect(code).toBe(0);
    expect(stdout).toContain("of 34,400 recorded faults at memory, under the chosen policy\n");
    expect(stdout).toMatch(/would not have happened: a block has the page +34,327 {2}99\.8 %\n/);
    const { comparison } = JSON.parse(
      (await granule(["replay", tracePath(THP), "--compare", "--backing", "page", "--json"])).stdout,
    );
    expect(comparison).toMatchObject({
      policy: { granule: 4096, backing: "page", dirty: "recorded" },
      recorded: 73,
      first: 73,
    });
  });

  it("says which slots the pages do not fit", async () => {
    const report = await replayCapture("F-7.2custom-4k-vhe-max/pd-unmap", {
      policy: { granule: 65536 },
      truth: undefined,
    });
    expect(report.comparison?.unfitSlots).toBe(1);
    expect(reportText(report, (_, text) => text)).toContain("1 slot call failed: 64 KiB pages do not fit");
  });

  it.each([
    [["--compare", "--verify", "."], "--verify is of the recording as it was"],
    [["--compare", "--from", "ops"], "not with --from ops"],
    [["--compare", "--dirty", "ring"], "a ring takes the same faults as wp"],
    [["--dirty", "dbm"], "--dirty is for traces of memory accesses, or with --compare"],
    [["--every", "5"], "--every is for traces of memory accesses"],
    [["--compare", "--vcpus", "2"], "--vcpus is for traces of memory accesses"],
  ])("refuses %j", async (args, words) => {
    const { code, stderr } = await granule(["replay", tracePath(THP), ...args]);
    expect([code, stderr.includes(words)]).toEqual([2, true]);
  });
});

describe("granule replay of memory accesses", () => {
  const FOLDER = new URL("../trace/fixtures/accesses/", import.meta.url).pathname;
  const lackey = `${FOLDER}true.lackey.txt.gz`;

  it("runs them, whatever the file is called, and reports TLB, faults and dirty pages", async () => {
    const { code, stdout, stderr } = await granule([
      "replay",
      lackey,
      "--backing",
      "page",
      "--every",
      "10000",
      "--dirty",
      "dbm",
    ]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^lackey: 40,000 records in /);
    expect(stdout).toMatch(/TLB hits +39,972 \(99\.75 %\)\n/);
    expect(stdout).toMatch(/faults +30 translation, /);
    expect(stdout).toMatch(/dirty pages reported +15 \(5 \+ 0 \+ 3 \+ 6 \+ 1\)\n/);
    expect(stdout).toMatch(/pages written +6\n/);
  });

  it("takes standard input, and prints the form of granule run with the trace beside it", async () => {
    const stdin = "vcpu,kind,gpa\n0,w,0x40000000\n1,r,0x40001000\n";
    const { code, stdout } = await granule(["replay", "-", "--vcpus", "2", "--granule", "16k", "--json"], { stdin });
    const report = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(report).toMatchObject({
      schemaVersion: 1,
      workload: "trace",
      config: { granule: 16384, vcpus: 2, every: 0 },
      accesses: 2,
      faults: { translation: 1 },
      trace: { format: "csv", records: 3, written: 1 },
    });
    expect(Object.keys(report.config)).not.toContain("writes");
  });

  it.each([
    [["--verify", "."], 2, "--verify is for traces of a kernel's events"],
    [["--dirty", "dbm"], 2, "--every N says when the log is read"],
    [["--vcpus", "0"], 2, "--vcpus takes a whole number"],
    [["--backing", "hugetlb-32m"], 2, "--backing takes one of"],
    [["--cost", "sleep=1"], 2, "unknown cost sleep"],
  ])("refuses %j", async (args, exit, words) => {
    const { code, stderr } = await granule(["replay", lackey, ...args]);
    expect([code, stderr.includes(words)]).toEqual([exit, true]);
  });

  it("ends with the name of the file and the line that cannot be read, and goes on when lenient", async () => {
    const stdin = "I  1000,3\nwhat\n L 2000,8\n";
    const strict = await granule(["replay", "-"], { stdin });
    expect([strict.code, strict.stderr.includes("(stdin): line 2: expected `I  ADDRESS,SIZE`")]).toEqual([3, true]);
    const lenient = await granule(["replay", "-", "--lenient"], { stdin });
    expect([lenient.code, /lines skipped +1\n/.test(lenient.stdout)]).toEqual([0, true]);
  });
});
