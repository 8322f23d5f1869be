// Text for people: aligned columns, readable numbers, colours that stay out of files. Node only, as the command line is.

import { styleText } from "node:util";

export { bytes, count, plural, seconds } from "./numbers.js";

/** Colours and weights that the reports use. */
export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** What tells whether colours are wanted: a stream, and the environment. */
export interface Terminal {
  isTTY?: boolean | undefined;
}

/**
 * Whether to colour what goes to `stream`: NO_COLOR (any value but the empty one) forbids, FORCE_COLOR other than 0
 * forces, otherwise a terminal decides.
 */
export function wantsColour(
  stream: Terminal,
  env: Readonly<Record<string, string | undefined>> = process.env,
): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR !== undefined) return env.FORCE_COLOR !== "0";
  return stream.isTTY === true && env.TERM !== "dumb";
}

/** A function that marks text, or gives it back as it is. */
export function styler(coloured: boolean): (style: Style, text: string) => string {
  // The decision is made above; styleText must not look at a stream of its own choice.
  return coloured ? (style, text) => styleText(style, text, { validateStream: false }) : (_style, text) => text;
}

/** A number, and a mark behind it. */
const NUMERIC = /^[-+]?[\d,]+(\.\d+)?%?[* ]?$/;

function width(text: string): number {
  // Escape sequences of styleText take no room.
  return text.replace(new RegExp(`${String.fromCharCode(27)}\\[\\d+m`, "g"), "").length;
}

/**
 * Rows as lines of aligned columns, two spaces apart. A column whose cells below the first row are all numbers (or
 * empty) is aligned right.
 */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const n = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: n }, (_, i) => Math.max(...rows.map((row) => width(row[i] ?? ""))));
  const right = widths.map((_, i) => {
    const cells = rows.slice(1).map((row) => row[i] ?? "");
    return cells.some((cell) => cell !== "") && cells.every((cell) => cell === "" || NUMERIC.test(cell));
  });
  const cellText = (cell: string, i: number) => {
    const room = " ".repeat((widths[i] as number) - width(cell));
    return right[i] ? room + cell : cell + room;
  };
  return rows.map((row) => row.map(cellText).join("  ").trimEnd());
}

/** Words as lines of at most `max` characters. */
export function wrap(text: string, max = 100): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/).filter((w) => w !== "")) {
    if (line !== "" && line.length + 1 + word.length > max) {
      lines.push(line);
      line = "";
    }
    line = line === "" ? word : `${line} ${word}`;
  }
  if (line !== "") lines.push(line);
  return lines;
}
