/** A linear memory as typed arrays, one of each for all views of it. */
export class Words {
  u32: Uint32Array;
  i32: Int32Array;
  u64: BigUint64Array;

  constructor(buffer: ArrayBufferLike) {
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
  }
}

/**
 * A record of the core in linear memory: the generated classes name its fields. One view serves many records, one after the
 * other: set `at`. Reading and writing go straight to memory; what a field may hold is the caller's matter.
 */
export abstract class View {
  protected readonly u32: Uint32Array;
  protected readonly i32: Int32Array;
  protected readonly u64: BigUint64Array;
  /** Index of the record's first 32-bit word, an even number: records are 8-byte aligned. */
  word: number;

  constructor({ u32, i32, u64 }: Words, pointer = 0) {
    this.u32 = u32;
    this.i32 = i32;
    this.u64 = u64;
    this.word = pointer >>> 2;
  }

  /** Where the record lies, in bytes. */
  get at(): number {
    return this.word * 4;
  }
  set at(pointer: number) {
    this.word = pointer >>> 2;
  }
}
