// SIGINT while nothing comes, and how often progress is painted: with streams and a clock that the test holds.

import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
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

  it("is painted ten times a second at most, and cleared at the end", async () => {
    for (const file of files) writeFileSync(file, operations.replace('"ret":0', '"ret":0,"warn":0'));
    let now = 0;
    const { err, code } = await inside(["conform", ...files], { terminal: true, now: () => (now += 25) });
    for (const file of files) rmSync(file);
    expect(code).toBe(1);
    // Asked forty times, every 25 ms: painted each fourth time.
    const painted = err.match(/\d+\/40 /g) ?? [];
    expect(painted).toEqual([0, 4, 8, 12, 16, 20, 24, 28, 32, 36].map((n) => `${n}/40 `));
    expect(err.endsWith("\r\u001b[2K")).toBe(true);
  });

  it("names files in printable form, and does not exist where there is no terminal", async () => {
    const path = join(folder, "\u001b[2J.jsonl");
    writeFileSync(path, operations);
    expect((await inside(["conform", path], { terminal: true })).err).toContain("\\x1b[2J.jsonl");
    expect((await inside(["conform", path])).err).toBe("");
    rmSync(path);
  });
});
