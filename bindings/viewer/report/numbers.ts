// Numbers as people read them. The page runs in a browser, so nothing here is of Node.

import { bytes as size } from "../../report/numbers.js";
import type { Cell, Column } from "../../report/story.js";

export { size };

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
