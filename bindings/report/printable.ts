// What came from a file goes to a terminal or into a line of a report only in a form that a terminal cannot obey.

// Controls (C0, DEL, C1), what reorders or hides text (bidirectional marks, zero-width characters, tags), line and
// paragraph separators, and halves of surrogate pairs.
const UNSAFE =
  /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function escaped(character: string): string {
  const short = SHORT[character];
  if (short !== undefined) return short;
  const code = character.codePointAt(0) as number;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\u{${code.toString(16)}}`;
}

/**
 * Text from outside as one line that is safe to print: file names, lines and JSON strings of an input, messages that
 * quote them. Escape sequences, line ends, and characters that reorder or hide text become visible (`\x1b`, `\n`,
 * `\u202e`); everything else stays as it is.
 */
export function printable(text: string): string {
  return text.replace(UNSAFE, escaped);
}

/** `printable`, cut after `max` characters: an input may hold a line of a mebibyte where a word is expected. */
export function printableShort(text: string, max = 100): string {
  // Cut first, so that a long text costs nothing; a pair that is cut in half is caught by `printable`.
  return text.length > max ? `${printable(text.slice(0, max - 3))}...` : printable(text);
}

/** A value from an input for a message: compact JSON, printable and short. */
export function printableValue(value: unknown, max = 100): string {
  if (typeof value === "string" && value.length > max) return printableShort(JSON.stringify(value.slice(0, max)), max);
  return printableShort(JSON.stringify(value) ?? String(value), max);
}

function jsonEscaped(character: string): string {
  if (character === "\n") return character;
  return Array.from({ length: character.length }, (_, i) => character.charCodeAt(i))
    .map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`)
    .join("");
}

/**
 * JSON that is safe to print and means the same: what JSON.stringify leaves raw of the characters that `printable`
 * escapes, such as DEL, C1 and bidirectional marks, is written as `\uXXXX`.
 */
export function printableJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(UNSAFE, jsonEscaped);
}
