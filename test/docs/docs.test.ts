import { describe, expect, it } from "vitest";
import { publicExports } from "../house/public.js";
import { allExamples, runExamples, states } from "./examples.js";

const outcomes = runExamples(allExamples());

describe("examples of the documentation", () => {
  it("are there", () => {
    expect(outcomes.length).toBeGreaterThan(20);
  });

  it.each(outcomes)(
    "$example.place compiles, runs and prints what it says",
    ({ example, diagnostics, error, logs }) => {
      expect(diagnostics, example.code).toEqual([]);
      expect(error, example.code).toBeUndefined();
      const wrong = logs.filter(({ expected, actual }) => !states(expected, actual));
      expect(wrong, example.code).toEqual([]);
    },
  );

  it("import the package by its name", () => {
    const own = outcomes.filter(({ example }) => /from "\.{1,2}\//.test(example.code));
    expect(own.map(({ example }) => example.place)).toEqual([]);
  });
});

describe("the comparison of comments", () => {
  it.each([
    ["4096n", ["4096n"], true],
    ['"a" "b"', ["a b"], true],
    ["6: read and write", ["6"], true],
    ["1, 2, 3", ["1", "2", "3"], true],
    ["40", ["4"], false],
    ["page", ["block"], false],
    ["page", [], false],
    ["first\n  second", ["first", "  second"], true],
    ["first", ["first", "second"], false],
  ] as const)("%s for %j is %s", (expected, actual, answer) => {
    expect(states(expected, actual)).toBe(answer);
  });
});

// Constants and enumerations, which hold no behaviour of their own: a sentence is enough.
const SENTENCE_ENOUGH = new Set(["GRANULES", "JournalKind", "TLBI_LEVEL_UNKNOWN"]);

/** Its functions are the core's exports; assembly/engine.ts says what they do, one by one. */
const RAW_CORE = "Core";

/** Re-exports of the same declaration count once, at the entry that comes first. */
const exported = [
  ...new Map(
    publicExports()
      .reverse()
      .map((one) => [`${one.place} ${one.name}`, one]),
  ).values(),
].reverse();

describe("public exports", () => {
  it("all have TSDoc", () => {
    const bare = exported.filter(({ documentation }) => documentation.trim() === "");
    expect(bare.map(({ entry, name, place }) => `${entry} ${name} (${place})`)).toEqual([]);
  });

  it("have an example if they do something, classes at their head or at a member", () => {
    const bare = exported.filter(
      ({ isValue, examples, members, name }) =>
        isValue && examples.length === 0 && !members.some(({ hasExample }) => hasExample) && !SENTENCE_ENOUGH.has(name),
    );
    expect(bare.map(({ entry, name, place }) => `${entry} ${name} (${place})`)).toEqual([]);
  });

  it("have TSDoc on every member of a class, and on every method of an interface", () => {
    const documented = exported.filter(({ name }) => name !== RAW_CORE);
    const bare = documented.flatMap(({ name, members }) =>
      members
        .filter(({ documentation, isField }) => documentation.trim() === "" && !isField)
        // Every class of errors has one, with its own name in it.
        .filter((member) => member.name !== "name")
        .map((member) => `${member.place} ${name}.${member.name}`),
    );
    expect([...new Set(bare)]).toEqual([]);
  });
});
