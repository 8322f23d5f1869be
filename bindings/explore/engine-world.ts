// A world of the real core: several walkers of one engine, and the host, a walker of its own that sets up, looks and buries.

import * as K from "../core/constants.generated.js";
import { type Core, instantiateModule } from "../core/core.js";
import { EngineInfoView, LimboInfoView, TableInfoView, WalkerInfoView } from "../core/record-views.generated.js";
import { RULES } from "../core/rules.generated.js";
import { Words } from "../core/view.js";
import type { ExploreBuild } from "./build.js";
import { type CoreCall, CoreFibre, type Explored } from "./core-fibre.js";
import { Names } from "./names.js";
import { BLOCK_BYTES, QUIET, type Room, tablesFor, World } from "./world.js";

const WASM_PAGE = 65536;
const BASE = K.HEADER_BYTES;
const ARENA = 2 * WASM_PAGE;
const ARENA_BYTES = 1 << 20;
const PHYS_BASE = 0x8000_0000n;
const IPA_BITS = 39;
const PS_4K = 12;
/** Words of a walker's counters that tell states apart: warnings. All others only count. */
const WARNINGS = K.C_WARNINGS * 8;
const COUNTER_BYTES = 512;

/**
 * One operation of a walker. `says` is shown in replays; `call` is asked again each time that the walker goes on, and must say the
 * same then: it depends on the world's handles and on `results`, what this walker's operations before it have returned.
 */
export interface Operation {
  /** What it does, in a few words: `fault 0x40000000`. */
  readonly says: string;
  /** What it calls. */
  call(world: EngineWorld, results: readonly number[]): CoreCall;
}

/** What a table of a scenario is like. */
export interface TableConfig {
  /** T_* of the core; forced write-back, ranges of TLBIs, no cache maintenance if it is not said. */
  readonly flags?: number;
  /** A hypervisor table in place of a guest's. */
  readonly hyp?: boolean;
  /** Table records of the engine; 2 if it is not said. */
  readonly tables?: number;
  /** Records of each walker's journal; 0 if it is not said. */
  readonly journal?: number;
  /** What the hardware sets in descriptors by itself; the access flag if it is not said. */
  readonly hardware?: "nothing" | "access flag" | "dirty state";
  /** Bytes of the arena, a multiple of 1 MiB; 1 MiB if it is not said. */
  readonly arenaBytes?: number;
}

export type ExploredCore = Core & Explored;

/** A walker of the engine: its instance, and a page of the arena that it may use. */
export interface Seat {
  readonly core: ExploredCore;
  readonly fibre: CoreFibre;
  buffer: number;
}

const BREACHES = [
  "",
  "sleeps where nothing may sleep",
  "walks outside a read section",
  "walks exclusively without the lock",
  "walks shared without the lock",
  "reads a descriptor of a page that was given back",
  "a page was written to after it was given back",
];

/**
 * The core broke a rule of its own: what a check of the debug build found.
 *
 * @example
 * ```ts
 * import { Breach } from "granule/explore";
 * console.log(typeof Breach); // function
 * ```
 */
export class Breach extends Error {
  /** Its class. */
  override readonly name = "Breach";
}

function roomFor(walkers: number, arenaBytes: number): { room: Room; memory: WebAssembly.Memory } {
  const blocks = ARENA + arenaBytes,
    blocksEnd = blocks + (walkers + 1) * BLOCK_BYTES,
    end = (blocksEnd + WASM_PAGE - 1) & -WASM_PAGE,
    sizes = tablesFor(end);
  const pages = Math.ceil((end + sizes.dirty + sizes.meeting + sizes.met + sizes.touched) / WASM_PAGE);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const meeting = end + sizes.dirty,
    met = meeting + sizes.meeting;
  const room = { buffer: memory.buffer, blocks, end, dirty: end, meeting, met, touched: met + sizes.met };
  return { room, memory };
}

/**
 * The walkers of a scenario of the core, and the host, a walker of its own that sets up and looks afterwards: `setup` and `check` are given it.
 *
 * @example
 * ```ts
 * import { EngineWorld } from "granule/explore";
 * console.log(typeof EngineWorld); // function
 * ```
 */
