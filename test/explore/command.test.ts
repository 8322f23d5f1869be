// granule explore: what its exit codes say.

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { inside } from "../cli/inside.js";
import { scratchFolder } from "../support/scratch.js";

const run = (line: string) => inside(["explore", ...line.split(" ")]);

describe("exit codes of granule explore", () => {
  it.each(["unmap-fences", "fault-fault-same", "fault-fault --reduce", "dirty-age --bound 1"])(
    "0 for `%s`: all was seen, and no rule is broken",
    async (line) => {
      const { code, out } = await run(line);
      expect(out).toContain(": ok: ");
      expect(code).toBe(0);
    },
  );

  it.each(["unmap-fences-no-fences", "unmap-fences-no-fences --limit 1", "unmap-fences unmap-fences-no-fences"])(
    "1 for `%s`: a rule is broken",
    async (line) => {
      const { code, out } = await run(line);
      expect(out).toContain(": violation: ");
      expect(out).toMatch(/ {4}x1:unmap-fences-no-fences:0:\S+\n/);
      expect(code).toBe(1);
    },
  );

  it("1 for a mutant that is not caught, 0 for one that is", async () => {
    const lost = await run("--mutant locked-again --limit 1 --bound 0");
    expect([lost.out, lost.code]).toEqual(["locked-again: not caught\n", 1]);
    const caught = await run("--mutant locked-again");
    expect(caught.out).toMatch(/^locked-again: caught by x1:/);
    expect(caught.code).toBe(0);
  });

  it.each([
    ["", "SCENARIO is missing"],
    ["nobody", "there is no scenario nobody"],
    ["--mutant nobody", "there is no mutant nobody"],
    ["fault-fault --bound many", "--bound"],
    ["fault-fault --reduce --bound 2", "--reduce goes with neither --bound nor --deaths"],
    ["fault-fault --reduce --deaths", "--reduce goes with neither --bound nor --deaths"],
    ["--replay x1:fault-fault", "a replay string is"],
  ])("2 for `%s`: the command line makes no sense", async (line, message) => {
    const { code, out, err } = await inside(["explore", ...line.split(" ").filter((one) => one !== "")]);
    expect(err).toContain(message);
    expect([out, code]).toEqual(["", 2]);
  });

  it.each([
    ["fault-block --limit 100", "fault-block: incomplete: "],
    ["dirty-harvest --limit 1", "dirty-harvest: incomplete: "],
    ["fault-fault fault-block --limit 100", "fault-block: incomplete: "],
  ])("4 for `%s`: no rule is broken, but not all was seen", async (line, text) => {
    const { code, out } = await run(line);
    expect(out).toContain(text);
    expect(out).not.toContain("violation");
    expect(code).toBe(4);
  });

  it("a violation counts for more than a search that was cut short", async () => {
    const { code } = await run("dirty-harvest unmap-fences-no-fences --limit 1");
    expect(code).toBe(1);
  });

  it("--json says the same", async () => {
    const { code, out } = await run("dirty-harvest --limit 1 --json");
    expect(JSON.parse(out).scenarios).toMatchObject([{ name: "dirty-harvest", complete: false, violations: [] }]);
    expect(code).toBe(4);
  });
});

describe("--save and --resume", () => {
  const folder = scratchFolder(),
    at = (name: string) => join(folder, name);

  it("a search in two parts says what one in one says", async () => {
    const file = at("left");
    expect((await run(`fault-block --limit 4000 --save ${file}`)).code).toBe(4);
    const { out, code } = await run(`fault-block --resume ${file} --save ${at("nothing")}`);
    expect(out).toBe((await run("fault-block")).out);
    expect(code).toBe(0);
    expect(existsSync(at("nothing"))).toBe(false);
  });

  it("go with one scenario, which is that of the file", async () => {
    const file = at("dirty");
    await run(`dirty-harvest --limit 1 --save ${file}`);
    const other = await run(`fault-block --resume ${file}`);
    expect([other.code, other.err]).toEqual([
      2,
      expect.stringContaining("that search is of dirty-harvest, not of fault-block"),
    ]);
    for (const line of [`all --resume ${file}`, `fault-fault --reduce --save ${file}`]) {
      const { code, err } = await run(line);
      expect([code, err]).toEqual([2, expect.stringContaining("--resume and --save go with one SCENARIO")]);
    }
    const bound = await run(`dirty-harvest --bound 2 --resume ${file}`);
    expect([bound.code, bound.err]).toEqual([2, expect.stringContaining("has another bound")]);
  });

  it("a file that is none is unreadable: 3", async () => {
    writeFileSync(at("none"), "no search");
    for (const name of ["none", "absent"]) {
      const { code, err } = await run(`fault-fault --resume ${at(name)}`);
      expect([code, err]).toEqual([3, expect.stringContaining(at(name))]);
    }
  });
});
