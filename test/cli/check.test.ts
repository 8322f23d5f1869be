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
