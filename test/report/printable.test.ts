// No text from an input may reach a terminal in a form that the terminal obeys.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { printable, printableJson, printableShort, printableValue } from "../../bindings/report/printable.js";

/** Controls, separators, bidirectional and zero-width characters, lone surrogates. */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u200b-\u200f\u202a-\u202e\u2060-\u2069]/u;
const anyText = fc.string({
  unit: fc.oneof(
    fc.constantFrom(
      "\u001b",
      "\u009b",
      "\u007f",
      "\n",
      "\r",
      "\u202e",
      "\u2066",
      "\u2028",
      "\ud800",
      "\udc00",
      "\0",
      '"',
    ),
    fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
  ),
});

describe("printable", () => {
  it.each([
    ["plain text, ä and 漢字 and 😀", "plain text, ä and 漢字 and 😀"],
    ["\u001b[2J", "\\x1b[2J"],
    ["\u009b31m", "\\x9b31m"],
    ["a\r\nb\tc\0", "a\\r\\nb\\tc\\x00"],
    ["\u007f\u202egpj.exe\u2028", "\\x7f\\u202egpj.exe\\u2028"],
    ["\ud800x", "\\ud800x"],
    ["\u{e0041}", "\\u{e0041}"],
  ])("%j", (text, safe) => {
    expect(printable(text)).toBe(safe);
  });

  it("leaves nothing that a terminal obeys, and is one line", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(printable(text)).not.toMatch(UNSAFE);
        expect(printableShort(text, 8)).not.toMatch(UNSAFE);
        expect(printableValue(text, 8)).not.toMatch(UNSAFE);
        expect(printableValue({ [text]: text })).not.toMatch(UNSAFE);
      }),
    );
  });

  it("cuts what is long, and names what has no JSON", () => {
    expect(printableShort("x".repeat(1 << 20), 10)).toBe("xxxxxxx...");
    expect(printableValue("x".repeat(1 << 20)).length).toBe(100);
    expect(printableValue(undefined)).toBe("undefined");
  });
});

describe("printableJson", () => {
  it("means the same as JSON, and holds nothing that a terminal obeys but its own line ends", () => {
    fc.assert(
      fc.property(fc.dictionary(anyText, fc.oneof(anyText, fc.integer(), fc.constant(null))), (value) => {
        const text = printableJson(value, 2);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(text.replaceAll("\n", "")).not.toMatch(UNSAFE);
      }),
    );
  });

  it("escapes what JSON.stringify does not", () => {
    expect(printableJson(["\u009b31m\u202e\u{e0041}"])).toBe('["\\u009b31m\\u202e\\udb40\\udc41"]');
  });
});
