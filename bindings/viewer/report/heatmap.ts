import type { HeatmapSection } from "../../report/story.js";
import { choices, colour, el, folded, onRepaint } from "./dom.js";
import { address, count, seconds, size } from "./numbers.js";
import { tableOf } from "./table.js";

const LISTED = 100;
const MIN_HEIGHT = 160;
const MAX_HEIGHT = 560;
const MARGIN = 96;
const LABEL_EVERY = 14;

/** Address space over time as a picture that the mouse and the arrow keys ask about. */
class Heatmap {
  readonly #section: HeatmapSection;
  readonly #canvas: HTMLCanvasElement;
  readonly #says: HTMLElement;
  readonly root: HTMLElement;
  #counts = new Map<number, number>();
  #most = 1;
  #layer = 0;
  #row = 0;
  #column = 0;
  #painted = false;

  constructor(section: HeatmapSection) {
    this.#section = section;
    const { title } = section;
    this.#says = el("output", { class: "says" }, "Point at a cell, or move with the arrow keys.");
    this.#canvas = el("canvas", {
      tabindex: 0,
      role: "img",
      "aria-label": `${title}; arrow keys move from cell to cell; the table below has the numbers`,
      onmousemove: (event) => this.#point(event as MouseEvent),
      onkeydown: (event) => this.#move(event as KeyboardEvent),
    });
    const names = section.layers.map(({ name }) => name);
    this.root = el(
      "div",
      {},
      choices("Show", names, 0, (i) => this.#choose(i)),
      this.#canvas,
      this.#says,
      folded("The fullest cells", () => this.#table()),
    );
    onRepaint(() => this.#paint());
  }

  #choose(layer: number): void {
    this.#layer = layer;
    const cells = this.#section.layers[layer]?.cells ?? [];
    this.#counts = new Map();
    this.#most = 1;
    for (let i = 0; i < cells.length; i += 3) {
      const n = cells[i + 2] ?? 0;
      this.#counts.set((cells[i] ?? 0) * this.#section.time.count + (cells[i + 1] ?? 0), n);
      this.#most = Math.max(this.#most, n);
    }
    if (this.#painted) this.#paint();
  }

  #paint(): void {
    this.#painted = true;
    const { rows, time } = this.#section;
    const width = Math.max(280, this.root.clientWidth),
      height = Math.min(MAX_HEIGHT, Math.max(MIN_HEIGHT, rows.length * 4));
    const scale = window.devicePixelRatio || 1;
    this.#canvas.width = width * scale;
    this.#canvas.height = height * scale;
    this.#canvas.style.width = `${width}px`;
    this.#canvas.style.height = `${height}px`;
    const g = this.#canvas.getContext("2d");
    if (g === null) return;
    g.scale(scale, scale);
    g.fillStyle = colour("paper");
    g.fillRect(0, 0, width, height);
    const w = (width - MARGIN) / time.count,
      h = height / rows.length;
    g.fillStyle = colour("heat");
    for (const [key, n] of this.#counts) {
      const row = Math.floor(key / time.count),
        column = key % time.count;
      g.globalAlpha = 0.25 + 0.75 * (Math.log1p(n) / Math.log1p(this.#most));
      g.fillRect(MARGIN + column * w, height - (row + 1) * h, Math.max(1, w), Math.max(1, h));
    }
    g.globalAlpha = 1;
    this.#labels(g, height, h);
    if (document.activeElement === this.#canvas) {
      g.strokeStyle = colour("ink");
      g.strokeRect(MARGIN + this.#column * w, height - (this.#row + 1) * h, Math.max(3, w), Math.max(3, h));
    }
  }

  #labels(g: CanvasRenderingContext2D, height: number, h: number): void {
    const { rows, rowBytes } = this.#section;
    g.fillStyle = colour("ink");
    g.font = "11px ui-monospace, monospace";
    g.textAlign = "right";
    g.textBaseline = "bottom";
    let last = Number.POSITIVE_INFINITY;
    rows.forEach((at, i) => {
      const y = height - i * h;
      const isJump = i === 0 || at - (rows[i - 1] ?? 0) > rowBytes;
      if (y < LABEL_EVERY || last - y < LABEL_EVERY || (!isJump && last - y < 4 * LABEL_EVERY)) return;
      g.fillText(address(at), MARGIN - 6, y);
      if (isJump && i > 0) g.fillRect(MARGIN - 4, y, 4, 1);
      last = y;
    });
  }

  #point(event: MouseEvent): void {
    const { rows, time } = this.#section;
    const box = this.#canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left - MARGIN) / (box.width - MARGIN)) * time.count);
    const row = rows.length - 1 - Math.floor(((event.clientY - box.top) / box.height) * rows.length);
    this.#say(row, column);
  }

  #move(event: KeyboardEvent): void {
    const steps: Record<string, [number, number]> = {
      ArrowUp: [1, 0],
      ArrowDown: [-1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
    };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.#say(this.#row + step[0], this.#column + step[1]);
    this.#paint();
  }

  #say(row: number, column: number): void {
    const { rows, rowBytes, time, layers } = this.#section;
    if (rows[row] === undefined || column < 0 || column >= time.count) return;
    this.#row = row;
    this.#column = column;
    const at = rows[row] as number;
    const n = this.#counts.get(row * time.count + column) ?? 0;
    const from = column * time.step;
    this.#says.textContent =
      `${address(at)} to ${address(at + rowBytes - 1)} (${size(rowBytes)}), ${seconds(from)} to ${seconds(from + time.step)}: ` +
      `${count(n)} × ${layers[this.#layer]?.name ?? ""}`;
  }

  #table(): HTMLElement {
    const { rows, time, title, layers } = this.#section;
    const all = layers.flatMap(({ name, cells }) =>
      Array.from({ length: cells.length / 3 }, (_, i): [string, number, number, number] => [
        name,
        rows[cells[3 * i] ?? 0] ?? 0,
        (cells[3 * i + 1] ?? 0) * time.step,
        cells[3 * i + 2] ?? 0,
      ]),
    );
    return tableOf({
      kind: "table",
      title,
      columns: [
        { name: "what" },
        { name: "address", unit: "address" },
        { name: "from second", unit: "seconds" },
        { name: "times" },
      ],
      rows: all.sort(([, , , a], [, , , b]) => b - a).slice(0, LISTED),
    });
  }
}

/** The picture with its choices and its table. */
export function heatmapOf(section: HeatmapSection): HTMLElement {
  return new Heatmap(section).root;
}
