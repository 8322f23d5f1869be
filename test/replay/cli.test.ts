import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { Writable } from "node:stream";
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { CASEMATE_OPTIONS, createJudge } from "../../bindings/audit/index.js";
import { runCli } from "../../bindings/cli/run.js";
import { scratchFolder } from "../support/scratch.js";
import { esr, fault, folderOf, op, setRegion, tracePath } from "./support.js";

const BOOT = "J-boot-6.12-4k/Image612-v1-thp-256m";
const UNMAP = "F-7.2custom-4k-vhe-max/pd-unmap";
const folder = scratchFolder();

async function granule(
  argv: readonly string[],
  stdin: string | AsyncIterable<Uint8Array> = "",
  onInterrupt: (stop: () => void) => void = () => undefined,
): Promise<{ code: number; out: string; err: string }> {
  const text = { out: "", err: "" };
  const stream = (name: "out" | "err") =>
    new Writable({
      write(chunk, _encoding, done) {
        text[name] += String(chunk);
        done();
      },
    });
  async function* input(text: string): AsyncGenerator<Uint8Array> {
    yield new TextEncoder().encode(text);
  }
  const code = await runCli(argv[0] === "check" ? argv : ["replay", ...argv], {
    stdin: typeof stdin === "string" ? input(stdin) : stdin,
    stdout: stream("out"),
    stderr: stream("err"),
    env: { NO_COLOR: "1" },
    onInterrupt,
  });
  return { code, ...text };
}

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe("granule replay", () => {
  it("ends with 0 when every check is equal, and says so", async () => {
    const { code, out, err } = await granule([tracePath(BOOT), "--from", "ops", "--verify", folderOf(BOOT)]);
    expect(err).toBe("");
    expect(out).toContain("39 leaves, all equal");
    expect(out).toContain("1 of 1 check equal");
    expect(code).toBe(0);
  });

  it.each([["plain.log"], ["zipped.log.gz"]])(
    "writes what the walkers did to %s, and the judge has no objection",
    async (name) => {
      const log = join(folder, name);
      const { code, err } = await granule([tracePath(BOOT), "--from", "ops", "--casemate", log]);
      expect([err, code]).toEqual(["", 0]);
      const text = name.endsWith(".gz") ? gunzipSync(readFileSync(log)).toString() : readFileSync(log, "utf8");
      expect(text.match(/^\(mem-write /gm)?.length).toBeGreaterThan(100);
      const judge = createJudge(CASEMATE_OPTIONS);
      const parser = judge.casemate();
      parser.push(new TextEncoder().encode(text));
      parser.end();
      expect(judge.finish().violations.map(({ message }) => message)).toEqual([]);
      expect((await granule(["check", log])).out).toContain("ok");
    },
  );

  it("finds the folder s2 beside the trace, or takes that folder itself", async () => {
    const { code, out } = await granule([tracePath(BOOT), "--from", "ops", "--verify", join(folderOf(BOOT), "s2")]);
    expect(out).toContain("1 of 1 check equal");
    expect(code).toBe(0);
  });

  it("services faults without being told, with the manifest beside the trace", async () => {
    const { code, out } = await granule([tracePath(BOOT)]);
    expect(code).toBe(0);
    expect(out).toContain("73 of 73 faults led to the kernel's own operation");
  });

  it("ends with 1 when a check differs", async () => {
    // One unmap more, just before the point where the table was read out.
    const trace = gunzipSync(readFileSync(tracePath(UNMAP))).toString();
    const changed = trace.replace(/^(.*tracing_mark_write: vmm: FREEZE pd-unmap mapped-thp)$/m, (freeze) => {
      const pgt = /pgt=(0x[0-9a-f]+)/.exec(trace)?.[1];
      return `kvmt-7 [000] d.... 1.0: s2_unmap: (f+0x0/0x1) pgt=${pgt} ipa=0x40000000 size=0x200000\n${freeze}`;
    });
    const path = file("pd-unmap.trace", changed);
    const manifest = tracePath(UNMAP).replace(".trace.gz", ".manifest.json");
    const argv = [path, "--from", "ops", "--manifest", manifest, "--verify", folderOf(UNMAP), "--json"];
    const { code, out } = await granule(argv);
    expect(code).toBe(1);
    const point = JSON.parse(out).checks.find((c: { point: string }) => c.point === "pd-unmap.mapped-thp");
    expect(point).toMatchObject({ missing: 1, extra: 0, differing: 0 });
    expect((await granule(argv.slice(0, -1))).out).toContain("1 missing, 0 extra, 0 differing");
  });

  it("ends with 1 when every raw table is of another machine", async () => {
    const manifest = JSON.parse(readFileSync(tracePath(UNMAP).replace(".trace.gz", ".manifest.json"), "utf8"));
    const wrong = file("wrong.json", JSON.stringify({ ...manifest, ipa_bits: 44 }));
    const trace = gunzipSync(readFileSync(tracePath(UNMAP)))
      .toString()
      .replace(/^.*KVM_CREATE_VM.*\n/m, "");
    const path = file("pd-unmap.trace", trace);
    const { code, out } = await granule([path, "--from", "ops", "--manifest", wrong, "--verify", folderOf(UNMAP)]);
    expect(out).toContain("not compared");
    expect(code).toBe(1);
  });

  it("prints the JSON that scripts rely on", async () => {
    const { out } = await granule([
      tracePath(BOOT),
      "--from",
      "ops",
      "--verify",
      folderOf(BOOT),
      "--json",
      "--seed",
      "7",
    ]);
    const report = JSON.parse(out);
    expect(report).toMatchObject({
      schemaVersion: 1,
      trace: { name: "Image612-v1-thp-256m", malformed: 0, unknown: {}, byName: { s2_map: 70 } },
      config: { from: "ops", granule: 4096, ipaBits: 40, lpa2: true, fwb: true, geometrySource: "dump" },
      events: 14758,
      faults: { total: 4371, byCode: { "translation level 1": 565, "permission level 2": 3 } },
      counters: { tlbiIpaLocal: 3, tlbiRange: 1 },
      table: { leaves: { 2: 69, 3: 1 }, pages: 5, bytes: 20480 },
      dirty: {},
      checks: [{ point: "Image612-v1-thp-256m.guest-up", leaves: 39, matched: 39, missing: 0, extra: 0, differing: 0 }],
    });
    expect(report.seconds).toBeGreaterThan(0);
    expect(report.checks[0].file).toContain("s2raw");
  });

  it("writes the table as ptdump text", async () => {
    const path = join(folder, "dump.txt");
    await granule([tracePath(BOOT), "--from", "ops", "--dump", path]);
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    expect(lines[0]).toBe("---[ Guest IPA ]---");
    expect(lines.filter((l) => l.includes("BLK")).length).toBeGreaterThan(0);
    const { out } = await granule([tracePath(BOOT), "--from", "ops", "--dump", "-"]);
    expect(out.trimEnd().split("\n")).toEqual(lines);
  });

  it("reads standard input", async () => {
    const { code, out } = await granule(["-", "--from", "ops", "--json"], op.map(16, 0, 4096, 0) + op.mapped());
    expect(code).toBe(0);
    expect(JSON.parse(out).table.leaves).toEqual({ 3: 1 });
  });

  it("takes slots and the kind of memory from options; without slots it ends with 1 and says why", async () => {
    const text = fault(0x4000_0000, esr.write(7));
    const none = await granule(["-", "--json"], text);
    expect(JSON.parse(none.out).service.faults).toEqual({ mmio: 1 });
    expect(none.err).toContain("--slots");
    expect(none.code).toBe(1);
    expect((await granule(["-"], text)).out).toContain("no memory slots are known");
    const argv = ["-", "--json", "--slots", "0x40000000:0x200000:0x7f0000000000", "--backing", "thp"];
    expect(JSON.parse((await granule(argv, text)).out).table.leaves).toEqual({ 2: 1 });
  });

  it("takes the shape of the tables from options", async () => {
    const text = setRegion(0, 0, 0, 1 << 26, 0x7f00_0000_0000) + fault(0, esr.write(7));
    const { out } = await granule(["-", "--json", "--granule", "64k", "--ipa-bits", "48", "--no-fwb"], text);
    expect(JSON.parse(out)).toMatchObject({
      config: { granule: 65536, ipaBits: 48, fwb: false },
      table: { mapped: 65536 },
    });
  });
});

describe("comparisons", () => {
  it("end with 1 when faults led to other operations than in the kernel", async () => {
    const slot = setRegion(0, 0, 0x4000_0000, 64 << 20, 0xffff_8000_0000);
    const text = slot + fault(0x4000_0000, esr.write(7)) + op.map(16, 0x4000_0000, 0x20_0000, 0) + op.mapped();
    const { code, out } = await granule(["-"], text);
    expect(out).toContain("0 of 1 faults led to the kernel's own operation");
    expect(code).toBe(1);
  });

  it("of nothing end with 1, and a note", async () => {
    const path = file("none.trace", op.map(16, 0, 4096, 0) + op.mapped());
    const { code, err } = await granule([path, "--from", "ops", "--verify", folderOf(BOOT)]);
    expect(err).toContain("nothing was compared");
    expect(code).toBe(1);
  });

  it("after lost events are marked, and the loss is said at once", async () => {
    const text = `${op.map(16, 0, 4096, 0)}CPU:1 [LOST 87 EVENTS]\n${op.mapped()}CPU:0 [EVENTS DROPPED]\n`;
    const { err, out } = await granule(["-", "--from", "ops"], text);
    expect(err.trimEnd().split("\n")).toEqual([
      "granule: line 2: CPU 1 lost 87 events: a comparison after this place means little",
      "granule: line 4: CPU 0 lost events, how many is not known: a comparison after this place means little",
    ]);
    expect(out).toContain("lost events at 2 places (87 events at least)");
  });

  it("say of many losses only the first few", async () => {
    const { err, out } = await granule(["-", "--from", "ops"], "CPU:1 [LOST 1 EVENTS]\n".repeat(1000));
    expect(err.trimEnd().split("\n")).toHaveLength(4);
    expect(out).toContain("at 1,000 places (1,000 events at least)");
  });

  it("say when perf script has left out the guest's samples", async () => {
    const { err, out } = await granule(["-"], "kvmt 7 [000] 1.0: kvm:kvm_userspace_exit: reason KVM_EXIT_MMIO (6)\n");
    expect(err).toContain("--guestkallsyms=/dev/null");
    expect(out).toContain("--guestkallsyms=/dev/null");
  });

  it("name what could not be read and was not needed, and what was guessed", async () => {
    const map = op.map(16, 0x4000_0000, 4096, 0) + op.mapped();
    const text = `${fault(0x4000_0000, esr.write(7))}${map}kvmt-7 [000] ..... 9.0: kvm_mmio: gone\n`;
    const { code, out } = await granule(["-"], text);
    expect(out).toContain("events that could not be read, and are not needed: kvm_mmio 1");
    expect(out).toContain("1 slot guessed from the kernel's own maps");
    expect(code).toBe(0);
  });

  it("print nothing that a terminal obeys", async () => {
    const text = `${op.map(16, 0, 4096, 0)}${op.mapped()}a-1 [000] 1.0: \u001b[2J\u009b: x\nkvmt\u001b[31m\n`;
    const plain = await granule(["-", "--from", "ops", "--lenient"], text);
    const json = await granule(["-", "--from", "ops", "--lenient", "--json"], text);
    for (const { out } of [plain, json]) {
      expect(out).toContain("[2J");
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
      expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    }
  });
});

describe("what cannot be read", () => {
  const good = op.map(16, 0, 4096, 0) + op.mapped();
  const bad = `${good}kvmt-7 [000] d.... 9.0: s2_map: (f+0x0/0x1) pgt=0x10 ipa=zero\n`;

  it("ends with 3, the number of the line and what was expected", async () => {
    const { code, err, out } = await granule([file("bad.trace", bad), "--from", "ops"]);
    expect(code).toBe(3);
    expect(out).toBe("");
    expect(err).toMatch(/bad\.trace: line 3: expected /);
    expect(err.trimEnd().split("\n")).toHaveLength(1);
  });

  it("is standard input when that is a folder", async () => {
    const failing = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.reject(Object.assign(new Error("EISDIR"), { code: "EISDIR", syscall: "read" })),
      }),
    };
    const { code, err } = await granule(["-", "--from", "ops"], failing);
    expect(err).toMatch(/^granule: \(stdin\): .*folder/);
    expect(code).toBe(3);
  });

  it("is counted and skipped with --lenient", async () => {
    const { code, out } = await granule([file("bad.trace", bad), "--from", "ops", "--lenient", "--json"]);
    expect(code).toBe(0);
    const report = JSON.parse(out);
    expect(report).toMatchObject({ trace: { malformed: 1 }, table: { leaves: { 3: 1 } } });
    expect(report.trace.errors[0]).toContain("line 3");
    expect((await granule([file("bad.trace", bad), "--lenient", "--from", "ops"])).out).toContain(
      "1 line could not be read",
    );
  });

  it("does not include unknown events: they are counted and reported", async () => {
    const text = `${good}kvmt-7 [000] ..... 9.0: sched_switch: prev_comm=a\n`;
    const { code, out } = await granule([file("unknown.trace", text), "--from", "ops"]);
    expect(code).toBe(0);
    expect(out).toContain("events that granule does not read: sched_switch 1");
  });

  it.each([
    ["a trace that is not there", () => ["nowhere.trace"], "no such file"],
    ["a trace that is a folder", () => [folderNamed("empty")], "folder"],
    ["an empty trace", () => [file("empty.trace", "")], "empty.trace: there is no event in it: it is empty"],
    ["a trace of comments", () => [file("comments.trace", "# tracer: nop\n")], "there is no event in it"],
    [
      "a trace that is no trace, leniently",
      () => [file("prose.trace", "Dear all,\n"), "--lenient"],
      "line 1: expected",
    ],
    [
      "a trace.dat cut short",
      () => [file("trace.dat", "\u0017\bDtracing6\u0000")],
      "at byte 12: is the file complete?",
    ],
    ["a perf.data of a big-endian machine", () => [file("perf.data", "2ELIFREP".padEnd(104))], "big-endian"],
    ["a manifest that is a folder", () => [file("a.trace", good), "--manifest", folderNamed("empty")], "folder"],
    ["a manifest of null", () => [file("a.trace", good), "--manifest", file("m.json", "null")], "expected an object"],
    ["a raw table that is a folder", () => [file("a.trace", good), "--verify", folderTruth()], "folder"],
    ["gzip data cut short", () => [file("cut.gz", gzipSync(good).subarray(0, 20))], "gzip"],
    ["a manifest that is not there", () => [file("a.trace", good), "--manifest", "nowhere.json"], "no such file"],
    ["a manifest of another form", () => [file("a.trace", good), "--manifest", file("m.json", "{}")], "manifest name"],
    ["a folder of raw tables that is not there", () => [file("a.trace", good), "--verify", "nowhere"], "no such file"],
    ["a folder without raw tables", () => [file("a.trace", good), "--verify", folderNamed("empty")], "no raw tables"],
    ["a raw table cut short", () => [file("a.trace", good), "--verify", brokenTruth()], "cut short"],
  ])("ends with 3 for %s", async (_, argv, message) => {
    const { code, err } = await granule(argv());
    expect(err).toContain(message);
    expect(code).toBe(3);
  });

  function folderNamed(name: string): string {
    const path = join(folder, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  function folderTruth(): string {
    const path = folderNamed("folders");
    mkdirSync(join(path, "a.point.cpu00.s2raw"));
    return path;
  }

  function brokenTruth(): string {
    const path = folderNamed("broken");
    writeFileSync(join(path, "a.point.cpu00.s2raw"), "# raw stage-2 tables of a VM at freeze point a.point\n");
    return path;
  }

  it.each([
    ["--dump", () => file("over.trace", good)],
    ["--casemate", () => file("over.trace", good)],
    ["--dump", () => file("over.json", readFileSync(tracePath(UNMAP).replace(".trace.gz", ".manifest.json")))],
  ])("%s does not write over an input", async (option, make) => {
    const [trace, target] = [file("over.trace", good), make()];
    const before = readFileSync(target, "utf8");
    const manifest = target.endsWith(".json") ? ["--manifest", target] : [];
    const same = join(dirname(target), ".", basename(target));
    const { code, err } = await granule([trace, "--from", "ops", option, same, ...manifest]);
    expect(err).toContain("is the input");
    expect(code).toBe(2);
    expect(readFileSync(target, "utf8")).toBe(before);
  });

  it("leaves no dump behind when it is interrupted", async () => {
    const target = join(folder, "interrupted.txt");
    const text = `${good}${"# a comment to fill a block\n".repeat(6000)}`.repeat(4);
    const outcome = await granule([file("long.trace", text), "--from", "ops", "--dump", target], "", (stop) => stop());
    expect(outcome).toMatchObject({ code: 130, out: "" });
    expect(existsSync(target)).toBe(false);
  });

  it.each([
    [[]],
    [["a", "b"]],
    [["a", "--from", "elsewhere"]],
    [["a", "--granule", "8k"]],
    [["a", "--ipa-bits", "99"]],
    [["a", "--ipa-bits", "52"]],
    [["a", "--lpa2", "--granule", "64k"]],
    [["a", "--slots", "1:2"]],
    [["a", "--slots", "99999999999999999999:1:1"]],
    [["a", "--backing", "gold"]],
    [["a", "--seed", "x"]],
    [["a", "--frobnicate"]],
    [["a", "--json", "--dump", "-"]],
    [["a", "--dump", "both", "--casemate", "both"]],
  ])("%j ends with 2", async (argv) => {
    const { code, err } = await granule(argv);
    expect(code).toBe(2);
    expect(err).toContain("granule replay --help");
  });
});
