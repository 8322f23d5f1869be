// What lies at an address of an engine, in words: for replays.

import * as K from "../core/constants.generated.js";
import { GrowthView, LimboView, PoolView, TableView, WalkerView } from "../core/memory-inside-views.generated.js";
import { HeaderView } from "../core/memory-views.generated.js";
import { type View, Words } from "../core/view.js";

/** The class of a record. */
export type ViewClass = { new (words: Words, pointer: number): View; readonly BYTES: number };

/** The world that is looked at. */
interface Looked {
  readonly room: { readonly buffer: ArrayBufferLike };
  word32(p: number): number;
  word64(p: number): bigint;
  pageOf(descriptor: bigint): number;
  tableInfo(): { readonly root: number; readonly startLevel: number } | undefined;
  quietly<T>(work: () => T): T;
}

const WALKER_AT = K.COUNTERS * 8 + K.RESULT_BLOCK_BYTES;
const SLOT_AT = K.WALKER_BYTES - K.LINE;
const ENTRIES = 512;
const LAST_LEVEL = 3;
const hex = (n: number) => `0x${n.toString(16)}`;

/** The fields of a record by their byte: read from a memory in which every word holds its own number. */
function fieldsOf(view: ViewClass): ReadonlyMap<number, string> {
  const words = new Words(new ArrayBuffer(K.LINE * 8)),
    fields = new Map<number, string>();
  words.u32.forEach((_, i) => {
    words.u32[i] = i + 1;
  });
  const record = new view(words, 0) as unknown as Record<string, number | bigint>;
  for (const [name, { get }] of Object.entries(Object.getOwnPropertyDescriptors(view.prototype))) {
    if (get === undefined || name === "at") continue;
    const word = Number(BigInt.asUintN(32, BigInt(record[name] as number)));
    if (word > 0) fields.set((word - 1) * 4, name);
  }
  return fields;
}

/** Where the fields of a record begin, in bytes, by their name. */
export function offsetsOf(view: ViewClass): ReadonlyMap<string, number> {
  return new Map([...fieldsOf(view)].map(([at, name]) => [name, at]));
}

/** Names for the addresses of one world; tables keep the name that they had when they were last reachable. */
export class Names {
  readonly #world: Looked;
  readonly #header: HeaderView;
  readonly #pages = new Map<number, readonly [level: number, from: number]>();
  readonly #lines: readonly [at: number, what: string, fields: ReadonlyMap<number, string>][];
  readonly #table = fieldsOf(TableView);
  readonly #growth = fieldsOf(GrowthView);
  readonly #walker = fieldsOf(WalkerView);

  constructor(world: Looked) {
    const base = K.HEADER_BYTES;
    this.#world = world;
    this.#header = new HeaderView(new Words(world.room.buffer), base);
    this.#lines = [
      [base + K.LINE, "free lists", fieldsOf(PoolView)],
      [base + 2 * K.LINE, "epoch", new Map([[0, ""]])],
      [base + 3 * K.LINE, "limbo", fieldsOf(LimboView)],
      [
        base + 4 * K.LINE,
        "journals",
        new Map([
          [0, "order"],
          [8, "lock"],
          [64, "nobody (a nap)"],
        ]),
      ],
    ];
  }

  /** The tables that can be reached now get their names. */
  look(): void {
    const info = this.#world.quietly(() => this.#world.tableInfo());
    if (info !== undefined && info.root !== 0) this.#visit(info.root, info.startLevel, 0);
  }

  #visit(page: number, level: number, from: number): void {
    this.#pages.set(page, [level, from]);
    if (level >= LAST_LEVEL) return;
    for (let i = 0; i < ENTRIES; i++) {
      const old = this.#world.word64(page + i * 8);
      if ((old & 3n) === 3n) this.#visit(this.#world.pageOf(old), level + 1, from + i * this.#span(level));
    }
  }

  #span(level: number): number {
    return 4096 * ENTRIES ** (LAST_LEVEL - level);
  }

  of(address: number): string {
    const { tables, maxTables, walkers, maxWalkers, frames, counts, arena, units } = this.#header;
    if (address >= arena) return this.#ofArena(address);
    if (address >= counts) return this.#ofCount(address - counts, units);
    if (address >= frames) return `frame of page ${Math.floor((address - frames) / K.FRAME_BYTES)}`;
    if (address >= walkers && address < walkers + maxWalkers * K.WALKER_BYTES) return this.#ofWalker(address - walkers);
    if (address >= tables && address < tables + maxTables * K.TABLE_BYTES) return this.#ofTable(address - tables);
    for (const [at, what, fields] of this.#lines) {
      const field = fields.get(address - at);
      if (field !== undefined) return field === "" ? what : `${field} of ${what}`;
    }
    return hex(address);
  }

  #ofArena(address: number): string {
    const page = address & ~4095,
      known = this.#pages.get(page);
    if (known === undefined) return `page ${(page - this.#header.arena) >> 12}+${hex(address & 4095)}`;
    const [level, from] = known;
    return `slot of ${hex(from + ((address & 4095) >> 3) * this.#span(level))} (level ${level})`;
  }

  #ofCount(offset: number, units: number): string {
    const word = offset / K.COUNT_BYTES;
    return `references of page ${word % units} by walker ${Math.floor(word / units)}`;
  }

  #ofWalker(offset: number): string {
    const id = Math.floor(offset / K.WALKER_BYTES),
      at = offset % K.WALKER_BYTES;
    if (at >= SLOT_AT) return `read slot of walker ${id}`;
    const field = this.#walker.get(at - WALKER_AT);
    return field === undefined ? `walker ${id}+${hex(at)}` : `${field} of walker ${id}`;
  }

  #ofTable(offset: number): string {
    const index = Math.floor(offset / K.TABLE_BYTES),
      at = offset % K.TABLE_BYTES;
    const field = at >= K.LINE ? this.#growth.get(at - K.LINE) : this.#table.get(at);
    return field === undefined ? `table ${index}+${hex(at)}` : `${field} of table ${index}`;
  }

  /** Locks and sections of walker `id`, from its own words. */
  held(id: number): string {
    const { tables, maxTables, walkers } = this.#header,
      word = (at: number) => this.#world.word32(at),
      held: string[] = [];
    for (let i = 0; i < maxTables; i++) {
      const at = tables + i * K.TABLE_BYTES;
      for (const [offset, name] of this.#table)
        if (name === "writer" && word(at + offset) === id + 1) held.push(`W${i}`);
    }
    const slot = walkers + id * K.WALKER_BYTES + SLOT_AT,
      reads = word(slot + 4);
    if (reads !== 0) held.push(`R${Math.floor((reads - tables) / K.TABLE_BYTES)}`);
    if (word(slot) !== 0) held.push(`section since ${hex(word(slot) & ~1)}`);
    for (const [at, what] of [
      [K.HEADER_BYTES + K.LINE, "free lists"],
      [K.HEADER_BYTES + 3 * K.LINE, "limbo"],
    ] as const) {
      if (word(at) === id + 1) held.push(what);
    }
    return held.join(", ");
  }
}
