// Cutting a 64-bit word into named fields, and drawing it.

import { bitsOf, fieldOf, fieldOfMask, highOf, lowOf } from "../core/field.js";

/** Some bits of a descriptor. */
export interface Field {
  /** The architecture's name, such as `AF` or `S2AP`. */
  name: string;
  /** Its highest bit, 63 to 0. */
  high: number;
  /** Its lowest bit. */
  low: number;
  /** The bits, from `low` up. */
  value: bigint;
  /** What they say, in words. */
  meaning: string;
  /** Drawn as hex digits rather than bits. */
  wide?: boolean;
}

/** Name, bits (a field of core/field.ts, or the mask of one), meaning of a value, and how to draw it. */
export type FieldRule = [
  name: string,
  bits: number | bigint,
  meaning: (value: bigint) => string,
  form?: "hex" | undefined,
];
/** Rules in any order; none overlap. */
export type Cut = FieldRule[];

/** The meaning of a single bit. */
export function set(one: string, zero: string): (value: bigint) => string {
  return (value) => (value === 0n ? zero : one);
}

function fieldIn([, bits]: FieldRule): number {
  return typeof bits === "bigint" ? fieldOfMask(bits) : bits;
}

const UNNAMED = set("set: ignored by hardware, or reserved", "unused");

function unnamed(high: number, low: number): FieldRule {
  return ["-", fieldOf(high, low), UNNAMED, high - low >= 8 ? "hex" : undefined];
}

/** The word's fields from bit 63 down; bits that no rule names become fields named `-`. */
export function cut(word: bigint, rules: Cut): Field[] {
  const sorted = [...rules].sort((a, b) => lowOf(fieldIn(b)) - lowOf(fieldIn(a)));
  const all: FieldRule[] = [];
  let next = 63;
  for (const rule of sorted) {
    const field = fieldIn(rule);
    if (highOf(field) < next) all.push(unnamed(next, highOf(field) + 1));
    all.push(rule);
    next = lowOf(field) - 1;
  }
  if (next >= 0) all.push(unnamed(next, 0));
  return all.map((rule) => {
    const [name, , meaning, form] = rule,
      field = fieldIn(rule),
      value = bitsOf(word, field);
    const place = { name, high: highOf(field), low: lowOf(field) };
    return { ...place, value, meaning: meaning(value), ...(form === "hex" ? { wide: true } : {}) };
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
