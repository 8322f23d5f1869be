import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseTraceLine, TraceParser, TraceSyntaxError } from "../../bindings/trace/index.js";
import { CASES, HEAD } from "./lines-of-text.js";

function failure(run: () => unknown): TraceSyntaxError {
  try {
    run();
  } catch (error) {
    if (error instanceof TraceSyntaxError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("event text (TRC-1..13, TRC-20)", () => {
  it.each(CASES)("reads $text", ({ text, fields }) => {
    const event = text.slice(0, text.indexOf(":"));
    const head = { line: 9, time: 25.89212, cpu: 0, task: "kvmt", pid: 319, event };
    expect(parseTraceLine(HEAD + text, 9)).toMatchObject({ ...head, ...fields });
  });

  it("reads arguments in any order and passes over unknown ones", () => {
    const text = 's2_unmap: (f) may_block=1 size=0x1000 name="x" ipa=4096 pgt=0xff';
    expect(parseTraceLine(HEAD + text)).toMatchObject({ pgt: "0xff", ipa: 4096, size: 4096 });
  });

  it("gives equal strings to equal names, and no bigint where a number is exact", () => {
    const event = parseTraceLine(`${HEAD}s2_map: pgt=0x1 ipa=0x1fffffffffffff size=0 phys=0 prot=6`);
    expect(event).toMatchObject({ ipa: Number.MAX_SAFE_INTEGER, prot: 6 });
  });
});

describe("spellings", () => {
  const fault = "kvm_access_fault: IPA: 1000";
  const columns: readonly [string, string, object][] = [
    ["tracefs", "kvmt-319     [003] d..1.    25.892120: ", { task: "kvmt", pid: 319, cpu: 3 }],
    ["tracefs with tgid", "kvmt-319   (    17) [003] .....    25.89: ", { pid: 319, time: 25.89 }],
    ["a task with blanks", "CPU 0/KVM-319 [000] ..... 1.000000: ", { task: "CPU 0/KVM", pid: 319 }],
    ["a task with dashes", "qemu-system-aar-266 [000] ..... 1.0: ", { task: "qemu-system-aar" }],
    ["a task with brackets", "a [7] b-5 [002] ..... 1.0: ", { task: "a [7] b", pid: 5, cpu: 2 }],
    ["an unknown task", "<...>-12  [000] ..... 1.0: ", { task: "<...>", pid: 12 }],
    ["trace-cmd", "  kvmt-319   [003]    25.892120123: ", { time: 25.892120123, pid: 319 }],
    ["trace-cmd with flags", "  kvmt-319   [003] d..2    25.892120: ", { time: 25.89212 }],
    ["perf", "kvmt   319 [003]    25.892120:   kvm:", { task: "kvmt", pid: 319, cpu: 3 }],
    ["perf with blanks", "CPU 1/KVM  319 [003]  25.892120: kvm:", { task: "CPU 1/KVM", pid: 319 }],
    ["perf pid/tid", "CPU 1/KVM  300/319 [003]  25.89: kvm:", { task: "CPU 1/KVM", pid: 319 }],
    ["another clock", "kvmt-319 [000] ..... 123456789: ", { time: 123456789 }],
  ];

  it.each(columns)("%s", (_name, head, fields) => {
    const event = parseTraceLine(head + fault);
    expect(event).toMatchObject({ kind: "access_fault", event: "kvm_access_fault", ...fields });
  });

  it("perf names only addresses in a probe's place, and other groups than kvm", () => {
    const line = "kvmt 319 [000] 1.0: probes:s2_destroy: (ffff800080012345) pgt=0xff";
    expect(parseTraceLine(line)).toMatchObject({ kind: "s2_destroy", pgt: "0xff" });
  });

  it("trace-cmd and perf call a marker print", () => {
    const note = { type: "freeze", scenario: "a", point: "b" };
    const text = "print:                tracing_mark_write: vmm: FREEZE a b";
    expect(parseTraceLine(`kvmt-1 [000] 1.0: ${text}`)).toMatchObject({ kind: "marker", note });
    expect(parseTraceLine(`kvmt 1 [000] 1.0: ftrace:${text}`)).toMatchObject({ note });
  });
});

describe("lines without an event", () => {
  it("comments, blanks and trace-cmd's preamble give nothing", () => {
    const parser = new TraceParser();
    expect(parser.parse("# tracer: nop\n\n   \r\ncpus=2\nCPU 1 is empty\n")).toEqual([]);
    expect(parser.stats).toMatchObject({ lines: 5, malformed: 0 });
  });

  const losses: readonly [string, object][] = [
    ["CPU:3 [LOST 123 EVENTS]", { cpu: 3, count: 123 }],
    ["CPU:3 [LOST EVENTS]", { cpu: 3, count: undefined }],
    ["CPU:3 [123 EVENTS DROPPED]", { cpu: 3, count: 123 }],
    ["CPU:3 [EVENTS DROPPED]", { cpu: 3, count: undefined }],
    ["kvmt 319 [003] 1.0: PERF_RECORD_LOST lost 12", { cpu: 3, count: 12 }],
  ];

  it.each(losses)("%s is an event in its place, and counted", (line, fields) => {
    const parser = new TraceParser();
    const [before, lost, after] = parser.parse(`${HEAD}kvm_entry: PC: 0x1\n${line}\n${HEAD}kvm_entry: PC: 0x2\n`);
    expect(lost).toMatchObject({ kind: "lost", line: 2, ...fields });
    expect([before?.task, after?.task]).toEqual(["kvmt", "kvmt"]);
    expect(parser.stats.lostPlaces).toBe(1);
    expect(parser.stats.lostEvents).toBe((fields as { count?: number }).count ?? 0);
  });
});

describe("lines that do not fit", () => {
  const bad: readonly [string, string][] = [
    ["kvm_access_fault: IPA: ", "an address"],
    ["kvm_access_fault: IPA: 12g", "the end of the line"],
    ["kvm_access_fault: ipa 12", '"IPA:"'],
    ["kvm_access_fault: IPA: 20000000000000", "an address below 2^53"],
    ["kvm_guest_fault: ipa 0x0, hsr 0x0, hxfar 0x10000000000000000, pc 0x0", "at most 64 bits"],
    ["kvm_mmio: mmio peek len 8 gpa 0x0 val 0x0", "read, write or unsatisfied-read"],
    ["kvm_userspace_exit: reason KVM_EXIT_MMIO", '"("'],
    ["kvm_toggle_cache: VM op at 0x0 (cache was up, now off)", "on or off"],
    ["kvm_unmap_hva_range: mmu notifier unmap range: 0x1000", '"--"'],
    ["s2_map: (f) pgt=0x1 ipa=0x0 size=0x1000 phys=0x0 flags=0x0", "prot="],
    ["s2_unmap: (f) pgt=0x1 ipa=0x0", "size="],
    ["s2_unmap: (f pgt=0x1 ipa=0x0 size=0x0", '")"'],
    ["s2_unmap: (f) pgt=0x1 ipa=(fault) size=0x0", "a number after ipa="],
    ["s2_unmap: (f) pgt=0x1 ipa=0x0 ipa=0x0 size=0x0", "ipa= only once"],
    ["s2_unmap: (f) pgt=0x1 ipa=-1 size=0x0", "ipa= not below 0"],
    ["s2_unmap: (f) pgt=0x1 ipa=0x20000000000000 size=0x0", "ipa= below 2^53"],
    ["s2_unmap: (f) pgt= ipa=0x0 size=0x0", "a pointer after pgt="],
    ["s2_unmap: (f) oops", "key=value"],
    ["s2_map_ret: (f <- g)", "ret="],
    ["not an event", "a comment or TASK-PID [CPU] TIME: event:"],
  ];

  it.each(bad)("%s", (text, expected) => {
    const error = failure(() => parseTraceLine(HEAD + text, 77));
    expect(error).toMatchObject({ line: 77, text: HEAD + text });
    expect(error.expected).toContain(expected);
    expect(error.message).toContain("line 77");
  });

  it.each(["junk", "kvmt-319 [000] .....", "[000] ..... 1.0: kvm_entry: PC: 0x0", "x [0] 1.0: a: b"])(
    "%s has no columns",
    (line) => {
      expect(failure(() => parseTraceLine(line)).expected).toContain("TASK-PID");
    },
  );

  it("a lenient parser counts them, keeps the first ten and goes on", () => {
    const parser = new TraceParser({ lenient: true });
    const events = parser.parse(`${"junk\n".repeat(12)}${HEAD}kvm_entry: PC: 0x1`);
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({ kind: "entry", line: 13 });
    expect(parser.stats.malformed).toBe(12);
    expect(parser.stats.errors.map((error) => error.line)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it.each([
    ["s2_destroy: (f", '")"', `${HEAD}s2_destroy: ) pgt=0x1`],
    ["kvm_userspace_exit: reason A", '"("', `${HEAD}kvm_userspace_exit: reason B (1)`],
    ["kvm_access_fault: IPA: ", "an address", "12"],
  ])("%s is not completed by the line after it", (text, expected, next) => {
    const error = failure(() => new TraceParser().parse(`${HEAD}${text}\n${next}\n`));
    expect(error).toMatchObject({ line: 1, text: HEAD + text, expected });
  });

  it("a bad line leaves no task behind for the next one", () => {
    const parser = new TraceParser({ lenient: true });
    const good = "a-1 [000] ..... 1.0: kvm_entry: PC: 0x1\n";
    const events = parser.parse(`${good}b-2 [000] junk\n${good}`);
    expect(events.map((event) => [event.task, event.pid])).toEqual([
      ["a", 1],
      ["a", 1],
    ]);
  });
});

describe("counts", () => {
  it("are by name, unknown ones apart, and run on from block to block", () => {
    const parser = new TraceParser();
    parser.parse(`${HEAD}kvm_entry: PC: 0x1\n${HEAD}sched_wakeup: x\r\n`);
    const [event] = parser.parse(`${HEAD}kvm_entry: PC: 0x2`);
    expect(event?.line).toBe(3);
    expect(Object.fromEntries(parser.stats.events)).toEqual({ kvm_entry: 2, sched_wakeup: 1 });
    expect(Object.fromEntries(parser.stats.unknown)).toEqual({ sched_wakeup: 1 });
  });
});

describe("hostile lines", () => {
  /** Either an event, or nothing for a comment, or the one error there is. */
  function holds(line: string): void {
    try {
      const event = parseTraceLine(line);
      if (event === undefined) return;
      expect(typeof event.kind).toBe("string");
      for (const value of Object.values(event)) {
        if (typeof value === "number") expect(Number.isFinite(value)).toBe(true);
      }
    } catch (error) {
      expect(error).toBeInstanceOf(TraceSyntaxError);
    }
  }

  it("of any text give an event or a TraceSyntaxError", () => {
    fc.assert(fc.property(fc.string({ maxLength: 200 }), holds));
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 100 }), holds));
  });

  it("of any text behind good columns, too", () => {
    const names = fc.constantFrom(...CASES.map(({ text }) => text.slice(0, text.indexOf(":"))));
    const text = fc.string({ maxLength: 80 });
    fc.assert(fc.property(names, text, (name, rest) => holds(`${HEAD}${name}: ${rest}`)));
  });

  it("made of real ones by cutting, doubling and changing", () => {
    const line = fc.constantFrom(...CASES.map(({ text }) => HEAD + text));
    const edit = fc.tuple(fc.nat(160), fc.nat(8), fc.string({ maxLength: 6 }));
    fc.assert(
      fc.property(line, fc.array(edit, { minLength: 1, maxLength: 4 }), (start, edits) => {
        let text = start;
        for (const [at, cut, put] of edits) text = text.slice(0, at) + put + text.slice(at + cut);
        holds(text);
      }),
      { numRuns: 2000 },
    );
  });

  it("of a mebibyte of brackets end soon", () => {
    holds("a-1 [".repeat(200_000));
    holds("([)".repeat(300_000));
  });
});
