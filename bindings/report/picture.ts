import { hex } from "../model/address.js";
import { levelShift } from "../model/granule.js";
import type { Table } from "../tables/table.js";
import { bytes, plural } from "./numbers.js";

const CELLS = 64;
/** How many tables are drawn below one table; the others are only counted. */
const MAX_DRAWN = 4;

/** One table page, or the start tables together, and the kinds of its entries. */
interface Page {
  readonly address: number;
  readonly level: number;
  readonly leaves: Set<number>;
  readonly below: Map<number, Page>;
}

function page(address: number, level: number): Page {
  return { address, level, leaves: new Set(), below: new Map() };
}

/** Rows of cells, `#` a leaf, `T` a table below, `.` nothing; rows without anything are left out. */
function cells(p: Page, entryBytes: number): string[] {
  const used = new Set([...p.leaves, ...p.below.keys()].map((index) => Math.floor(index / CELLS)));
  return [...used]
    .sort((a, b) => a - b)
    .map((row) => {
      let text = "";
      for (let i = row * CELLS; i < (row + 1) * CELLS; i++) text += p.leaves.has(i) ? "#" : p.below.has(i) ? "T" : ".";
      return `${hex(p.address + row * CELLS * entryBytes).padStart(12)} ${text}`;
    });
}

/**
 * A picture of a table, level by level, in plain characters: `#` is a leaf, `T` a table below, `.` nothing.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { picture } from "granule/report";
 * using engine = createEngine();
 * const table = engine.createStage2();
 * table.map(0x4000_0000, 4 << 20, 0x8000_0000, "rw");
 * console.log(picture(table).length); // 3
 * ```
 */
export function picture(table: Table): string[] {
  const { granule } = table;
  const sizeOf = (level: number) => 2 ** levelShift(granule, level);
  const info = table.info();
  const root = page(0, info.startLevel);
  const path: Page[] = [root];
  for (const entry of table.entries({ tables: true })) {
    while ((path.at(-1) as Page).level > entry.level) path.pop();
    const parent = path.at(-1) as Page;
    const index = Math.floor((Number(entry.address) - parent.address) / sizeOf(parent.level));
    if (entry.kind === "table") {
      const child = page(Number(entry.address), entry.level + 1);
      parent.below.set(index, child);
      path.push(child);
    } else if (entry.descriptor & 1n) parent.leaves.add(index);
  }
  const lines: string[] = [];
  draw(
    root,
    "",
    info.rootPages > 1 ? `${info.rootPages} start tables, side by side` : "the start table",
    lines,
    sizeOf,
  );
  return lines;
}

function draw(p: Page, indent: string, name: string, lines: string[], sizeOf: (level: number) => number): void {
  const inside = [
    ...(p.below.size > 0 ? [`${plural(p.below.size, "table")} below`] : []),
    ...(p.leaves.size > 0 ? [`${plural(p.leaves.size, p.level === 3 ? "page" : "block")} mapped`] : []),
  ];
  lines.push(`${indent}level ${p.level}: ${name}, ${bytes(sizeOf(p.level))} an entry: ${inside.join(", ") || "empty"}`);
  if (p.below.size === 0 || p.leaves.size > 0)
    for (const row of cells(p, sizeOf(p.level))) lines.push(`${indent}  ${row}`);
  const children = [...p.below.values()];
  for (const child of children.slice(0, MAX_DRAWN))
    draw(child, `${indent}  `, `table of ${hex(child.address)}`, lines, sizeOf);
  const rest = children.length - MAX_DRAWN;
  if (rest > 0) lines.push(`${indent}  ... and ${plural(rest, "more table")} of level ${p.level + 1}`);
}
