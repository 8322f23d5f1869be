// Small numbers side by side, compared many at once: a byte or a u32 for each entry of a TLB. They belong to one thread, so that
// nothing here is atomic.

/** Bytes that are compared at once. */
export const LANES: u32 = 16;
const FOUR: usize = 16;
const WORD: usize = 4;

@final
@unmanaged
export class Lanes {
  /** A bit for each of the LANES bytes at `p`, of which the first `n` count, that is `byte`. LANES bytes are in memory. */
  @inline static equal(p: usize, n: u32, byte: u32): u32 {
    const found = i8x16.bitmask(i8x16.eq(v128.load(p), i8x16.splat(<i8>byte)));
    return n < LANES ? found & ((1 << n) - 1) : found;
  }

  @inline static setByte(p: usize, byte: u32): void {
    store<u8>(p, <u8>byte);
  }

  /** The u32 at `p`, aligned or not. */
  @inline static word(p: usize): u32 {
    return load<u32>(p);
  }

  @inline static setWord(p: usize, word: u32): void {
    store<u32>(p, word);
  }
}

/** The least of `now` - word over the words from `p` up to `end`; u32.MAX_VALUE for none. */
export function leastSince(p: usize, end: usize, now: u32): u32 {
  if (end - p < FOUR) {
    let least = u32.MAX_VALUE;
    for (; p !== end; p += WORD) least = min(least, now - load<u32>(p));
    return least;
  }
  const last = end - FOUR,
    all = i32x4.splat(now);
  // The last four may overlap those before them.
  let least = i32x4.sub(all, v128.load(last));
  for (; p < last; p += FOUR) least = i32x4.min_u(least, i32x4.sub(all, v128.load(p)));
  least = i32x4.min_u(least, v128.shuffle<i32>(least, least, 2, 3, 0, 1));
  return i32x4.extract_lane(i32x4.min_u(least, v128.shuffle<i32>(least, least, 1, 0, 3, 2)), 0);
}
