import * as K from "../core/constants.generated.js";
import {
  collect,
  divisionOf,
  LOAD,
  log,
  type Part,
  pagesOf,
  type Rounds,
  STORE,
  type Stage,
  share,
  step,
  touch,
} from "./stage.js";

/** A workload: a sequence of what guest, VMM and host do. */
export interface WorkloadKind {
  /** A line or two for people. */
  readonly summary: string;
  /** Slots that the memory is divided into, where nobody says. Default 1. */
  readonly slots?: number;
  /** Does it, and adds what the reads of dirty logs said to `rounds`. */
  run(stage: Stage, rounds: Rounds): void;
}

const PAGE_SHARE = 4;

/** Every page is written once: each vCPU stores to its own part, page after page. */
function populate(stage: Stage): void {
  touch(stage, stage, 1);
}

/** As many accesses as a quarter of the pages, at random; or each page once, in order. */
function work(stage: Stage, writes: number): void {
  const { vm, gpa, size, cpus, random } = stage;
  if (!random) touch(stage, stage, writes);
  else {
    const division = divisionOf(stage, stage);
    vm.run(Math.ceil(pagesOf(stage, stage) / PAGE_SHARE / cpus), { gpa, size, division, writes });
  }
}

function logged(stage: Stage, rounds: Rounds): void {
  log(stage, true);
  for (let i = 0; i < stage.iterations; i++) {
    work(stage, stage.writes);
    collect(stage, rounds);
  }
  log(stage, false);
}

// --- page_table_test -----------------------------------------------------------------------------------

function* every({ gpa, size }: Part, bytes: number, from = 0): Generator<number> {
  for (let at = from; at < size; at += bytes) yield gpa + at;
}

/** First the first page of each block, and then the pages of its upper half. */
function* upperHalves({ gpa, size }: Part, block: number, page: number): Generator<number> {
  for (let at = 0; at < size; at += block) {
    for (let inside = block / 2; inside < Math.min(block, size - at); inside += page) yield gpa + at + inside;
  }
}

/** The three stages of kvm_page_table_test; all vCPUs work in the whole memory. */
function pageTableTest(stage: Stage, rounds: Rounds): void {
  const { vm, large } = stage;
  const page = vm.table.granule;
  const buffer = vm.createAccesses();
  // CREATE_MAPPINGS: a block or page is mapped for the first of its vCPUs; every other vCPU stores.
  step(stage, buffer, every(stage, large), (cpu) => (cpu % 2 === 0 ? K.A_WRITE : K.A_READ));
  log(stage, true);
  // UPDATE_MAPPINGS: stores make pages writable, or break blocks, of which other pages are read.
  step(stage, buffer, every(stage, large), STORE);
  if (large > page) step(stage, buffer, upperHalves(stage, large, page), LOAD);
  collect(stage, rounds);
  log(stage, false);
  // ADJUST_MAPPINGS: every page is read, and blocks return.
  step(stage, buffer, every(stage, page), LOAD);
}

// --- slots ---------------------------------------------------------------------------------------------

/** A slot of one page comes and goes while the guest works elsewhere. */
function modifySlots(stage: Stage): void {
  const { vm, slots, gpa, size, iterations } = stage;
  populate(stage);
  for (let i = 0; i < iterations; i++) {
    const other = vm.addSlot({ slot: slots.length, gpa: gpa + size, size: vm.table.granule, backing: "4k" });
    work(stage, stage.writes);
    vm.removeSlot(other);
  }
}

const UNMAP_CHUNK = 2 ** 21;

