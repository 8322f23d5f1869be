// Numbers as people read them. The page runs in a browser, so nothing here is of Node.

import type { Cell, Column } from "../../report/story.js";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Bytes in the greatest unit that leaves a whole number, or one decimal. */
export function size(n: number): string {
  let unit = 0;
  let value = n;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

/** `0x40000000` */
export function address(n: number): string {
  return `0x${n.toString(16)}`;
}

/** `39,992` */
export function count(n: number): string {
  return n.toLocaleString("en", { maximumFractionDigits: 2 });
}

/** Seconds in a unit that suits them. */
export function seconds(n: number): string {
  if (n === 0) return "0";
  if (n < 1e-3) return `${(n * 1e6).toFixed(1)} µs`;
  return n < 1 ? `${(n * 1e3).toFixed(2)} ms` : `${n.toFixed(2)} s`;
}

/** A cell of a table as text. */
export function cellText(cell: Cell, unit: Column["unit"]): string {
  if (typeof cell === "string") return cell;
  if (unit === "address") return address(cell);
  if (unit === "bytes") return size(cell);
  return unit === "seconds" ? seconds(cell) : count(cell);
}
