// docs/spec and the rest of the project: every cited statement is defined, and every statement has a test or a reason.

import { describe, expect, it } from "vitest";
import { filesBelow, text } from "../house/sources.js";
import { coverage, coveragePage } from "../support/coverage.js";
import { citingFiles, definitions, idsIn, reasons, titlesOf } from "../support/statements.js";

const all = definitions();
const known = new Set(all);

/** The statements that a title names. */
function tested(): Set<string> {
  const titles = filesBelow("test").flatMap((path) => titlesOf(path, text(path)));
  return new Set(titles.flatMap((title) => idsIn(title, all)));
}

describe("the statements of docs/spec", () => {
  it("are defined once each", () => {
    expect(all.filter((id, i) => all.indexOf(id) !== i)).toEqual([]);
    expect(all.length).toBeGreaterThan(400);
  });

  it("are all that code, tests and documents cite", () => {
    const unknown = citingFiles().flatMap((path) =>
      idsIn(text(path), all)
        .filter((id) => !known.has(id))
        .map((id) => `${path}: ${id}`),
    );
    expect(unknown).toEqual([]);
  });

  it("each have a test that names them in its title, or a reason in untested.md", () => {
    const named = tested();
    const excused = new Set(reasons(all).flatMap(({ ids }) => ids));
    console.log(`${all.filter((id) => named.has(id)).length} of ${all.length} statements have a test`);
    expect(all.filter((id) => !named.has(id) && !excused.has(id))).toEqual([]);
  });

  it("have no reason where there is a test, and each reason once", () => {
    const named = tested();
    const listed = reasons(all);
    const ids = listed.flatMap((entry) => entry.ids);
    expect(ids.filter((id) => !known.has(id) || named.has(id))).toEqual([]);
    expect(ids.filter((id, i) => ids.indexOf(id) !== i)).toEqual([]);
    expect(listed.filter(({ reason }) => reason.length < 20)).toEqual([]);
  });
});

describe("the list of what is tested where", () => {
  const covered = coverage();

  it("has each statement once, with the tests that name it or the reason why none does", () => {
    expect(covered.map(({ id }) => id)).toEqual(all);
    const named = tested();
    expect(covered.filter(({ id, tests }) => named.has(id) !== tests.length > 0)).toEqual([]);
    expect(covered.filter(({ tests, reason }) => (tests.length === 0) !== (reason !== undefined))).toEqual([]);
  });

  it("becomes a page with a line for each", () => {
    const page = coveragePage([
      { id: "AA-1", tests: ["test/a.test.ts", "test/b/c.test.ts"], reason: undefined },
      { id: "AA-2", tests: [], reason: "this | that" },
    ]);
    expect(page).toContain("| AA-1 | `a.test.ts`, `b/c.test.ts` |");
    expect(page).toContain("| AA-2 | no test: this \\| that |");
    expect(page).toContain("1 of 2 statements");
  });
});

describe("a title", () => {
  const titles = (source: string) => titlesOf("a.test.ts", source);

  it.each([
    ["of a test", 'it("maps [AA-1]", () => {});', ["maps [AA-1]"]],
    ["of a group", "describe(`sizes [AA-2]`, () => {});", ["sizes [AA-2]"]],
    [
      "whose rows it prints",
      'const rows = [["hole [AA-3]", 1]];\nit.each(rows)("%s", () => {});',
      ["%s", "hole [AA-3]"],
    ],
    ["with a condition", 'it.skipIf(x)("runs", () => {});', ["runs"]],
  ])("is found: that %s", (_, source, expected) => {
    expect(titles(source)).toEqual(expected);
  });

  it.each([
    ["a comment", '// [AA-1]\nit("maps", () => { /* [AA-2] */ });'],
    ["a row that no title prints", 'it.each([["AA-1"]])("maps", () => {});'],
    ["another string of a test", 'it("maps", () => { expect("AA-1").toBe(x); });'],
  ])("is not %s", (_, source) => {
    expect(titles(source)).toEqual(["maps"]);
  });

  it("names what a range stands for", () => {
    const few = ["S2-20", "S2-21", "S2-23", "PROP-1"];
    expect(idsIn("S2-20..23, PROP-1 and UTF-8", few)).toEqual(["S2-20", "S2-21", "S2-23", "PROP-1"]);
    expect(idsIn("S2-20..24", few)).toEqual(["S2-20", "S2-24"]);
  });
});
