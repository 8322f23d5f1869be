import { type HierarchyRectangularNode, hierarchy, partition } from "d3-hierarchy";
import type { Snapshot, TreeSection } from "../../report/story.js";
import { bitsOf, readingOf } from "./bits.js";
import { type Branch, Branches } from "./branches.js";
import { choices, el, folded, onRepaint } from "./dom.js";
import { address, count, size } from "./numbers.js";
import { tableOf } from "./table.js";

/** Levels that are drawn at once, and the height of one. */
const DEPTH = 4;
const ROW = 40;
/** Narrower boxes are drawn together. */
const LEAST_PIXELS = 3;
const LABEL_PIXELS = 46;

type Box = HierarchyRectangularNode<Branch>;

/** A table as boxes: as wide as the memory that an entry covers, a level below the other. */
export class TreePicture {
  readonly root: HTMLElement;
  readonly #format: TreeSection["format"];
  readonly #picture = el("div", { class: "icicle", role: "group" });
  readonly #path = el("nav", { class: "path", "aria-label": "Way to this table" });
  readonly #detail = el("div", { class: "detail", "aria-live": "polite" });
  #branches: Branches;
  /** The tables from the start tables to the one that fills the width. */
  #way: Branch[];
  #boxes: HTMLButtonElement[][] = [];
  #painted = false;
  #pressed: Branch | undefined;
  /** Who wants to know of a range that was dragged over: input addresses [from, to). */
  onDrag: ((from: number, to: number) => void) | undefined;

