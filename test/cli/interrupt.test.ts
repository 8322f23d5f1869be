// SIGINT while nothing comes, and how often progress is painted: with streams and a clock that the test holds.

import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { ROOT } from "../house/sources.js";
import { scratchFolder } from "../support/scratch.js";
import { mapLine, script } from "./granule.js";
import { inside } from "./inside.js";

const folder = scratchFolder();

const operations = script([{ ...mapLine(0x4000_0000, 0x1000), ret: 0 }]);

/** Input that gives `text` and then nothing more; `idle` is called when it is asked for more. */
function idleInput(text: string | Uint8Array, idle: () => void): Readable {
  let given = false;
  return new Readable({
    read() {
      if (given) {
        idle();
        return;
      }
      given = true;
      this.push(Buffer.from(text));
    },
  });
}

describe("SIGINT while a command waits for input", () => {
  it.each([
    ["conform", [], operations],
    ["conform", ["--casemate", join(folder, "logs")], operations],
    ["conform", [], gzipSync(operations)],
    ["check", [], '(lock (id 0) (tid 0) (address 0x1) (src "a:1"))\n'],
    ["dump", [], operations],
    ["image", ["--out", join(folder, "image")], operations],
    ["replay", [], "kvmt-7 [000] ..... 1.5: kvm_access_fault: IPA: 420b6000\n"],
  ])("%s - %j ends with 130, and gives no verdict", async (command, options, text) => {
    let interrupt = () => undefined as undefined | void;
    const stdin = idleInput(text, () => setImmediate(() => interrupt()));
    const outcome = await inside([command, "-", ...options], {
      stdin,
      onInterrupt: (listener) => {
        interrupt = listener;
      },
    });
    expect(outcome).toMatchObject({ code: 130, out: "" });
    expect(outcome.err).toMatch(/^(?:.*\n)?interrupted(?: after 0 files of 1)?\n$/);
    expect(stdin.destroyed).toBe(true);
    expect(readdirSync(folder)).toEqual([]);
  });

  it("is not lost if it came before the command looked", async () => {
    const outcome = await inside(["conform", "-"], { stdin: operations, onInterrupt: (listener) => listener() });
    expect(outcome).toMatchObject({ code: 130, out: "" });
  });
});

describe("progress", () => {
  const files = Array.from({ length: 40 }, (_, i) => join(folder, `${i}.jsonl`));

  it("is painted after a second, ten times a second at most, with rate and time left, and cleared at the end", async () => {
    for (const file of files) writeFileSync(file, operations.replace('"ret":0', '"ret":0,"warn":0'));
    let now = 0;
    const { err, code } = await inside(["conform", ...files], { terminal: true, now: () => (now += 50) });
    for (const file of files) rmSync(file);
    expect(code).toBe(1);
    // Asked forty times, every 50 ms, one file each: painted from the 20th on, each second time.
    const painted = [...err.matchAll(/\/(\d+)\.jsonl: (\d+) operations, 20 a second, (\d+) %, (\d:\d\d) left/g)];
    expect(painted.map(([, ...parts]) => parts)).toEqual(
      [20, 22, 24, 26, 28, 30, 32, 34, 36, 38].map((n) => [`${n}`, `${n}`, `${(n * 100) / 40}`, "0:01"]),
    );
    expect(err.endsWith("\r\u001b[2K")).toBe(true);
  });

  it("names files in printable form, and does not exist where there is no terminal", async () => {
    const path = join(folder, "\u001b[2J.jsonl");
    writeFileSync(path, operations);
    const again = [path, path];
    let now = 0;
    const slow = () => (now += 2000);
    expect((await inside(["conform", ...again], { terminal: true, now: slow })).err).toContain("\\x1b[2J.jsonl");
    expect((await inside(["conform", ...again], { now: slow })).err).toBe("");
    rmSync(path);
  });

  const trace = join(ROOT, "test/replay/fixtures/J-boot-6.12-4k/Image612-v1-nothp-256m.trace.gz");

  it.each([
    [["replay", trace], / events, [\d,.]+ a second, \d+ %, \d:\d\d left/],
    [["report", trace, "--html", join(folder, "boot.html")], / events, [\d,.]+ a second, \d+ %, \d:\d\d left/],
    [["check", join(folder, "long.log")], /long\.log: [\d,]+ records, [\d,.]+ a second, \d+ %, \d:\d\d left/],
    [["explore", "dirty-harvest"], /dirty-harvest: [\d,]+ states, [\d,.]+ a second/],
    [
      ["compare", "demand_paging", "--memory", "4M", "--vary", "granule=4K,16K,64K", "--threads", "1"],
      /[12] runs, [\d,.]+ a second, \d\d %, \d:\d\d left/,
    ],
  ])("of %j has a rate, and the time left where it can be known", async (argv, line) => {
    const record = (i: number) => `(lock (id ${i}) (tid 0) (address 0x1) (src "a:1"))\n`;
    writeFileSync(join(folder, "long.log"), Array.from({ length: 30_000 }, (_, i) => record(i)).join(""));
    let now = 0;
    const { err } = await inside(argv, { terminal: true, now: () => (now += 1100) });
    expect(err).toMatch(line);
    for (const name of readdirSync(folder)) rmSync(join(folder, name));
  });
});
