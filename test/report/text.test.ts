import { describe, expect, it } from "vitest";
import { bytes, columns, count, plural, seconds, styler, wantsColour, wrap } from "../../bindings/report/text.js";

describe("numbers", () => {
  it("have commas, units and nouns", () => {
    expect([count(39992), count(999), count(1234567n)]).toEqual(["39,992", "999", "1,234,567"]);
    expect([bytes(512), bytes(4096), bytes(1.5 * 2 ** 20), bytes(2 ** 40)]).toEqual([
      "512 B",
      "4 KiB",
      "1.50 MiB",
      "1 TiB",
    ]);
    expect([seconds(0.421), seconds(12.34), seconds(185)]).toEqual(["0.42 s", "12.3 s", "3 min 05 s"]);
    expect([plural(1, "file"), plural(1000, "file")]).toEqual(["1 file", "1,000 files"]);
  });
});

describe("columns", () => {
  it("are aligned right for numbers and left otherwise, and lines have no trailing blanks", () => {
    expect(
      columns([
        ["id", "ns"],
        ["map-4k", "0.9"],
        ["unmap", "12.25"],
      ]),
    ).toEqual(["id         ns", "map-4k    0.9", "unmap   12.25"]);
    expect(columns([["a"], [""]])).toEqual(["a", ""]);
  });

  it("do not count the escapes of colours", () => {
    const red = styler(true)("red", "x");
    expect(red).not.toBe("x");
    expect(
      columns([
        [red, "y"],
        ["xx", "y"],
      ])[0],
    ).toBe(`${red}   y`);
  });
});

describe("colours", () => {
  const tty = { isTTY: true };

  it.each([
    ["a terminal", tty, {}, true],
    ["a pipe", {}, {}, false],
    ["NO_COLOR", tty, { NO_COLOR: "1" }, false],
    ["an empty NO_COLOR", tty, { NO_COLOR: "" }, true],
    ["FORCE_COLOR in a pipe", {}, { FORCE_COLOR: "1" }, true],
    ["NO_COLOR and FORCE_COLOR", tty, { NO_COLOR: "1", FORCE_COLOR: "1" }, false],
    ["a dumb terminal", tty, { TERM: "dumb" }, false],
  ])("%s", (_what, stream, env, wanted) => {
    expect(wantsColour(stream, env)).toBe(wanted);
  });

  it("leave text unchanged where they are off", () => {
    expect(styler(false)("red", "x")).toBe("x");
  });
});

it("wraps words", () => {
  expect(wrap("one two  three", 8)).toEqual(["one two", "three"]);
});
