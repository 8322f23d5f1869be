// What a vCPU does: a stream of accesses that depends on its seed and its settings alone.

import { Cpu } from "./machine";

/** Shares of stores and fetches are out of so many. */
const SHARE_BITS: u32 = 10;

/** The steps of a run, in the loop itself. Random bits:  63:32 page   31:22 kind   21:13 which 8 bytes of 4 KiB. */
@final
@unmanaged
export class Generator {
  /** The next state: xorshift64. */
  @inline static step(seed: u64): u64 {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^ (seed << 17);
  }

  /** Any page of `pages`. */
  @inline static any(seed: u64, pages: u64): u64 {
    return ((seed >> 32) * pages) >> 32;
  }

  /** The next page of PATTERN_SEQUENTIAL. */
  @inline static next(cpu: Cpu): u64 {
    const page = cpu.cursor,
      next = page + cpu.stride;
    cpu.cursor = next < cpu.pages ? next : next - cpu.pages;
    return page;
  }

  /** Which 8 bytes of the first 4 KiB of the page. */
  @inline static within(seed: u64): u64 {
    return (seed >> 10) & 0xff8;
  }

  /** Which of 1 << SHARE_BITS kinds: those below Cpu.writes are stores, so many as Cpu.fetches behind them fetches, the others loads. */
  @inline static share(seed: u64): u32 {
    return <u32>(seed >> 22) & ((1 << SHARE_BITS) - 1);
  }
}
