import * as K from "../core/constants.generated.js";
import type { ByteSource } from "./lines.js";

/** Accesses that a batch has room for at first. */
const ROOM = 1 << 14;

/**
 * Memory accesses as columns, one row each. A reader fills the same batch again and again: what is needed of it must be taken before
 * the next one.
 *
 * @example
 * ```ts
 * import { readAccesses } from "granule/trace";
 * const trace = new TextEncoder().encode("time,vcpu,kind,gpa\n0,0,w,0x1000\n");
 * for await (const { length, addresses, kinds } of readAccesses(trace)) console.log(length, addresses[0], kinds[0]); // 1 4096 1
 * ```
 */
export class AccessBatch {
  /** Rows that are filled. */
  length = 0;
  /** Byte addresses. Above 2^53 the lowest eleven bits are 0. */
  addresses: Float64Array = new Float64Array(ROOM);
  /** 0 for a load, 1 for a store, 2 for an instruction fetch: `Access` of granule/mmu. */
  kinds: Uint8Array = new Uint8Array(ROOM);
  /** Bytes of each; 1 where the trace does not say. */
  sizes: Uint32Array = new Uint32Array(ROOM);
  /** Threads in the order in which the trace names them first, from 0; vCPUs where the trace names vCPUs. */
  threads: Uint32Array = new Uint32Array(ROOM);

  /** @internal Adds a row. */
  add(address: number, kind: number, size: number, thread: number): void {
    const i = this.length++;
    if (i === this.kinds.length) this.#grow();
    this.addresses[i] = address;
    this.kinds[i] = kind;
    this.sizes[i] = size;
    this.threads[i] = thread;
  }

  #grow(): void {
    const room = 2 * this.kinds.length;
    this.addresses = holding(new Float64Array(room), this.addresses);
    this.kinds = holding(new Uint8Array(room), this.kinds);
    this.sizes = holding(new Uint32Array(room), this.sizes);
    this.threads = holding(new Uint32Array(room), this.threads);
  }
}

/** A larger column with what a smaller one holds. */
function holding<T extends { set(from: ArrayLike<number>): void }>(column: T, from: ArrayLike<number>): T {
  column.set(from);
  return column;
}

/** What a reader counts. */
export interface AccessStats {
  /** Lines, or records of a binary trace. */
  records: number;
  /** Accesses. */
  accesses: number;
  /** Lines that are no accesses and need not be: comments, markers, prefetches. */
  ignored: number;
  /** Lines that could not be read, when the reader is lenient. */
  malformed: number;
  /** Threads, or vCPUs. */
  threads: number;
}

/** Reads the accesses of a format: gives the same batch again and again. Throws a TraceError at what it cannot read, unless lenient. */
export type AccessFormatReader = (
  source: ByteSource,
  stats: AccessStats,
  lenient: boolean,
) => AsyncGenerator<AccessBatch, void, undefined>;

export const READ: number = K.A_READ;
export const WRITE: number = K.A_WRITE;
export const FETCH: number = K.A_FETCH;

const HIGH = 2 ** 32;
/** Above this a double has no room for the low bits: the high halves of addresses of 2^53 and more. */
const WIDE = 1 << 21;

/** The address of two unsigned halves. A double cannot hold the lowest bits of one above 2^53: they are cut, not rounded into the next page. */
export function addressOf(high: number, low: number): number {
  return high * HIGH + (high >= WIDE ? (low & ~0x7ff) >>> 0 : low);
}

/** Hex digits, 16 at most, as an address. NaN for anything else. */
export function hexAddress(digits: string): number {
  if (!/^[0-9a-f]{1,16}$/i.test(digits)) return Number.NaN;
  const at = Math.max(digits.length - 8, 0);
  return addressOf(at === 0 ? 0 : Number.parseInt(digits.slice(0, at), 16), Number.parseInt(digits.slice(at), 16));
}