/** What the tests of memslot_perf_test do, in their order; each of them `iterations` times. */
function slotPerformance(stage: Stage): void {
  const { vm, slots, gpa, size, iterations } = stage;
  const halves = [share(stage, 0, 0.5), share(stage, 0.5, 1)];
  const take = ({ gpa: at, size: bytes }: Part) => vm.changeHost("discard", at, bytes);
  const chunks = (half: Part) =>
    [...every(half, UNMAP_CHUNK)].map((at) => ({ gpa: at, size: Math.min(UNMAP_CHUNK, half.gpa + half.size - at) }));
  const again = (what: () => void) => {
    for (let i = 0; i < iterations; i++) what();
  };
  const eachHalf = (then: (half: Part) => void) => {
    for (const half of halves) {
      touch(stage, half, 1);
      then(half);
    }
  };
  again(() => {
    eachHalf(() => undefined); // map: all is mapped, and then unmapped at once
    take(stage);
  });
  again(() => eachHalf(take)); // unmap: one half is unmapped when it is mapped
  again(() => eachHalf((half) => chunks(half).forEach(take))); // unmap chunked
  populate(stage);
  const last = share(stage, 1 - 1 / slots.length, 1);
  const slot = slots.at(-1) as number;
  const move = () => {
    vm.moveSlot(slot, gpa + 2 * size);
    vm.moveSlot(slot, last.gpa);
  };
  again(() => {
    move(); // move active area: the guest works in the slot that moved
    touch(stage, last, 1);
  });
  if (slots.length > 1) {
    again(() => {
      move(); // move inactive area: the guest works in another
      touch(stage, share(stage, 0, 1 / slots.length), 1);
    });
  }
  again(() => {
    touch(stage, halves[0] as Part, 1); // RW: what is mapped is written and read
    touch(stage, halves[0] as Part, 0);
  });
}

// --- migration -----------------------------------------------------------------------------------------

/** Rounds until fewer pages than this share are dirty, or so many rounds. */
const CONVERGED = 1 / 256;
const MOST_ROUNDS = 30;

/**
 * Pre-copy: each round copies what the round before wrote, and takes as long; the guest writes meanwhile. Begins with all of the
 * memory, which takes `rate` accesses a page.
 */
function migrate(stage: Stage, rounds: Rounds): void {
  const { vm, gpa, cpus, writes, rate } = stage;
  const pages = pagesOf(stage, stage);
  log(stage, true);
  // A quarter of the pages is the working set, written while the rest is copied.
  const part = Math.max(1, Math.floor(pages / PAGE_SHARE / cpus)) * cpus * vm.table.granule;
  const region = { gpa, size: Math.min(part, stage.size), writes };
  let left = pages;
  for (let i = 0; i < MOST_ROUNDS && left > pages * CONVERGED; i++) {
    vm.run(Math.max(1, Math.floor((left * rate) / cpus)), region);
    left = collect(stage, rounds);
  }
  collect(stage, rounds); // the guest stands still: what is left is copied
}

// --- what guests and hosts do with memory ---------------------------------------------------------------

/** The VMM gives a quarter of the memory back in each iteration; the guest, which thinks that it has it, touches all again. */
function balloon(stage: Stage): void {
  const { vm, iterations } = stage;
  populate(stage);
  for (let i = 0; i < iterations; i++) {
    const quarter = (i % PAGE_SHARE) / PAGE_SHARE;
    const { gpa, size } = share(stage, quarter, quarter + 1 / PAGE_SHARE);
    vm.changeHost("discard", gpa, size);
    populate(stage);
  }
}

const IMAGE_SHARE = 1 / 8;
const MEMORY_MAP_SHARE = 1 / 64;
/** Where devices are, below the memory, and how often the guest asks one of them while it boots. */
const DEVICES = 0x0900_0000;
const DEVICE_ACCESSES = 64;

/** A guest boots from an image that the VMM has loaded. */
function boot(stage: Stage): void {
  const { vm, cpus } = stage;
  const page = vm.table.granule;
  const image = share(stage, 0, IMAGE_SHARE);
  const first = { ...stage, cpus: 1 };
  const buffer = vm.createAccesses();
  vm.changeHost("fill", image.gpa, image.size);
  step(first, buffer, every(image, page), () => K.A_FETCH); // it runs,
  step(first, buffer, every(image, page), LOAD);
  step(first, buffer, every({ ...image, gpa: image.gpa + image.size }, page), STORE); // unpacks itself,
  step(first, buffer, every(share(stage, 1 - MEMORY_MAP_SHARE, 1), page), STORE); // describes its memory,
  for (let i = 0; i < DEVICE_ACCESSES; i++) step(first, buffer, [DEVICES + 8 * i], LOAD); // asks its devices,
  // starts the other vCPUs, which run the same image, each on a stack of its own,
  step(stage, buffer, every(image, page), () => K.A_FETCH);
  const stacks = share(stage, 1 / 2, 1 / 2);
  for (let cpu = 0; cpu < cpus; cpu++) buffer.push(stacks.gpa + (cpu % (stage.size / page / 4)) * page, K.A_WRITE, cpu);
  vm.perform(buffer);
  touch(stage, share(stage, 1 / 4, 1 / 2), 1); // and runs programs.
}

