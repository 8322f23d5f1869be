import { parseTraceLine } from "granule/trace";
import { describe, expect, it } from "vitest";
import { publicExports } from "../house/public.js";
import { text } from "../house/sources.js";
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
      ({ isValue, examples, members }) =>
        isValue && examples.length === 0 && !members.some(({ hasExample }) => hasExample),
    );
    expect(bare.map(({ entry, name, place }) => `${entry} ${name} (${place})`)).toEqual([]);
  });

  it("have TSDoc on every member of a class or an interface", () => {
    const bare = exported.flatMap(({ name, members }) =>
      members
        .filter(({ documentation }) => documentation.trim() === "")
        .map((member) => `${member.place} ${name}.${member.name}`),
    );
    expect([...new Set(bare)]).toEqual([]);
  });
});

describe("recorded lines in the documentation of events", () => {
  const events = exported.filter(({ entry, name }) => entry === "granule/trace" && /[a-z]Event$/.test(name));
  const recorded = events.flatMap(({ name, examples }) =>
    [...examples.join("\n").matchAll(/```text\n(.*?)```/gs)].flatMap(([, lines = ""]) =>
      lines
        .trim()
        .split("\n")
        .map((line) => ({ name, line })),
    ),
  );

  it("are there", () => {
    expect(recorded.length).toBeGreaterThan(30);
  });

  it.each(recorded)("$name reads $line", ({ name, line }) => {
    const event = parseTraceLine(line);
    expect(event).toBeDefined();
    // MarkerEvent is of kind marker; kinds of one shape share a name, such as S2RangeEvent.
    const source = ["events", "probed"].map((file) => text(`bindings/trace/${file}.ts`)).join("\n");
    const kinds = source.split(`interface ${name} `)[1]?.split(";")[0] ?? "";
    expect(kinds).toContain(`"${event?.kind}"`);
  });
});
