// A table as a tree of boxes, made from the runs of a snapshot: what lies under an entry is worked out when it is looked at.

import * as K from "../../core/constants.generated.js";
import { encodeAddress } from "../../core/descriptor.js";
import { entries, shift } from "../../core/granule.js";
import { granuleShift } from "../../model/granule.js";
import type { Snapshot, TreeSection } from "../../report/story.js";

/** Leaves side by side, in plain numbers: addresses in bytes. */
interface Run {
  readonly start: number;
  readonly end: number;
  readonly level: number;
  readonly pa: number;
  readonly attributes: bigint;
}

/** What a box stands for. */
export interface Branch {
  /** `table`: an entry with a table below, or a whole start table. `many`: boxes too narrow to be drawn one by one. */
  readonly kind: "table" | "leaves" | "hole" | "many";
  /** Input addresses [from, to). */
  readonly from: number;
  readonly to: number;
  /** Level of the entry or entries; of a start table, the level above. */
  readonly level: number;
  /** Share of the whole picture's width. */
  readonly share: number;
  readonly run?: Run;
  children?: Branch[];
}

/** A hole is drawn at most so wide, against all that is mapped beside it. */
const HOLE_SHARE = 0.06;

/** The mappings of one snapshot. */
export class Branches {
  readonly format: TreeSection["format"];
  readonly ps: number;
  readonly #runs: Run[] = [];

  constructor(format: TreeSection["format"], snapshot: Snapshot) {
    this.format = format;
    this.ps = granuleShift(format.granule);
    const { runs, attributes } = snapshot;
    let end = 0;
    for (let i = 0; i < runs.length; i += 5) {
      const [gap = 0, n = 0, level = 0, page = 0, kind = 0] = runs.slice(i, i + 5);
      const start = end + gap * format.granule;
      end = start + n * this.size(level);
      this.#runs.push({ start, end, level, pa: page * format.granule, attributes: BigInt(attributes[kind] ?? "0") });
    }
  }

  /** Bytes that an entry of `level` covers. */
  size(level: number): number {
    return 2 ** shift(this.ps, level);
  }

  /** Leaves of the whole table, by level. */
  leaves(): Map<number, number> {
    const all = new Map<number, number>();
    for (const { level, start, end } of this.#runs)
      all.set(level, (all.get(level) ?? 0) + (end - start) / this.size(level));
    return all;
  }

  /** The start tables as one box. */
  root(): Branch {
    const { startLevel, inputBits } = this.format;
    return { kind: "table", from: 0, to: 2 ** inputBits, level: startLevel - 1, share: 1 };
  }

  /** The descriptor of a leaf, counted from the first of its run. */
  descriptor(run: Run, index: number): bigint {
    const type = run.level === K.LAST_LEVEL ? K.VALID | K.TYPE : K.VALID;
    const pa = BigInt(run.pa) + BigInt(index) * BigInt(this.size(run.level));
    return run.attributes | type | encodeAddress(this.ps, this.format.lpa2, pa);
  }

  /** Entries in a table below `branch`; start tables side by side count as one. */
  entriesIn(branch: Branch): number {
    return branch.level < this.format.startLevel
      ? (branch.to - branch.from) / this.size(branch.level + 1)
      : entries(this.ps);
  }

  /** Grows the tree below `branch`, as far as `depth` levels and as boxes are at least `least` of the whole wide. */
  grow(branch: Branch, depth: number, least: number): Branch {
    if (branch.kind !== "table" || depth === 0) return branch;
    const parts = this.#parts(branch);
    const shares = sharesOf(parts).map((share) => share * branch.share);
    const children = parts.map((part, i) => ({ ...part, share: shares[i] ?? 0 }));
    branch.children = gathered(children, least).map((child) =>
      child.share >= 2 * least ? this.grow(child, depth - 1, least) : child,
    );
    return branch;
  }

  /** Entries of the table below `branch`: leaves as runs, tables one by one, holes. */
  #parts({ from, to, level: above }: Branch): Branch[] {
    const level = above + 1,
      size = this.size(level);
    const parts: Branch[] = [];
    let at = from;
    const hole = (end: number) => at < end && parts.push({ kind: "hole", from: at, to: end, level, share: 0 });
    for (let i = this.#firstAfter(from); i < this.#runs.length; i++) {
      const run = this.#runs[i] as Run;
      if (run.start >= to) break;
      const start = Math.max(run.start, from),
        end = Math.min(run.end, to);
      if (end <= at) continue;
      if (run.level === level) {
        hole(start);
        const pa = run.pa + (start - run.start);
        parts.push({ kind: "leaves", from: start, to: end, level, share: 0, run: { ...run, start, end, pa } });
        at = end;
      } else
        for (let entry = from + Math.floor((Math.max(start, at) - from) / size) * size; entry < end; entry += size) {
          hole(entry);
          parts.push({ kind: "table", from: entry, to: entry + size, level, share: 0 });
          at = entry + size;
        }
    }
    hole(to);
    return parts;
  }

  /** Index of the first run that ends after an address. */
  #firstAfter(address: number): number {
    let low = 0,
      high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#runs[middle] as Run).end > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Shares of neighbours: as much memory as they cover, but holes are narrow. */
function sharesOf(parts: readonly Branch[]): number[] {
  const mapped = parts.reduce((sum, p) => sum + (p.kind === "hole" ? 0 : p.to - p.from), 0);
  const widths = parts.map((p) =>
    p.kind === "hole" && mapped > 0 ? Math.min(p.to - p.from, mapped * HOLE_SHARE) : p.to - p.from,
  );
  const all = widths.reduce((sum, w) => sum + w, 0);
  return widths.map((w) => w / all);
}

/** Neighbours that are too narrow to be seen as one box. */
function gathered(parts: readonly Branch[], least: number): Branch[] {
  const boxes: Branch[] = [];
  for (const part of parts) {
    const last = boxes.at(-1);
    const isThin = part.share < least;
    if (isThin && last && (last.kind === "many" || last.share < least) && last.share < 4 * least)
      boxes[boxes.length - 1] = {
        kind: "many",
        from: last.from,
        to: part.to,
        level: part.level,
        share: last.share + part.share,
      };
    else boxes.push(part);
  }
  return boxes;
}