/** A VMM that forks, as for a snapshot: memory is shared with the child until one of the two writes to it. */
function fork(stage: Stage): void {
  const { vm, gpa, size, iterations } = stage;
  populate(stage);
  for (let i = 0; i < iterations; i++) {
    vm.changeHost("fork", gpa, size);
    touch(stage, stage, 0);
    touch(stage, share(stage, 0, 1 / 2), 1);
    vm.changeHost("forkGone", gpa, size);
  }
}

/** KSM merges what is equal; the guest reads all of it, and writes to a quarter. */
function ksm(stage: Stage): void {
  const { vm, gpa, size, iterations } = stage;
  populate(stage);
  for (let i = 0; i < iterations; i++) {
    vm.changeHost("share", gpa, size);
    touch(stage, stage, 0);
    touch(stage, share(stage, 0, 1 / PAGE_SHARE), 1);
  }
}

/**
 * The workloads by name: the names of the selftests of KVM that do the same, where there is one.
 *
 * @example
 * ```ts
 * import { WORKLOADS } from "granule/sim";
 * console.log(WORKLOADS.demand_paging?.summary); // every page is stored to for the first time, page after page
 * ```
 */
export const WORKLOADS: Readonly<Record<string, WorkloadKind>> = {
  demand_paging: {
    summary: "every page is stored to for the first time, page after page",
    run: populate,
  },
  dirty_log_perf: {
    summary: "populate; log; in each iteration accesses, then the log is read and cleared",
    run: (stage, rounds) => {
      populate(stage);
      logged(stage, rounds);
    },
  },
  page_table_test: {
    summary:
      "CREATE_MAPPINGS: each block or page once; UPDATE_MAPPINGS, while it logs: a store to each, and of a block the upper half is read; ADJUST_MAPPINGS: every page is read, and blocks return",
    run: pageTableTest,
  },
  access_tracking_perf: {
    summary:
      "populate, write, read; in each iteration all access flags are cleared and all is written, and again, and read",
    run: (stage) => {
      const { vm, gpa, size, iterations } = stage;
      populate(stage);
      touch(stage, stage, 1);
      touch(stage, stage, 0);
      for (let i = 0; i < iterations; i++) {
        for (const writes of [1, 0]) {
          vm.age(gpa, size);
          touch(stage, stage, writes);
        }
      }
    },
  },
  memslot_modification_stress: {
    summary: "a slot of one page comes and goes in each iteration while the guest works in another",
    run: modifySlots,
  },
  memslot_perf: {
    summary:
      "map, unmap, unmap in chunks, move a slot that is used and one that is not, write and read: each in each iteration",
    slots: 32,
    run: slotPerformance,
  },
  migration: {
    summary: "pre-copy rounds until little is dirty; a quarter of the memory is written meanwhile, at --rate",
    run: (stage, rounds) => {
      populate(stage);
      migrate(stage, rounds);
    },
  },
  balloon: {
    summary:
      "populate; in each iteration the host takes a quarter of the memory, and the guest touches all of it again",
    run: balloon,
  },
  boot: {
    summary:
      "an image that the VMM filled is run and unpacked, devices are asked, memory is described, other vCPUs start, programs run",
    run: boot,
  },
  fork: {
    summary: "populate; in each iteration the VMM forks, the guest reads all and writes half, and the child exits",
    run: fork,
  },
  ksm: {
    summary: "populate; in each iteration KSM merges all memory, and the guest reads all and writes a quarter",
    run: ksm,
  },
};
