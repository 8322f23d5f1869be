// What a vCPU does: a stream of accesses that depends on its seed and its settings alone.

import { A_FETCH, A_READ, A_WRITE } from "../mmu/walk";
import { Cpu, PATTERN_SEQUENTIAL } from "./machine";

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

  /** The address of the access at hand. */
  @inline static address(cpu: Cpu, seed: u64): u64 {
    const within = (seed >> 10) & 0xff8;
    if (cpu.pattern === PATTERN_SEQUENTIAL) {
      const page = cpu.cursor,
        next = page + cpu.stride;
      cpu.cursor = next < cpu.pages ? next : next - cpu.pages;
      return cpu.base + ((<u64>page) << cpu.ps) + within;
    }
    return cpu.base + ((((seed >> 32) * cpu.pages) >> 32) << cpu.ps) + within;
  }

  /** A_READ, A_WRITE or A_FETCH. */
  @inline static kind(cpu: Cpu, seed: u64): u32 {
    const share = <u32>(seed >> 22) & ((1 << SHARE_BITS) - 1);
    if (share < cpu.writes) return A_WRITE;
    return share < cpu.writes + cpu.fetches ? A_FETCH : A_READ;
  }
}
