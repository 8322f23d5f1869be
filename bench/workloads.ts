/**
 * The workloads: the same ids, sizes and set-up as the kernel's benchmark (4K granule, 40-bit IPA, FWB and range TLBI).
 *
 * @module
 */
import type { EngineAdapter } from "./adapters/adapter.js";
import { PAGE_SIZE, PROT_R, PROT_W } from "./peers/peer.js";
import { type AddressBatch, drawInputs, type Inputs } from "./random.js";

const GIB = 2 ** 30;
const MIB2 = 2 ** 21;
const LARGE = 64 * GIB;
const IPA = GIB;
const PA = 16 * GIB;
const READ_WRITE = PROT_R | PROT_W;
const PAGES = GIB / PAGE_SIZE;
const LOOKUPS = 2 ** 20;
const TRANSLATIONS = 2 ** 13;
const TRANSLATED_PAGES = 2 ** 12;
/** Pages that the first level of a TLB holds. */
const HELD_PAGES = 2 ** 5;
/** Physical offset at which no 1 GiB block fits, but 2 MiB blocks do. */
const OFF_GIG = MIB2;

let drawn: Inputs | undefined;

/** The random inputs, drawn at the first call. */
export function inputs(): Inputs {
  drawn ??= drawInputs(IPA, PAGES, LOOKUPS);
  return drawn;
}

/** One workload. A run's result is the same for all engines, whatever they measure. */
export interface Workload {
  readonly id: string;
  readonly unit: string;
  /** Items that the time of one run is divided by. */
  readonly items: number;
  /** Whether a run changes the table, so that each sample needs its own set-up. */
  readonly fresh: boolean;
  /** Whether it needs an engine with shared walks. */
  readonly shared: boolean;
  /** Whether it needs an engine with a hardware walker. */
  readonly translates: boolean;
  /** What {@link Workload.run} must return; if undefined, the engines must agree on it. */
  readonly expected: number | undefined;
  setup(engine: EngineAdapter): void;
  run(engine: EngineAdapter): number;
}

/** Throws if an untimed step failed. */
function must(status: number): void {
  if (status !== 0) throw new Error(`set-up of a workload failed: ${status}`);
}

/** A new table with a range mapped a GiB at a time: pages, or blocks of 2 MiB. */
function populate(engine: EngineAdapter, size: number, pages: boolean): void {
  engine.reset();
  const pa = pages ? PA : PA + OFF_GIG;
  for (let at = 0; at < size; at += GIB) must(engine.map(IPA + at, GIB, pa + at, READ_WRITE, pages));
}

type Parts = Pick<Workload, "id" | "items" | "setup" | "run"> & Partial<Workload>;

function workload(parts: Parts): Workload {
  return { unit: "ns", fresh: true, shared: false, translates: false, expected: 0, ...parts };
}

/** A workload on 1 GiB of mapped pages. */
function onPages(parts: Pick<Workload, "id" | "run"> & Partial<Workload>): Workload {
  return workload({ items: PAGES, setup: (engine) => populate(engine, GIB, true), ...parts });
}

function faults(id: string, shared: boolean): Workload {
  return workload({
    id,
    items: PAGES,
    shared,
    setup: (engine) => {
      engine.reset(shared);
      engine.stageOrder?.(inputs().order, IPA, PA);
    },
    run: (engine) => engine.faultBatch(inputs().order, IPA, PA, READ_WRITE, shared),
  });
}

function lookups(id: string, size: number): Workload {
  const batch = (): AddressBatch => (size === GIB ? inputs().lookup1g : inputs().lookup64g);
  return workload({
    id,
    items: LOOKUPS,
    fresh: false,
    expected: undefined,
    setup: (engine) => {
      populate(engine, size, true);
      engine.stageAddresses?.(batch());
    },
    run: (engine) => engine.lookupBatch(batch()),
  });
}

/** Random accesses in a few pages: the batch and its tables stay in the caches. */
function accesses(pages: number): AddressBatch {
  const { words, bytes } = inputs().lookup1g;
  const inside = bytes.slice(0, TRANSLATIONS).map((at) => IPA + (at % (pages * PAGE_SIZE)));
  return { words, bytes: inside };
}

/** A workload on the hardware's walker over `pages` pages. */
function translations(
  id: string,
  nested: boolean,
  pages: number,
  run: (engine: EngineAdapter) => number | undefined,
): Workload {
  return workload({
    id,
    items: TRANSLATIONS,
    fresh: false,
    translates: true,
    setup: (engine) => engine.stageTranslations?.(nested, accesses(pages), IPA, PA, pages),
    run: (engine) => run(engine) ?? 0,
  });
}

/** All workloads, in the order of the design. */
export const workloads: readonly Workload[] = [
  workload({
    id: "map-4k",
    items: PAGES,
    setup: (engine) => engine.reset(),
    run: (engine) => engine.map(IPA, GIB, PA, READ_WRITE, true),
  }),
  faults("fault-random", false),
  faults("fault-random-shared", true),
  onPages({ id: "wrprotect", run: (engine) => engine.wrprotect(IPA, GIB) }),
  onPages({ id: "unmap", run: (engine) => engine.unmap(IPA, GIB) }),
  onPages({ id: "age", expected: 1, run: (engine) => engine.testClearYoung(IPA, GIB, true) }),
  lookups("lookup-1g", GIB),
  lookups("lookup-64g", LARGE),
  onPages({ id: "walk-leaf", fresh: false, expected: PAGES, run: (engine) => engine.countLeaves(IPA, GIB) }),
  onPages({ id: "walk-leaf-js", fresh: false, expected: PAGES, run: (engine) => engine.readLeaves(IPA, GIB) }),
  onPages({ id: "visit-leaf-js", fresh: false, expected: PAGES, run: (engine) => engine.visitLeaves(IPA, GIB) }),
  workload({
    id: "split",
    items: PAGES,
    setup: (engine) => populate(engine, GIB, false),
    run: (engine) => engine.split(IPA, GIB, GIB),
  }),
  onPages({
    id: "relax-random",
    setup: (engine) => {
      populate(engine, GIB, true);
      must(engine.wrprotect(IPA, GIB));
      engine.stageOrder?.(inputs().order, IPA, PA);
    },
    run: (engine) => engine.relaxBatch(inputs().order, IPA, READ_WRITE),
  }),
  workload({
    id: "map-64g-2m",
    items: LARGE / MIB2,
    setup: (engine) => engine.reset(),
    run: (engine) => engine.map(IPA, LARGE, PA + OFF_GIG, READ_WRITE, false),
  }),
  translations("translate-hit", false, HELD_PAGES, (engine) => engine.accessBatch?.()),
  translations("translate-miss", false, TRANSLATED_PAGES, (engine) => engine.translateBatch?.()),
  translations("translate-nested-miss", true, TRANSLATED_PAGES, (engine) => engine.translateBatch?.()),
];

/** Table memory for one mapped GiB of pages, in bytes. Leaves the engine populated. */
export function tableBytesPerGib(engine: EngineAdapter): number {
  populate(engine, LARGE, true);
  return engine.tableBytes() / (LARGE / GIB);
}
