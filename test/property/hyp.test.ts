// Stage-1 sequences with quirks "none" against the model: a conflicting map is refused before it changes anything
// [S1-2, S1-5a, PROP-8], unmap counts and stops as S1-6 says, references hold [WLK-17], destroy leaves nothing [PROP-1].

import { describe, expect, it } from "vitest";
import { createEngine, type Engine, GranuleError, type HypTable } from "../../bindings/index.js";
import { Random, runs, SEED } from "../support/random.js";
import { spanPages } from "./format.js";
import { HypModel, type HypShape, type HypStatus } from "./hyp-model.js";
import { checkImage } from "./image.js";

const RUNS = runs(2000);

function randomShape(random: Random): HypShape {
  const ps = random.pick([12, 12, 12, 14, 16]);
  const lpa2 = ps !== 16 && random.oneIn(4);
  const bits = ps === 12 ? (lpa2 ? [39, 48, 52] : [39, 39, 48]) : ps === 14 ? [36, 47] : [42, 42, 48];
  return {
    ps,
    lpa2,
    inputBits: random.pick(bits),
    hvhe: random.oneIn(2),
    bti: random.oneIn(2),
    wide: random.oneIn(2),
    fwb: false,
    xnx: false,
    typed: false,
    linux: false,
  };
}

function create(engine: Engine, shape: HypShape): HypTable {
  return engine.createHyp({
    granule: (2 ** shape.ps) as 4096,
    lpa2: shape.lpa2,
    pa52: shape.wide,
    vaBits: shape.inputBits,
    hvhe: shape.hvhe,
    bti: shape.bti,
    strict: false,
  });
}

const PROTS = [4, 6, 5, 4 | 8, 6 | 8, 4 | 0x300, 4, 4, 0, 2, 7, 13, 4 | 32, 4 | 64, 4 | 16];

/** Addresses in three blocks, sizes of a few pages or of blocks. */
class Arguments {
  readonly #random: Random;
  readonly #shape: HypShape;
  readonly #base: number;

  constructor(random: Random, shape: HypShape) {
    this.#random = random;
    this.#shape = shape;
    const pages = 2 ** (shape.inputBits - shape.ps);
    this.#base = random.pick([0, pages - 3 * this.block, Math.floor(pages / 2 / this.block) * this.block - this.block]);
  }

  get block(): number {
    return spanPages(this.#shape.ps, 2);
  }

  address(): number {
    const r = this.#random,
      page = 2 ** this.#shape.ps;
    const at = this.#base + r.below(3) * this.block + (r.oneIn(2) ? 0 : r.below(6));
    return at * page + (r.oneIn(12) ? r.below(page) : 0);
  }

  size(): number {
    const r = this.#random,
      page = 2 ** this.#shape.ps;
    const most = this.#shape.ps === 16 ? 1 : 3;
    return (r.oneIn(2) ? 1 + r.below(8) : this.block * (1 + r.below(most))) * page - (r.oneIn(12) ? r.below(page) : 0);
  }

  output(va: number): number {
    const blockBytes = this.block * 2 ** this.#shape.ps;
    const jitter = this.#random.oneIn(5) ? 2 ** this.#shape.ps : 0;
    if (this.#random.oneIn(30)) return 2 ** 52 - 2 ** this.#shape.ps;
    return (
      (1 + this.#random.below(2)) * 2 ** 42 + Math.floor(va / blockBytes) * blockBytes + (va % blockBytes) + jitter
    );
  }
}

function statusOf(operation: () => void): HypStatus {
  try {
    operation();
    return "ok";
  } catch (error) {
    if (error instanceof GranuleError) return error.code as HypStatus;
    throw error;
  }
}

function step(table: HypTable, model: HypModel, random: Random, args: Arguments): void {
  const va = args.address(),
    size = args.size();
  if (random.below(5) < 3) {
    const prot = random.pick(PROTS),
      pages = random.oneIn(4) ? random.below(4) : -1;
    const pa = args.output(va);
    // Blocks that are not congruent are pages: keep them short.
    const bytes = (pa - va) % (args.block * model.page) === 0 ? size : Math.min(size, 40 * model.page);
    using cache = table.engine.createCache(table.granule, 8);
    if (pages >= 0) cache.fill(pages);
    const expected = model.map(va, bytes, pa, prot, pages < 0 ? Infinity : pages);
    const actual = statusOf(() => table.map(va, bytes, pa, prot, { cache: pages < 0 ? "arena" : cache }));
    expect(actual, `map(${va}, ${bytes}, ${pa}, ${prot}, ${pages} pages)`).toBe(expected);
    return;
  }
  const expected = model.unmap(va, size);
  let actual: number | string = 0;
  const status = statusOf(() => {
    actual = Number(table.unmap(va, size));
  });
  expect(status === "ok" ? actual : status, `unmap(${va}, ${size})`).toBe(expected);
}

function run(engine: Engine, seed: number): void {
  const random = new Random(seed);
  const shape = randomShape(random);
  const model = new HypModel(shape);
  const { taken } = engine.arena();
  const table = create(engine, shape);
  const args = new Arguments(random, shape);
  for (let i = 0; i < (shape.ps === 16 ? 6 : 16); i++) {
    step(table, model, random, args);
    checkImage(table, model);
  }
  table.close();
  expect(engine.arena().taken).toBe(taken);
}

describe(`stage 1 is what S1-1..7 say, first seed ${SEED}`, () => {
  it("random sequences of map and unmap (S1-2, S1-3, S1-5, S1-5a, S1-6, S1-7, WLK-17, PROP-8)", {
    timeout: 600_000,
  }, () => {
    const engine = createEngine({ arenaBytes: 32 << 20, maxTables: 4 });
    for (let seed = SEED; seed < SEED + RUNS; seed++) {
      try {
        run(engine, seed);
      } catch (error) {
        expect.fail(`GRANULE_SEED=${seed} GRANULE_RUNS=1: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  });
});
