import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { looksLikeHostOnly, parseTraceLine, TraceParser, TraceSyntaxError } from "../../bindings/trace/index.js";
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
    const fault = parseTraceLine(`${HEAD}kvm_access_fault: IPA: 1fffffffffffff`);
    expect(fault).toMatchObject({ ipa: Number.MAX_SAFE_INTEGER });
    const range = parseTraceLine(`${HEAD}kvm_age_hva: mmu notifier age hva: 0x1000 -- 0x1fffffffffffff`);
    expect(range).toMatchObject({ end: Number.MAX_SAFE_INTEGER });
    expect(range).not.toHaveProperty("exactEnd");
  });
});

describe("a parser that has read other text before", () => {
  const line = `${HEAD}s2_map_ret: (f) ret=0`;

  it("sees nothing of it behind the end of a shorter text", () => {
    const parser = new TraceParser();
    expect(parser.parse(`${line}x10\n${line}\n`)).toMatchObject([{ value: 16 }, { value: 0 }]);
    expect(parser.parse(line)).toMatchObject([{ value: 0 }]);
    expect(parser.parse(`${line.slice(0, -1)}-1`)).toMatchObject([{ value: -1 }]);
    expect(parser.parse(line.slice(0, -1) + 1)).toMatchObject([{ value: 1 }]);
  });

  it("reads text of any alphabet, and ASCII after it", () => {
    const parser = new TraceParser();
    const names = ["kvmt", "größe", "\u{1d11e}", "日本語-7", "\ud800", "kvmt"];
    const block = names.map((name, i) => `${name}-${i} [000] ..... 1.5: kvm_access_fault: IPA: ${i}000\n`);
    const expected = names.map((task, i) => ({ task, pid: i, ipa: i * 4096, line: i + 1 }));
    expect(parser.parse(block.join(""))).toMatchObject(expected);
    const again = block.map((text) => parser.parse(text)[0]);
    expect(again).toMatchObject(expected.map((event, i) => ({ ...event, line: 7 + i })));
    expect(parser.parse(`t-1 [0] 1.0: print: é "日本"\n`)).toMatchObject([{ kind: "marker", text: 'é "日本"' }]);
  });

  it("knows each name and pointer, in whatever order they come", () => {
    const names = fc.array(fc.constantFrom("a", "b", "ab", "ba", "vcpu-1", "vcpu-10"), { maxLength: 40 });
    fc.assert(
      fc.property(names, names, (tasks, pointers) => {
        const lines = tasks.map(
          (task, i) => `${task}-7 [000] ..... 1.5: s2_destroy: (f) pgt=${pointers[i] ?? "0x1"}\n`,
        );
        const expected = tasks.map((task, i) => ({ task, pgt: pointers[i] ?? "0x1" }));
        expect(new TraceParser().parse(lines.join(""))).toMatchObject(expected);
      }),
    );
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
    ["a buffer instance", "kvmbuf:             kvmt-319 [003] ..... 1.0: ", { task: "kvmt", pid: 319, cpu: 3 }],
    ["a file of several", "a.dat:   CPU 0/KVM-319 [003] 1.0: ", { task: "CPU 0/KVM", pid: 319 }],
    ["a task with a colon", "kworker/0:1-319 [003] ..... 1.0: ", { task: "kworker/0:1", pid: 319 }],
    ["a task that ends in a colon", "a: b-319 [003] ..... 1.0: ", { task: "a: b", pid: 319 }],
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

  it.each(["0xffff9c01a141bc50: ", "tracing_mark_write: ", ""])("a marker may have %j before it", (before) => {
    const event = parseTraceLine(`${HEAD}print:                ${before}vmm: FREEZE a b`);
    expect(event).toMatchObject({ text: "vmm: FREEZE a b", note: { type: "freeze", scenario: "a", point: "b" } });
  });

  it("a marker of anyone else may have any text", () => {
    for (const text of ["print: tracing_mark_write: hello", "print: hello", "marker: (f) fd=5"]) {
      expect(parseTraceLine(HEAD + text)).toMatchObject({ kind: "marker", note: { type: "other" } });
    }
  });

  it("a probe on write() stands for the markers, which perf does not record", () => {
    const probe = 's2probe:marker: (ffff80008044f590) fd=5 text="vmm: FREEZE a b';
    for (const end of ["", '"']) {
      const event = parseTraceLine(`kvmt 7 [000] 1.0: ${probe}${end}`);
      expect(event).toMatchObject({ text: "vmm: FREEZE a b", fd: 5, note: { type: "freeze" } });
    }
  });

  it("x86's plugin puts complaints before the text of kvm_entry", () => {
    const text = `kvm_entry: CAN'T FIND FIELD "vcpu_id"<CANT FIND FIELD rip>PC: 0x0000000000000010`;
    expect(parseTraceLine(HEAD + text)).toMatchObject({ kind: "entry", pc: 16n });
  });

  it("a register in place of flags is cut to 32 bits: kernels before 6.2 have no flags", () => {
    const text = "s2_map: (f) pgt=0x1 ipa=0x0 size=0x1000 phys=0x0 prot=0x6 flags=0xffff800008feec98";
    expect(parseTraceLine(HEAD + text)).toMatchObject({ flags: 0x08fe_ec98 });
  });

  it("a string of a probe may hold blanks and equals signs", () => {
    const text = 's2_unmap: (f) comm="a b = c" pgt=0x1 ipa=0x0 size=0x1000';
    expect(parseTraceLine(HEAD + text)).toMatchObject({ kind: "s2_unmap", size: 0x1000 });
  });
});

describe("lines without an event", () => {
  it("comments, blanks and trace-cmd's preamble give nothing", () => {
    const parser = new TraceParser();
    expect(parser.parse("# tracer: nop\n\n   \r\ncpus=2\nCPU 1 is empty\n")).toEqual([]);
    expect(parser.stats).toMatchObject({ lines: 5, malformed: 0 });
  });

  it("belong to the event before them: stacks, and what follows a line end in a marker", () => {
    const parser = new TraceParser();
    const lines = [
      `${HEAD}s2_unmap: (f) pgt=0x1 ipa=0x0 size=0x1000`,
      "\tffff80008044f590 ring_buffer_attach+0x150d38 ([kernel.kallsyms])",
      "\t          430abc a-7 [000] 1.0: x: (/bin/kvmt)",
      "",
      `${HEAD}kernel_stack:         <stack trace >`,
      "=> kvm_pgtable_stage2_map (ffff80008009ebe0)",
      `${HEAD}<stack trace>`,
      " => kvm_handle_guest_abort",
      `${HEAD}<user stack trace>`,
      " =>  <00000000004011fb>",
      `${HEAD}tracing_mark_write: vmm: FREEZE a b`,
      "and more",
      `${HEAD}kvm_vcpu_ioctl <-__arm64_sys_ioctl`,
      `${HEAD}s2_destroy: (f) pgt=0x1`,
    ];
    const events = parser.parse(lines.join("\n"));
    expect(events.map((e) => e.event)).toEqual([
      "s2_unmap",
      "kernel_stack",
      "kernel_stack",
      "user_stack",
      "tracing_mark_write",
      "function",
      "s2_destroy",
    ]);
    expect(parser.stats).toMatchObject({ continuations: 6, malformed: 0, grouped: 0 });
  });

  it("are errors behind an event that ends with its line", () => {
    const parser = new TraceParser();
    const text = `${HEAD}s2_destroy: (f) pgt=0x1\nkvmt-319 [000] d.... s2_unmap\n`;
    expect(failure(() => parser.parse(text))).toMatchObject({ line: 2 });
  });

  it("tell what the ring buffer had overwritten before the trace was read", () => {
    const parser = new TraceParser();
    const events = parser.parse("# tracer: nop\n#\n# entries-in-buffer/entries-written: 1121/8189   #P:2\n");
    expect(events).toMatchObject([{ kind: "lost", cpu: -1, count: 7068, line: 3 }]);
    expect(new TraceParser().parse("# entries-in-buffer/entries-written: 653/653   #P:2")).toEqual([]);
  });

  const losses: readonly [string, object][] = [
    ["kvmbuf: CPU:3 [EVENTS DROPPED]", { cpu: 3, count: undefined }],
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
    // A note of loss has no thread: it has that of the line before.
    expect([lost?.task, lost?.pid]).toEqual(["kvmt", 319]);
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

describe("events that nobody needs", () => {
  const text = `${HEAD}kvm_mmio: mmio peek\n${HEAD}kvm_access_fault: IPA: 1000\n`;

  it("are unknown where they cannot be read, and counted", () => {
    const parser = new TraceParser({ strict: new Set(["access_fault"]) });
    expect(parser.parse(text).map((e) => [e.kind, e.event])).toEqual([
      ["unknown", "kvm_mmio"],
      ["access_fault", "kvm_access_fault"],
    ]);
    expect(Object.fromEntries(parser.stats.unread)).toEqual({ kvm_mmio: 1 });
    expect(parser.stats.errors.map((e) => e.line)).toEqual([1]);
    expect(parser.stats.malformed).toBe(0);
  });

  it("are none by default", () => {
    expect(failure(() => new TraceParser().parse(text))).toMatchObject({ line: 1 });
  });
});

describe("events of more names than a kernel has", () => {
  it("are counted together from a bound on, but for those that are read", () => {
    const parser = new TraceParser();
    for (let i = 0; i < 10_000; i++) parser.parse(`${HEAD}made_up_${i}: x\n`);
    const [event, other] = parser.parse(`${HEAD}kvm_entry: PC: 0x1\n${HEAD}made_up_9999: x\n`);
    expect(event?.kind).toBe("entry");
    expect(other).toMatchObject({ kind: "unknown", event: "(other names)" });
    expect(parser.stats.unknown.size).toBe(4097);
    expect(parser.stats.unknown.get("(other names)")).toBe(10_000 - 4096 + 1);
  });
});

describe("a marker that a probe on write() sees twice", () => {
  const write = (fd: number, text: string, pid = 7) =>
    `kvmt ${pid} [000] 1.0: p:marker: (f) fd=${fd} text="vmm: ${text}\n"\n`;
  const notes = (text: string) =>
    new TraceParser().parse(text).map((e) => (e.kind === "marker" ? e.note.type : e.kind));

  it("counts once", () => {
    expect(notes(write(5, "fork") + write(3, "fork") + write(5, "fork"))).toEqual(["fork", "other", "fork"]);
  });

  it("counts twice where it was written twice, or by two threads", () => {
    expect(notes(write(5, "fork") + write(5, "fork"))).toEqual(["fork", "fork"]);
    expect(notes(write(5, "fork", 7) + write(3, "fork", 8))).toEqual(["fork", "fork"]);
  });
});

describe("text of perf script", () => {
  const stats = (text: string) => {
    const parser = new TraceParser();
    parser.parse(text);
    return parser.stats;
  };
  const exit = "kvm_userspace_exit: reason KVM_EXIT_MMIO (6)\n";
  const fault = "kvm_guest_fault: ipa 0, hsr 0x82000005, hxfar 0, pc 0\n";

  it("without faults and maps lacks what perf marks as the guest's", () => {
    expect(looksLikeHostOnly(stats(`kvmt 7 [000] 1.0: kvm:${exit}`))).toBe(true);
    expect(looksLikeHostOnly(stats(`kvmt 7 [000] 1.0: kvm:${exit}kvmt 7 [000] 1.0: kvm:${fault}`))).toBe(false);
    expect(looksLikeHostOnly(stats("kvmt 7 [000] 1.0: sched:sched_switch: x"))).toBe(false);
  });

  it("is told by the groups before its events", () => {
    expect(looksLikeHostOnly(stats(HEAD + exit))).toBe(false);
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