export class EngineWorld extends World {
  /** The build that it runs. */
  readonly build: ExploreBuild;
  /** @internal */
  readonly seats: readonly Seat[];
  /** The walker that sets up and looks: the last one. */
  readonly host: number;
  /** The table that operations are about. */
  table = 0;
  /** Units of the arena that were taken before there was a table. */
  readonly takenBefore: number;
  /** @internal */
  readonly config: TableConfig;
  readonly #u64: BigUint64Array;
  /** @internal The memory, for views of records. */
  readonly views: Words;
  readonly #u8: Uint8Array;
  #current = 0;
  #names: Names | undefined;
  #time = 0;

  /** `walkers` of the scenario, and the host beside them. */
  constructor(build: ExploreBuild, walkers: number, config: TableConfig = {}) {
    const { room, memory } = roomFor(walkers, config.arenaBytes ?? ARENA_BYTES);
    super(room, build.sites, walkers + 1);
    this.build = build;
    this.host = walkers;
    this.config = config;
    this.views = new Words(memory.buffer);
    this.#u64 = this.views.u64;
    this.#u8 = new Uint8Array(memory.buffer);
    const module = new WebAssembly.Module(build.bytes as BufferSource);
    this.seats = Array.from({ length: walkers + 1 }, (_, id) => this.#seat(module, memory, id));
    this.fibres.push(...this.seats.map(({ fibre }) => fibre));
    this.#layOut();
    this.takenBefore = this.taken();
    this.#makeTable();
    this.progress.add((BASE + 2 * K.LINE) >> 2); // who naps until the epoch is past may move it itself
  }

  #seat(module: WebAssembly.Module, memory: WebAssembly.Memory, id: number): Seat {
    const fibre = new CoreFibre(this, id);
    const refuse = (name: string) => () => {
      throw new Error(`scenarios have no functions of the host: ${name}`);
    };
    const host = {
      // Stands still while walkers are explored; whoever looks afterwards does not wait for ever.
      clock: () => (this.mode === QUIET ? this.#tick() : 0),
      breach: (rule: number) => {
        throw new Breach(BREACHES[rule] ?? `breach ${rule}`);
      },
      demand: (rule: number) => {
        throw new Breach(RULES.get(rule)?.[1] ?? `rule ${rule}`);
      },
      point: () => {},
      hook: refuse("hook"),
      visit: refuse("visit"),
      forcePte: refuse("forcePte"),
    };
    const core = instantiateModule<ExploredCore>(module, memory, "createStage2", host, BASE, { explore: fibre.host });
    fibre.attach(core);
    return { core, fibre, buffer: 0 };
  }

  #tick(): number {
    this.#time += 100;
    return this.#time;
  }

