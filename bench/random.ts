/**
 * The random inputs of the workloads: the same generator, seed and order of draws as the kernel's benchmark, so that
 * both sides visit the same pages in the same order.
 *
 * @module
 */

/** xorshift64 with shifts 13, 7, 17 on two 32-bit halves. */
export class Xorshift {
  /** Upper half of the state, as a signed integer. */
  high: number;
  /** Lower half of the state, as a signed integer. */
  low: number;

  constructor(seed = 88172645463325252n) {
    this.high = Number(BigInt.asIntN(32, seed >> 32n));
    this.low = Number(BigInt.asIntN(32, seed));
  }

  /** Takes one step. */
  next(): void {
    let { high, low } = this;
    high ^= (high << 13) | (low >>> 19);
    low ^= low << 13;
    const mixed = (low >>> 7) | (high << 25);
    high ^= high >>> 7;
    low ^= mixed;
    const shifted = low << 17;
    high ^= (high << 17) | (low >>> 15);
    low ^= shifted;
    this.high = high | 0;
    this.low = low | 0;
  }

  /** The next state modulo `bound`, which is a power of two up to 2^53 or any number up to 2^21. */
  below(bound: number): number {
    this.next();
    const high = this.high >>> 0;
    const low = this.low >>> 0;
    // For a power of two from 2^32 on, the low half stays as it is; else all terms are far below 2^53.
    if (bound >= 2 ** 32) return (high % (bound / 2 ** 32)) * 2 ** 32 + low;
    return ((((high % bound) * (2 ** 32 % bound)) % bound) + low) % bound;
  }
}

/** Shuffles in place, from the end down. */
export function shuffle(order: Uint32Array, random: Xorshift): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
}

/** Addresses to look up, in both forms that an engine may want. */
export interface AddressBatch {
  readonly bytes: Float64Array;
  /** The same as 64-bit little-endian integers: low word, high word. */
  readonly words: Uint32Array;
}

/** The inputs of all workloads. */
export interface Inputs {
  /** All pages of 1 GiB in random order. */
  readonly order: Uint32Array;
  /** The same pages for two workers: each half shuffled for itself. */
  readonly disjoint: readonly [Uint32Array, Uint32Array];
  /** The same pages for two workers: even and odd ones, each shuffled for itself. */
  readonly interleaved: readonly [Uint32Array, Uint32Array];
  /** Random addresses in 1 GiB. */
  readonly lookup1g: AddressBatch;
  /** Random addresses in 64 GiB. */
  readonly lookup64g: AddressBatch;
}

function emptyBatch(count: number): AddressBatch {
  return { bytes: new Float64Array(count), words: new Uint32Array(2 * count) };
}

function putAddress(batch: AddressBatch, index: number, address: number): void {
  batch.bytes[index] = address;
  batch.words[2 * index] = address % 2 ** 32;
  batch.words[2 * index + 1] = Math.floor(address / 2 ** 32);
}

/** Draws the inputs for `pages` pages and `lookups` addresses from `base` on. */
export function drawInputs(base: number, pages: number, lookups: number): Inputs {
  const random = new Xorshift();
  const order = Uint32Array.from({ length: pages }, (_, i) => i);
  shuffle(order, random);
  const half = pages / 2;
  const inHalf = (t: number): Uint32Array => Uint32Array.from({ length: half }, (_, i) => t * half + i);
  const everyOther = (t: number): Uint32Array => Uint32Array.from({ length: half }, (_, i) => 2 * i + t);
  const disjoint: [Uint32Array, Uint32Array] = [inHalf(0), inHalf(1)];
  const interleaved: [Uint32Array, Uint32Array] = [everyOther(0), everyOther(1)];
  for (const t of [0, 1] as const) {
    shuffle(disjoint[t], random);
    shuffle(interleaved[t], random);
  }
  const lookup1g = emptyBatch(lookups);
  const lookup64g = emptyBatch(lookups);
  for (let i = 0; i < lookups; i++) {
    putAddress(lookup1g, i, base + random.below(2 ** 30));
    putAddress(lookup64g, i, base + random.below(2 ** 36));
  }
  return { order, disjoint, interleaved, lookup1g, lookup64g };
}
