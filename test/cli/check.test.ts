// `granule check` through real processes.

import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { granule } from "./granule.js";

const trace = (name: string): string => fileURLToPath(new URL(`../audit/traces/${name}.log.gz`, import.meta.url));

describe("granule check", () => {
  it("gives one verdict a file, and exit code 1 for a violation", async () => {
    const [good, bad] = [trace("map_empty"), trace("split_missing_dsb3")];
    const { code, stdout } = await granule(["check", "--json", good, bad]);
    expect(code).toBe(1);
    const { files } = JSON.parse(stdout) as { files: unknown[] };
    expect(files).toEqual([
      { file: good, verdict: "ok", kind: null, record: null, message: null },
      { file: bad, verdict: "violation", kind: "early-make", record: 537, message: expect.stringContaining("DSB ISH") },
    ]);
  });

  it("is silent about nothing else: exit code 0", async () => {
    const { code, stdout, stderr } = await granule(["check", trace("map_empty")]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/map_empty.log.gz: ok\n$/);
  });

  it("counts several logs in a last line", async () => {
    const { stdout } = await granule(["check", trace("map_empty"), trace("split_missing_dsb3"), trace("af_set")]);
    expect(stdout.trimEnd().split("\n").at(-1)).toBe("3 logs: 2 ok, 1 with a violation");
  });

  it("judges the others where one is missing: exit code 3", async () => {
    const { code, stdout, stderr } = await granule(["check", trace("map_empty"), "/nowhere.log", trace("map_nolock")]);
    expect([code, stderr]).toEqual([3, "granule: /nowhere.log: no such file or folder\n"]);
    expect(stdout).toMatch(
      /map_empty.log.gz: ok\n.*map_nolock.log.gz: violation.*\n3 logs: 1 ok, 1 with a violation, 1 could not be judged\n$/,
    );
    const { files } = JSON.parse((await granule(["check", "--json", "/nowhere.log", trace("map_empty")])).stdout);
    expect(files).toMatchObject([{ verdict: "unreadable", kind: null }, { verdict: "ok" }]);
  });

  it("names what it is given a recording for: exit code 3", async () => {
    const { code, stderr } = await granule(["check", "-"], { stdin: "\u0017\u0008Dtracing7\0" });
    expect([code, stderr]).toEqual([
      3,
      "granule: (stdin): this is a recording (trace.dat), not a log: granule replay FILE --casemate LOG writes a log of what its replay does\n",
    ]);
  });

  it.each([
    ["an empty file", "", "the log holds no record"],
    ["white space", " \n\t\r\n", "the log holds no record"],
    ["NULs", "\0\0\0", "line 1: expected \\( of a record"],
    ["NULs behind a record", '(lock (id 0) (tid 0) (address 0) (src "a:1"))\n\0', "line 2: expected \\( of a record"],
    ["a NUL within a record", '(lock (id 0)\0(tid 0) (address 0) (src "a:1"))', "line 1: expected"],
  ])("%s is no log: exit code 3, one line", async (_name, stdin, message) => {
    const { code, stdout, stderr } = await granule(["check", "-"], { stdin });
    expect([code, stdout]).toEqual([3, ""]);
    expect(stderr).toMatch(new RegExp(`^granule: \\(stdin\\): ${message}.*\n$`));
  });

  it("prints no escape sequence of a log or of a name as it is", async () => {
    const { stderr } = await granule(["check", "-"], { stdin: "(lock (id 0) (tid 0) \u001b[31mred\u001b[0m\u009b0m" });
    expect(stderr).toMatch(/^granule: [\x20-\x7e]+\n$/);
    const named = await granule(["check", "/no\u001b[31mwhere.log"]);
    expect(named.stderr).toMatch(/^granule: [\x20-\x7e]+\n$/);
  });

  it("takes the level of FEAT_BBM", async () => {
    const log = trace("coalesce_direct");
    expect((await granule(["check", log])).code).toBe(1);
    expect((await granule(["check", "--bbm", "2", log])).stdout).not.toContain("no-break");
    expect((await granule(["check", "--bbm", "3", log])).code).toBe(2);
  });

  it("names the line of what is not of the dialect: exit code 3", async () => {
    const { code, stderr } = await granule(["check", "-"], {
      stdin: '\n(lock (id 0) (tid 0) (adress 0) (src "a:1"))\n',
    });
    expect(code).toBe(3);
    expect(stderr).toMatch(/^granule: \(stdin\): line 2: expected the field address/);
    expect((await granule(["check", "/nowhere.log"])).code).toBe(3);
    expect((await granule(["check"])).code).toBe(2);
  });
});
