// The frame of the command line: help, version, exit codes, streams.

import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../bindings/cli/registry.js";
import { granule, MAIN, mapLine, script } from "./granule.js";

const NAMES = COMMANDS.map(({ name }) => name);

/** What a refused command line must look like: nothing on stdout, one line on stderr. */
async function refused(args: readonly string[], code: number, words: RegExp): Promise<void> {
  const ended = await granule(args);
  expect(ended).toMatchObject({ code, stdout: "" });
  expect(ended.stderr).toMatch(words);
  expect(ended.stderr.trimEnd().split("\n")).toHaveLength(1);
}

describe("granule", () => {
  it("is a script that a shell can run", () => {
    expect(readFileSync(MAIN, "utf8").startsWith("#!/usr/bin/env node\n")).toBe(true);
  });

  it("--help names every command", async () => {
    const ended = await granule(["--help"]);
    expect(ended).toMatchObject({ code: 0, stderr: "" });
    for (const name of NAMES) expect(ended.stdout).toMatch(new RegExp(`^ {2}${name} +\\S`, "m"));
  });

  it.each(NAMES)("%s --help shows usage and every option", async (name) => {
    const ended = await granule([name, "--help"]);
    expect(ended).toMatchObject({ code: 0, stderr: "" });
    expect(ended.stdout.startsWith(`usage: granule ${name} `)).toBe(true);
    const command = COMMANDS.find((c) => c.name === name);
    for (const [option, { help }] of Object.entries(command?.options ?? {})) {
      if (help !== undefined) expect(ended.stdout).toContain(`--${option}`);
    }
    expect(ended.stdout).toContain("--json");
    for (const { line } of command?.examples ?? []) expect(ended.stdout).toContain(line);
    expect(ended.stdout).toMatch(/^exit code: 0 /m);
    const wide = ended.stdout.split("\n").filter((line) => line.length > 100 && !/^(usage:| {6,7})/.test(line));
    expect(wide).toEqual([]);
  });

  it("has an example of every command that a newcomer would begin with, all of them real command lines", () => {
    for (const { name, examples = [], options } of COMMANDS) {
      for (const { line } of examples) {
        expect(line).toContain(`granule ${name}`);
        for (const [, option = ""] of line.matchAll(/ --([a-z-]+)/g)) expect(Object.keys(options)).toContain(option);
      }
    }
    const begun = COMMANDS.filter(({ examples = [] }) => examples.length > 0).map(({ name }) => name);
    expect(begun).toEqual(expect.arrayContaining(["make", "explain", "translate", "diff", "dump", "image", "replay"]));
  });

  it("--version is the package's", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
      version: string;
    };
    expect((await granule(["--version"])).stdout).toBe(`${version}\n`);
    expect(JSON.parse((await granule(["--version", "--json"])).stdout)).toEqual({ schemaVersion: 1, version });
  });

  it.each([
    [[], /which command/],
    [["frobnicate"], /no command frobnicate/],
    [["translate"], /DIR is missing/],
    [["judge", "x"], /no command judge/],
    [["constructor"], /no command constructor/],
    [["--frob"], /no option --frob/],
    [["explain", "1", "--frob"], /--frob/],
    [["explain", "1", "--level"], /--level/],
    [["explain", "1", "--level", "4"], /--level is a whole number from -1 to 3, not 4/],
    [["explain"], /DESCRIPTOR is missing/],
    [["conform"], /PATH is missing/],
    [["dump"], /OPS is missing/],
    [["dump", "a", "b"], /only one OPS is allowed: b is one too many/],
    [["dump", "a", "--format", "5.4"], /--format is 6\.12 or 7\.x, not 5\.4/],
    [["image", "a"], /--out DIR is missing/],
    [["image", "a", "--out", "b", "--base", "0x123"], /--base/],
    [["bench", "nothing"], /no workload nothing/],
    [["bench", "table-bytes", "--peer", "x"], /no peer x/],
    [["bench", "--rounds", "0"], /--rounds/],
    [["bench", "--workers", "3"], /--workers is 2, 4, 8, 16 or 32, not 3/],
  ])("%j is a usage error", async (args, words) => refused(args, 2, words));

  it.each([
    [["conform", "/nonexistent"], /^granule: \/nonexistent: no such file or folder$/m],
    [["dump", "/nonexistent.jsonl"], /no such file/],
    [["dump", "/"], /is a folder/],
    [["image", "/nonexistent", "--out", "x"], /no such file/],
  ])("%j is unreadable input", async (args, words) => refused(args, 3, words));
});

describe("streams", () => {
  it.skipIf(!existsSync("/dev/full"))("a full disk is said, in one line: exit 3", async () => {
    const full = openSync("/dev/full", "w");
    const child = spawn(process.execPath, [MAIN, "explain", "3"], { stdio: ["ignore", full, "pipe"] });
    closeSync(full);
    let stderr = "";
    child.stderr?.on("data", (text) => {
      stderr += String(text);
    });
    const code = await new Promise((resolve) => child.on("close", resolve));
    expect([code, stderr]).toEqual([3, "granule: (stdout): no space left on the device\n"]);
  });

  const many = script(Array.from({ length: 3000 }, (_, i) => mapLine(i * 0x2000, 0x1000)));

  it("a reader that goes away is no error", async () => {
    const ended = await granule(["dump", "-", "--json"], {
      stdin: many,
      onData: (_text, child) => child.stdout?.destroy(),
    });
    expect(ended).toMatchObject({ code: 0, stderr: "" });
  });

  it("everything written reaches a pipe", async () => {
    const ended = await granule(["dump", "-"], { stdin: many });
    expect(ended.stdout.split("\n")).toHaveLength(6004);
    expect(ended.stdout.endsWith("\n")).toBe(true);
  });

  it("colours are for terminals, or FORCE_COLOR, and never with NO_COLOR", async () => {
    const red = "\u001b[";
    const args = ["explain", "0x3"];
    expect((await granule(args)).stdout).not.toContain(red);
    expect((await granule(args, { env: { FORCE_COLOR: "1" } })).stdout).toContain(red);
    expect((await granule(args, { env: { FORCE_COLOR: "1", NO_COLOR: "1" } })).stdout).not.toContain(red);
  });
});
