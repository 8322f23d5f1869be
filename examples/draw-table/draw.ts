// Draws a stage-2 table: each table page as a grid of its 512 entries, one level below the other.

import { createEngine, type Entry, hex, Prot, type Stage2Table } from "granule";

const COLUMNS = 32;
const CELL = 7;
const GAP = 28;
const TITLE = 18;
const WIDTH = COLUMNS * CELL;

/** One table page: where it begins, and its entries by number. */
interface Page {
  readonly address: bigint;
  readonly level: number;
  readonly cells: readonly { readonly at: number; readonly entry: Entry }[];
}

function svg(name: string, attributes: Readonly<Record<string, string | number>>, text?: string): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

/** The table's pages, level by level, each with the entries that are in use. */
function pagesOf(table: Stage2Table): Page[] {
  const entriesOfPage = BigInt(table.info().granule / 8);
  const pages = new Map<string, { address: bigint; level: number; cells: { at: number; entry: Entry }[] }>();
  for (const entry of table.entries({ tables: true })) {
    const at = Number((entry.address >> BigInt(entry.shift)) % entriesOfPage);
    const address = entry.address - (BigInt(at) << BigInt(entry.shift));
    const key = `${entry.level} ${address}`;
    const page = pages.get(key) ?? { address, level: entry.level, cells: [] };
    pages.set(key, page);
    page.cells.push({ at, entry });
  }
  return [...pages.values()].sort((a, b) => a.level - b.level || Number(a.address - b.address));
}

/** What an entry is, as a class of the style sheet. */
function look({ kind, prot }: Entry): string {
  if (kind === "table") return "table";
  if (kind !== "block" && kind !== "page") return "other";
  if (prot & Prot.DEVICE) return "device";
  return prot & Prot.W ? "writable" : "readonly";
}

function label({ address, kind, pa, prot }: Entry): string {
  const rights = [prot & Prot.R ? "r" : "", prot & Prot.W ? "w" : "", prot & Prot.X ? "x" : ""].join("");
  return kind === "table" ? `${hex(address)}: table` : `${hex(address)} to ${hex(pa)}, ${kind}, ${rights}`;
}

function drawPage({ address, level, cells }: Page, x: number, y: number, rows: number): SVGElement {
  const group = svg("g", { transform: `translate(${x} ${y})` });
  group.append(
    svg("text", { x: 0, y: TITLE - 6 }, `level ${level}, ${hex(address)}`),
    svg("rect", { class: "page", x: 0, y: TITLE, width: WIDTH, height: rows * CELL }),
  );
  for (const { at, entry } of cells) {
    const cell = svg("rect", {
      class: look(entry),
      x: (at % COLUMNS) * CELL + 0.5,
      y: TITLE + Math.floor(at / COLUMNS) * CELL + 0.5,
      width: CELL - 1,
      height: CELL - 1,
    });
    cell.append(svg("title", {}, label(entry)));
    group.append(cell);
  }
  return group;
}

/** Draws `table` into `root`; returns how many entries it drew. */
export function draw(table: Stage2Table, root: SVGSVGElement): number {
  const pages = pagesOf(table);
  const rows = table.info().granule / 8 / COLUMNS;
  const height = TITLE + rows * CELL + GAP;
  const levels = [...new Set(pages.map(({ level }) => level))];
  let widest = 0;
  for (const [row, level] of levels.entries()) {
    const side = pages.filter((page) => page.level === level);
    widest = Math.max(widest, side.length);
    root.append(...side.map((page, i) => drawPage(page, i * (WIDTH + GAP), row * height, rows)));
  }
  root.setAttribute("viewBox", `0 0 ${widest * (WIDTH + GAP) - GAP} ${levels.length * height - GAP}`);
  return pages.reduce((sum, { cells }) => sum + cells.length, 0);
}

const engine = createEngine();
const table = engine.createStage2({ ipaBits: 39 });
table.map(0x4000_0000, 128 << 20, 0x8000_0000, "rwx"); // RAM, as 2 MiB blocks
table.unmap(0x4300_0000, 6 << 20); // a balloon took some back
table.split(0x4040_0000, 2 << 20); // dirty logging split one block
table.wrprotect(0x4040_0000, 1 << 20);
table.map(0x0900_0000, 0x1000, 0x0900_0000, "rwd"); // a device
const drawn = draw(table, document.querySelector("svg") as SVGSVGElement);
(document.querySelector("output") as HTMLOutputElement).value = `${drawn} entries in ${table.info().pages} table pages`;
engine.close();
