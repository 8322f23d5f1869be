// Cutting a 64-bit word into named fields, and drawing it.

/** Some bits of a descriptor. */
export interface Field {
  name: string;
  high: number;
  low: number;
  /** The bits, from `low` up. */
  value: bigint;
  /** What they say, in words. */
  meaning: string;
  /** Drawn as hex digits rather than bits. */
  wide?: boolean;
}

/** Name, highest bit, lowest bit, meaning of a value, and how to draw it. */
export type FieldRule = [
  name: string,
  high: number,
  low: number,
  meaning: (value: bigint) => string,
  form?: "hex" | undefined,
];
/** Rules in any order; none overlap. */
export type Cut = FieldRule[];

/** The meaning of a single bit. */
export function set(one: string, zero: string): (value: bigint) => string {
  return (value) => (value === 0n ? zero : one);
}

function bits(word: bigint, high: number, low: number): bigint {
  return (word >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);
}

const UNNAMED = set("set, though nothing that KVM makes has it", "unused");

function unnamed(high: number, low: number): FieldRule {
  return ["-", high, low, UNNAMED, high - low >= 8 ? "hex" : undefined];
}

/** The word's fields from bit 63 down; bits that no rule names become fields named `-`. */
export function cut(word: bigint, rules: Cut): Field[] {
  const sorted = [...rules].sort((a, b) => b[1] - a[1]);
  const all: FieldRule[] = [];
  let next = 63;
  for (const rule of sorted) {
    if (rule[1] < next) all.push(unnamed(next, rule[1] + 1));
    all.push(rule);
    next = rule[2] - 1;
  }
  if (next >= 0) all.push(unnamed(next, 0));
  return all.map(([name, high, low, meaning, form]) => {
    const value = bits(word, high, low);
    return { name, high, low, value, meaning: meaning(value), ...(form === "hex" ? { wide: true } : {}) };
  });
}

/** `47:12`, or `10` for one bit. */
export function range({ high, low }: Field): string {
  return high === low ? String(high) : `${high}:${low}`;
}

/** The field's bits as digits: hex for wide ones, else binary. */
export function digits({ high, low, value, wide }: Field): string {
  const n = high - low + 1;
  return wide ? `0x${value.toString(16).padStart(Math.ceil(n / 4), "0")}` : value.toString(2).padStart(n, "0");
}

function centre(text: string, width: number): string {
  const left = Math.floor((width - text.length) / 2);
  return " ".repeat(left) + text + " ".repeat(width - text.length - left);
}

/**
 * The word as a drawing: bit numbers over a row of boxes with names and bits.
 *
 * @example
 * ```ts
 * import { draw, explain } from "granule/report";
 * const [empty] = explain(0n);
 * console.log(draw(empty?.fields ?? []).length); // 5
 * ```
 */
export function draw(fields: readonly Field[]): string[] {
  const cells = fields.map((f) => [range(f), f.name, digits(f)] as const);
  const widths = cells.map((cell) => Math.max(...cell.map((text) => text.length)));
  const row = (i: 0 | 1 | 2) => cells.map((cell, n) => centre(cell[i], widths[n] as number));
  const line = `+${widths.map((w) => "-".repeat(w)).join("+")}+`;
  return [` ${row(0).join(" ")}`.trimEnd(), line, `|${row(1).join("|")}|`, `|${row(2).join("|")}|`, line];
}

/** Output address in a leaf or table descriptor [FMT-1]. */
export function outputAddress(shift: number, lpa2: boolean, descriptor: bigint): bigint {
  const place = (high: number) => bits(descriptor, high, shift) << BigInt(shift);
  if (lpa2 && shift < 16) return place(49) | (bits(descriptor, 9, 8) << 50n);
  return shift === 16 ? place(47) | (bits(descriptor, 15, 12) << 48n) : place(47);
}
