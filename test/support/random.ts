// A seeded generator, so that a failure can be run again: GRANULE_SEED=<seed>.

import { mulberry32 } from "./mulberry.mjs";

/** Uniform numbers from one 32-bit seed. */
export class Random {
  /** 0 .. 2^32-1. */
  readonly u32: () => number;

  constructor(seed: number) {
    this.u32 = mulberry32(seed);
  }

  /** 0 .. n-1. */
  below(n: number): number {
    return Math.floor((this.u32() / 2 ** 32) * n);
  }

  /** True once in `n` times on average. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }
}

function fromEnvironment(name: string, otherwise: number): number {
  const text = process.env[name];
  return text === undefined || text === "" ? otherwise : Number(text);
}

/** First seed of a property run. */
export const SEED = fromEnvironment("GRANULE_SEED", 20261120);

/** How many random sequences a property runs: GRANULE_RUNS in place of `otherwise`, or that part of it, such as 4%, at least one. */
export function runs(otherwise: number): number {
  const part = /^(\d+)%$/.exec(process.env.GRANULE_RUNS ?? "");
  if (part) return Math.ceil((otherwise * Number(part[1])) / 100);
  return fromEnvironment("GRANULE_RUNS", otherwise);
}
