// Reads table memory itself, word by word, and compares it with the model: descriptors, reference counts of
// every table page [WLK-17], and that nothing is there which the model does not know.

import type { Table } from "../../bindings/index.js";
import { outputAddress, type Shape } from "./format.js";

/** What the model must say of itself. */
export interface Expected {
  readonly shape: Shape;
  readonly start: number;
  readonly rootCounts: readonly number[];
  readonly tablePages: number;
  words(level: number, index: number): [number, number] | undefined;
  tablesAt(level: number): ReadonlyMap<number, number>;
}

function text(level: number, index: number, lo: number, hi: number): string {
  return `entry ${index} of level ${level}: 0x${(hi * 2 ** 32 + lo).toString(16)}`;
}

class Reader {
  readonly #table: Table;
  readonly #model: Expected;
  readonly #u32: Uint32Array;
  readonly #base: number;
  tables = 0;

  constructor(table: Table, model: Expected) {
    this.#table = table;
    this.#model = model;
    this.#u32 = table.engine.u32;
    this.#base = Number(table.engine.physBase);
  }

  references(pointer: number): number {
    return this.#table.engine.core.pageReferences(pointer);
  }

  /** Compares one table page; `first` is the index of its first entry among all of its level. */
  page(pointer: number, level: number, first: number, count: number): void {
    if (this.references(pointer) !== count + 1) {
      throw new Error(
        `table of level ${level} at entry ${first}: ${this.references(pointer)} references, not ${count + 1}`,
      );
    }
    const entries = 2 ** (this.#model.shape.ps - 3);
    let seen = 0;
    for (let i = 0, word = pointer / 4; i < entries; i++, word += 2) {
      const lo = this.#u32[word] as number,
        hi = this.#u32[word + 1] as number;
      if ((lo | hi) === 0) continue;
      seen++;
      this.#entry(level, first + i, lo, hi);
    }
    if (seen !== count)
      throw new Error(`table of level ${level} at entry ${first}: ${seen} entries, the model has ${count}`);
  }

  #entry(level: number, index: number, lo: number, hi: number): void {
    if ((lo & 3) === 3 && level < 3) {
      this.#child(level, index, lo, hi);
      return;
    }
    const words = this.#model.words(level, index);
    if (words?.[0] === lo && words[1] === hi) return;
    throw new Error(`${text(level, index, lo, hi)}, the model has ${words ? text(level, index, ...words) : "nothing"}`);
  }

  #child(level: number, index: number, lo: number, hi: number): void {
    const count = this.#model.tablesAt(level).get(index);
    if (count === undefined) throw new Error(`${text(level, index, lo, hi)} is a table, the model has none`);
    this.tables++;
    const entries = 2 ** (this.#model.shape.ps - 3);
    const pointer = outputAddress(this.#model.shape, lo, hi) - this.#base + this.#table.engine.arenaPointer;
    this.page(pointer, level + 1, index * entries, count);
  }
}

/** Throws where the table in memory is not what the model says. */
export function checkImage(table: Table, model: Expected): void {
  const info = table.info();
  const reader = new Reader(table, model);
  const entries = info.granule / 8;
  const root = Number(info.rootPa - table.engine.physBase) + table.engine.arenaPointer;
  for (let i = 0; i < info.rootPages; i++) {
    reader.page(root + i * info.granule, model.start, i * entries, model.rootCounts[i] as number);
  }
  if (reader.tables !== model.tablePages) throw new Error(`${reader.tables} tables, the model has ${model.tablePages}`);
  if (info.pages !== info.rootPages + reader.tables) throw new Error(`info counts ${info.pages} pages`);
}
