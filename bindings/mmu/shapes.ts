// Shapes of TLBs: sets, ways, sizes and replacement; those of some public cores.

import { checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";

/** Which entry makes room: the one used longest ago, nearly that (a tree of bits), the oldest, or any (by the seed). */
export type Replacement = "lru" | "plru" | "fifo" | "random";

/** One structure of a TLB. */
export interface TlbBankShape {
  /** How many entries it has, at most 65,536. */
  entries: number;
  /** Ways of a set; default all entries, one set. `entries / ways` is a power of two. */
  ways?: number;
  /** Bytes that entries can map, powers of two; a larger block is held as fragments [HWM-42]. Default any. */
  sizes?: readonly number[];
  /** Default `"plru"`. */
  replacement?: Replacement;
}

/** The structures of a TLB; what is left out is not there. */
export interface TlbShape {
  /** First level; for fetches too, where `fetch` is left out. */
  data: TlbBankShape;
  /** First level for instruction fetches. Default: `data` serves them. */
  fetch?: TlbBankShape;
  /** Second level. */
  second?: TlbBankShape;
  /** Leaves of stage 2, IPA to PA. */
  stage2?: TlbBankShape;
  /** Table entries of both stages. */
  walk?: TlbBankShape;
  /** Walk caches hold where a table of stage 1 lies physically. Default true. */
  combinedWalks?: boolean;
  /** Contiguous groups are held as one entry [HWM-37]. Default true. */
  contiguous?: boolean;
}

/** Names of the shapes at hand. */
export type TlbPreset = "tiny" | "cortex-a53" | "cortex-a72" | "cortex-a76" | "neoverse-n1";

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const GIB = 2 ** 30;
const FETCH_A76 = [4 * KIB, 16 * KIB, 64 * KIB, 2 * MIB, 32 * MIB];
const DATA_A76 = [4 * KIB, 16 * KIB, 64 * KIB, 2 * MIB, 512 * MIB];
const SECOND_A76 = [4 * KIB, 16 * KIB, 64 * KIB, 2 * MIB, 32 * MIB, 512 * MIB, GIB];
const L1_A72 = [4 * KIB, 64 * KIB, MIB];

/** What Cortex-A76 and Neoverse N1 have in common. Its L2 also holds stage-2 blocks and tables: banks of our own size here. */
const A76: TlbShape = {
  data: { entries: 48, sizes: DATA_A76 },
  fetch: { entries: 48, sizes: FETCH_A76 },
  second: { entries: 1280, ways: 5, sizes: SECOND_A76 },
  stage2: { entries: 64, ways: 4 },
  walk: { entries: 64, ways: 4 },
};

/**
 * Shapes of public cores, from Arm's Technical Reference Manuals; these do not tell replacement, nor how large the walk caches
 * of the newer ones are.
 *
 * @example
 * ```ts
 * import { TLB_PRESETS } from "granule/mmu";
 * console.log(TLB_PRESETS["cortex-a72"].second?.entries); // 1024
 * ```
 */
export const TLB_PRESETS: Readonly<Record<TlbPreset, TlbShape>> = {
  /** For tests: everything in it, and nothing stays long. */
  tiny: {
    data: { entries: 4 },
    second: { entries: 8, ways: 2, replacement: "lru" },
    stage2: { entries: 8 },
    walk: { entries: 8 },
  },
  /** DDI 0500, 5.1 and 5.2: micro TLBs, main TLB (1 GiB is split to 512 MiB), walk cache, IPA cache. */
  "cortex-a53": {
    data: { entries: 10 },
    fetch: { entries: 10 },
    second: { entries: 512, ways: 4, sizes: [4 * KIB, 64 * KIB, 2 * MIB, 512 * MIB] },
    stage2: { entries: 64, ways: 4 },
    walk: { entries: 64, ways: 4 },
  },
  /** 100095, 5.2: L1 of 4K, 64K and 1M, L2 with blocks too. */
  "cortex-a72": {
    data: { entries: 32, sizes: L1_A72 },
    fetch: { entries: 48, sizes: L1_A72 },
    second: { entries: 1024, ways: 4, sizes: [...L1_A72, 2 * MIB, 16 * MIB, 512 * MIB, GIB] },
    stage2: { entries: 64, ways: 4 },
    walk: { entries: 64, ways: 4 },
  },
  /** 100798, A5.2. */
  "cortex-a76": A76,
  /** 100616, A5.2. */
  "neoverse-n1": A76,
};

const POLICIES: Readonly<Record<Replacement, number>> = {
  lru: K.POLICY_LRU,
  plru: K.POLICY_PLRU,
  fifo: K.POLICY_FIFO,
  random: K.POLICY_RANDOM,
};

/** Sizes that there are: 4 KiB to 2^55. */
const ANY_SIZE = ((1n << 56n) - 1n) & ~0xfffn;

/** Names of the banks, in the order of the core. */
export const BANK_NAMES = ["data", "fetch", "second", "stage2", "walk"] as const;

/** @internal A bank as the core has it. */
export interface BankWords {
  readonly sets: number;
  readonly ways: number;
  readonly policy: number;
  readonly sizes: bigint;
}

function sizesOf(sizes: readonly number[] | undefined): bigint {
  if (sizes === undefined) return ANY_SIZE;
  return sizes.reduce((mask, size) => {
    const word = Number.isSafeInteger(size) && size > 0 ? BigInt(size) : 0n;
    if (word < 4096n || (word & (word - 1n)) !== 0n)
      throw invalid("createTlb", `${size} is not a size of an entry: a power of two from 4096`);
    return mask | (1n << BigInt(word.toString(2).length - 1));
  }, 0n);
}

/** @internal What `TlbShape` has. */
export const SHAPE: OptionKinds<TlbShape> = {
  data: "object",
  fetch: "object",
  second: "object",
  stage2: "object",
  walk: "object",
  combinedWalks: "boolean",
  contiguous: "boolean",
};
const BANK: OptionKinds<TlbBankShape> = { entries: "number", ways: "number", sizes: "any", replacement: "any" };

/** @internal Checks and converts. A walk cache holds tables of any reach. */
export function bankWords(shape: TlbBankShape | undefined, walk: boolean): BankWords {
  if (shape === undefined) return { sets: 0, ways: 0, policy: 0, sizes: 0n };
  const { entries, ways = entries, sizes, replacement = "plru" } = checkOptions("createTlb", shape, BANK);
  const sets = entries / ways;
  const sound = [entries, ways, sets].every((n) => Number.isInteger(n) && n >= 1 && n <= 65536);
  if (!sound || (sets & (sets - 1)) !== 0)
    throw invalid(
      "createTlb",
      `${entries} entries in ${ways} ways are not a bank: entries / ways must be a power of two, up to 65536 entries`,
    );
  const policy = Object.hasOwn(POLICIES, replacement) ? POLICIES[replacement] : undefined;
  if (policy === undefined)
    throw invalid("createTlb", `${String(replacement)} is not a replacement: ${Object.keys(POLICIES).join(", ")}`);
  return { sets, ways, policy, sizes: walk ? ANY_SIZE : sizesOf(sizes) };
}
