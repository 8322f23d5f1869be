import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KERNEL_INDEX, kernelIndexMarkdown, SPEC_K1 } from "./kernel-index.js";
import { publicMembers } from "./public.js";
import { declaredIn, ROOT } from "./sources.js";

const rows = KERNEL_INDEX.flatMap(({ functions }) => functions);

describe("the kernel-function index", () => {
  it.each(rows)("$kernel is $core in assembly/$file", ({ file, core }) => {
    expect([...declaredIn(`assembly/${file}`)]).toContain(core);
  });

  it("names what the library has", () => {
    const members = publicMembers();
    const named = rows.flatMap(({ facade }) => facade ?? []);
    expect(named.filter((name) => !members.has(name))).toEqual([]);
  });

  it("has every function of docs/spec K.1", () => {
    const known = new Set(rows.map(({ kernel }) => kernel));
    expect(SPEC_K1.filter((name) => !known.has(name))).toEqual([]);
  });

  it("has no function twice", () => {
    const names = rows.map(({ kernel }) => kernel);
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
  });

  it("is printed in docs/kernel-index.md (vitest run test/house/kernel-index --update)", async () => {
    await expect(kernelIndexMarkdown()).toMatchFileSnapshot(join(ROOT, "docs/kernel-index.md"));
  });
});