  constructor(format: TreeSection["format"], snapshot: Snapshot) {
    this.#format = format;
    this.#branches = new Branches(format, snapshot);
    this.#way = [this.#branches.root()];
    this.root = el("div", {}, this.#path, this.#picture, this.#detail);
    this.#picture.addEventListener("keydown", (event) => this.#key(event));
    onRepaint(() => this.#paint());
  }

  /** Shows another moment of the same table. */
  show(snapshot: Snapshot): void {
    this.#branches = new Branches(this.#format, snapshot);
    this.#detail.replaceChildren();
    if (this.#painted) this.#paint();
  }

  #paint(): void {
    this.#painted = true;
    const width = Math.max(280, this.root.clientWidth);
    const focus = this.#way.at(-1) as Branch;
    const grown = this.#branches.grow({ ...focus, share: 1 }, DEPTH, LEAST_PIXELS / width);
    const tree = hierarchy(grown, (branch) => branch.children).sum((branch) => (branch.children ? 0 : branch.share));
    const laid = partition<Branch>().size([width, (tree.height + 1) * ROW])(tree);
    this.#picture.style.height = `${(tree.height + 1) * ROW}px`;
    const levels: HTMLButtonElement[][] = [];
    for (const box of laid.descendants()) {
      let row = levels[box.depth];
      if (row === undefined) {
        row = [];
        levels[box.depth] = row;
      }
      row.push(this.#box(box));
    }
    this.#boxes = levels;
    this.#picture.replaceChildren(...levels.flat());
    const first = levels[0]?.[0];
    if (first) first.tabIndex = 0;
    this.#paintPath();
  }

  #box({ data, x0, x1, y0, depth }: Box): HTMLButtonElement {
    const name = this.#name(data, depth === 0);
    const box = el(
      "button",
      { type: "button", class: `box ${data.kind} level${data.level}`, tabindex: -1, title: name, "aria-label": name },
      x1 - x0 > LABEL_PIXELS ? this.#label(data, depth === 0) : "",
    );
    box.style.left = `${x0}px`;
    box.style.top = `${y0}px`;
    box.style.width = `${Math.max(1, x1 - x0 - 0.5)}px`;
    box.style.height = `${ROW - 2}px`;
    box.addEventListener("click", () => this.#open(data, depth));
    box.addEventListener("pointerdown", () => {
      this.#pressed = data;
    });
    box.addEventListener("pointerup", () => this.#drag(data));
    return box;
  }

  /** The pointer was pressed on one box and let go on another. */
  #drag(to: Branch): void {
    const from = this.#pressed;
    this.#pressed = undefined;
    if (from === undefined || from.from === to.from) return;
    this.onDrag?.(Math.min(from.from, to.from), Math.max(from.to, to.to));
  }

  #label({ kind, from, to, level, run }: Branch, isFocus: boolean): string {
    const n = (to - from) / this.#branches.size(level);
    if (kind === "leaves")
      return `${n > 1 ? `${count(n)} × ` : ""}${size(this.#branches.size(level))} ${this.#rights(run)}`;
    if (kind !== "table") return kind === "hole" ? "" : "…";
    return isFocus && this.#way.length === 1 ? `start, level ${level + 1}` : `level ${level + 1} at ${address(from)}`;
  }

  #rights(run: Branch["run"]): string {
    if (run === undefined) return "";
    const reading = readingOf(this.#branches.descriptor(run, 0), run.level, this.#format);
    return /: ([r-][w-][a-z-]+)/.exec(reading?.brief ?? "")?.[1] ?? "";
  }

  /** What a box says to who cannot see it, and to the mouse. */
  #name(branch: Branch, isFocus: boolean): string {
    const { kind, from, to, level } = branch;
    const where = `${address(from)} to ${address(to - 1)}, ${size(to - from)}`;
    if (kind === "hole") return `nothing mapped: ${where}`;
    if (kind === "many") return `… many entries of level ${level}, too narrow to draw: ${where}`;
    return `${this.#label(branch, isFocus)}: ${where}`;
  }

  #open(branch: Branch, depth: number): void {
    if (branch.kind === "leaves") {
      this.#describe(branch);
      return;
    }
    if (depth === 0) {
      if (this.#way.length > 1) this.#way.pop();
    } else this.#way = this.#wayTo(branch);
    this.#detail.replaceChildren();
    this.#paint();
    this.#boxes[0]?.[0]?.focus();
  }

  /** The tables from the start tables to the one below an entry, or to the one that has it if it is no table. */
  #wayTo({ kind, from, to, level }: Branch): Branch[] {
    const way = [this.#branches.root()];
    const last = kind === "table" ? level : level - 1;
    for (let at = this.#format.startLevel; at <= last; at++) {
      const size = this.#branches.size(at),
        first = Math.floor(from / size) * size;
      way.push({
        kind: "table",
        from: first,
        to: Math.max(to, first + size) > first + size ? to : first + size,
        level: at,
        share: 1,
      });
    }
    return way;
  }

  #describe({ run, from, to, level }: Branch): void {
    if (run === undefined) return;
    const each = this.#branches.size(level),
      n = (to - from) / each;
    const place = el("div");
    const show = (i: number) => {
      const at = Math.min(n - 1, Math.max(0, Math.floor(i) || 0));
      place.replaceChildren(
        el("p", {}, `${address(from + at * each)} → ${address(run.pa + at * each)}, level ${level}, ${size(each)}`),
        bitsOf(this.#branches.descriptor(run, at), level, this.#format),
      );
    };
    const pick = el("input", { type: "number", min: 0, max: n - 1, value: 0, oninput: () => show(pick.valueAsNumber) });
    const head = el(
      "p",
      {},
      `${count(n)} ${n === 1 ? "leaf" : "leaves"} in a row: ${address(from)} to ${address(to - 1)}. `,
    );
    if (n > 1) head.append(el("label", {}, `Which one, 0 to ${count(n - 1)}: `, pick));
    show(0);
    this.#detail.replaceChildren(head, place);
  }

  #paintPath(): void {
    const steps = this.#way.map((branch, i) =>
      el(
        "button",
        {
          type: "button",
          disabled: i === this.#way.length - 1,
          onclick: () => {
            this.#way = this.#way.slice(0, i + 1);
            this.#paint();
          },
        },
        i === 0 ? `start tables, level ${branch.level + 1}` : `level ${branch.level + 1} at ${address(branch.from)}`,
      ),
    );
    this.#path.replaceChildren(...steps);
  }

  /** Arrow keys go from box to box; Escape goes up one table. */
  #key(event: KeyboardEvent): void {
    const row = this.#boxes.findIndex((boxes) => boxes.includes(event.target as HTMLButtonElement));
    if (row < 0) return;
    const here = event.target as HTMLButtonElement;
    if (event.key === "Escape" && this.#way.length > 1) {
      this.#way.pop();
      this.#paint();
      this.#boxes[0]?.[0]?.focus();
      return;
    }
    const next = this.#neighbour(event.key, row, here);
    if (next === undefined) return;
    event.preventDefault();
    here.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  #neighbour(key: string, row: number, here: HTMLButtonElement): HTMLButtonElement | undefined {
    const boxes = this.#boxes[row] ?? [],
      i = boxes.indexOf(here);
    if (key === "ArrowRight") return boxes[i + 1];
    if (key === "ArrowLeft") return boxes[i - 1];
    const other = key === "ArrowDown" ? this.#boxes[row + 1] : key === "ArrowUp" ? this.#boxes[row - 1] : undefined;
    const middle = here.offsetLeft + here.offsetWidth / 2;
    const distance = (box: HTMLButtonElement) => Math.abs(box.offsetLeft + box.offsetWidth / 2 - middle);
    return other?.reduce((best, box) => (distance(box) < distance(best) ? box : best));
  }
}

function mappings({ snapshots, title, format }: TreeSection): HTMLElement {
  const rows = snapshots.map((snapshot) => {
    const branches = new Branches(format, snapshot);
    const leaves = [...branches.leaves()].sort(([a], [b]) => a - b);
    const text = leaves.map(([level, n]) => `${count(n)} of ${size(branches.size(level))}`).join(", ");
    const mapped = leaves.reduce((sum, [level, n]) => sum + n * branches.size(level), 0);
    return [snapshot.label, text, mapped, snapshot.pages];
  });
  const columns = [
    { name: "moment" },
    { name: "leaves" },
    { name: "mapped", unit: "bytes" as const },
    { name: "table pages" },
  ];
  return tableOf({ kind: "table", title, columns, rows });
}

/** The picture, the moments to choose from, and what a chosen entry says. */
export function treeOf(section: TreeSection): HTMLElement {
  const { format, snapshots } = section;
  const last = snapshots.length - 1;
  const picture = new TreePicture(format, snapshots[last] as Snapshot);
  const labels = snapshots.map(({ label }) => label);
  const moments = choices("Moment", labels, last, (i) => picture.show(snapshots[i] as Snapshot));
  return el(
    "div",
    {},
    moments,
    picture.root,
    folded("The mappings", () => mappings(section)),
  );
}