  #layOut(): void {
    const hostCore = this.hostSeat.core,
      { tables = 2, journal = 0, arenaBytes = ARENA_BYTES } = this.config;
    const first = this.seats[0] as Seat;
    const bad = first.core.initialise(ARENA, arenaBytes, PHYS_BASE, tables, this.walkers, journal);
    if (bad) throw new Error(`the engine cannot be laid out: ${bad}`);
    first.core.attach(0, 1);
    for (const [id, { core }] of this.seats.entries()) if (id !== 0) core.attach(id, 1);
    for (const seat of this.seats) seat.buffer = hostCore.takeBlock(0) >>> 0;
    for (let id = 0; id < this.walkers; id++) {
      const counters = hostCore.counterPointer(id) >>> 0;
      this.mask(counters, WARNINGS);
      this.mask(counters + WARNINGS + 8, COUNTER_BYTES - WARNINGS - 8);
    }
  }

  #makeTable(): void {
    const { core } = this.hostSeat,
      { flags, hyp = false } = this.config;
    if (hyp) this.table = core.createHyp(PS_4K, IPA_BITS, flags ?? 0, 0);
    else this.table = core.createStage2(PS_4K, this.vtcr, flags ?? K.T_FWB | K.T_RANGE_TLBI | K.T_PAGE_COUNT, 0);
    if (this.table < 0) throw new Error(`the table cannot be made: ${this.table}`);
  }

  /** VTCR_EL2 of the scenario's tables: 4 KiB pages, 39 bits. */
  get vtcr(): bigint {
    const { hardware = "access flag" } = this.config,
      vtcr = this.hostSeat.core.vtcr(PS_4K, IPA_BITS, 5n, 0n, 0, 0, hardware === "nothing" ? 0 : 1);
    return hardware === "dirty state" ? vtcr | K.VTCR_HD : vtcr;
  }

  /** Where the arena lies in the memory, and as physical memory. */
  get arena(): { readonly pointer: number; readonly bytes: number; readonly physBase: bigint } {
    return { pointer: ARENA, bytes: this.config.arenaBytes ?? ARENA_BYTES, physBase: PHYS_BASE };
  }

  /** @internal */
  get hostSeat(): Seat {
    return this.seats[this.host] as Seat;
  }

  /** The seat of the walker that is asked for its call. */
  get current(): Seat {
    return this.seats[this.#current] as Seat;
  }

  /** Switches flaw number `n` of the build on. */
  setFlaw(n: number): void {
    for (const { core } of this.seats) core.setFlaw(n);
  }

  /** Gives walker `id` its program. */
  setProgram(id: number, program: readonly Operation[]): void {
    const calls = program.map((operation) => (results: readonly number[]) => {
      this.#current = id;
      return operation.call(this, results);
    });
    (this.seats[id] as Seat).fibre.program = calls;
  }

  /** Performs an operation at once, as the host or as walker `id`: for setting up, and for looking afterwards. */
  now(operation: Operation, id: number = this.host): number {
    return this.quietly(() => {
      const before = this.#current;
      this.#current = id;
      const { run } = operation.call(this, []),
        status = run();
      this.#current = before;
      return status;
    });
  }

  /** As `now`; throws unless the operation succeeds. */
  setUp(operation: Operation, id: number = this.host): void {
    const status = this.now(operation, id);
    if (status < 0) throw new Error(`setting up, ${operation.says}: ${status}`);
  }

  override nameOf(address: number): string {
    this.#names ??= new Names(this);
    this.#names.look();
    return this.#names.of(address);
  }

  override holdsNow(id: number): string {
    this.#names ??= new Names(this);
    return this.#names.held(id);
  }

  // --- what the core answered, and what lies in memory ---

  /** The 64-bit word at `p`. */
  word64(p: number): bigint {
    return this.#u64[p >>> 3] as bigint;
  }

  /** The 32-bit word at `p`. */
  word32(p: number): number {
    return (this.words[p >>> 2] as number) >>> 0;
  }

  /** Low and high word of what the current walker's last operation answered. */
  answer(): [number, number] {
    const low = this.current.core.resultPointer() >>> 2,
      high = low + 1;
    return [this.words[low] as number, this.words[high] as number];
  }

  #result<T>(view: new (words: Words, pointer: number) => T): T {
    return new view(this.views, this.hostSeat.core.resultPointer() >>> 0);
  }

  /** Units of the arena that are taken. */
  taken(): number {
    this.hostSeat.core.engineInfo();
    return this.#result(EngineInfoView).taken;
  }

  /** The table's pages, its root and the level where it starts; undefined once the handle is given back. */
  tableInfo(): { root: number; startLevel: number; pages: number } | undefined {
    if (this.hostSeat.core.tableInfo(this.table)) return undefined;
    const { root, startLevel, pages } = this.#result(TableInfoView);
    return { root, startLevel, pages };
  }

  /** Tables that wait for their grace period. */
  inLimbo(): number {
    this.hostSeat.core.limboInfo();
    return this.#result(LimboInfoView).waiting;
  }

  /** What walker `id` holds. */
  holds(id: number): { inSection: boolean; writes: number; reads: number } {
    this.hostSeat.core.walkerInfo(id);
    const { inSection, writes, reads } = this.#result(WalkerInfoView);
    return { inSection: inSection !== 0, writes, reads };
  }

  /** Warnings that all walkers have counted. */
  warnings(): number {
    let n = 0n;
    for (let id = 0; id < this.walkers; id++)
      n += this.word64((this.hostSeat.core.counterPointer(id) >>> 0) + WARNINGS);
    return Number(n);
  }

  /** Pointer of a table page from a descriptor. */
  pageOf(descriptor: bigint): number {
    return Number((descriptor & 0xffff_ffff_f000n) - PHYS_BASE) + ARENA;
  }

  /** References of the table page at `page`. */
  references(page: number): number {
    return this.hostSeat.core.pageReferences(page);
  }

  /** @internal */
  fillColumns(addresses: number, outputs: number, values: readonly number[], output: number): void {
    for (const [i, value] of values.entries()) {
      this.#u64[(addresses >>> 3) + i] = BigInt(value);
      this.#u64[(outputs >>> 3) + i] = BigInt(output + value);
    }
    this.dirty[addresses >>> 8] = 1;
    this.dirty[outputs >>> 8] = 1;
  }

  /** @internal */
  statuses(at: number, n: number): number[] {
    return [...this.#u8.subarray(at, at + n)].map((byte) => (byte << 24) >> 24);
  }
}
