/**
 * The adapters of the JavaScript peers.
 *
 * Each peer has a class of its own: if both ran through the same loops, V8 would see two types at each call in them, and
 * the calls of both would be slower.
 *
 * @module
 */
import { NaivePeer } from "../peers/naive.js";
import { PAGE_SIZE, type Peer, PROT_R, PROT_W } from "../peers/peer.js";
import { TypedPeer } from "../peers/typed.js";
import type { AddressBatch } from "../random.js";
import type { EngineAdapter } from "./adapter.js";
import type { CallId, CallLoops, CallPages } from "./calls.js";

const READ_WRITE = PROT_R | PROT_W;
/** Bits 47:32 of an output address, in the high word of a descriptor. */
const OUTPUT_HIGH = 0xffff;

/** The calls that a peer already has in the right form. */
abstract class PeerAdapter<P extends Peer> {
  readonly shared: boolean = false;
  protected readonly engine: P;

  constructor(engine: P) {
    this.engine = engine;
  }

  get peer(): string {
    return this.engine.name;
  }

  reset(): void {
    this.engine.reset();
  }

  map(ipa: number, size: number, pa: number, prot: number, forcePages: boolean): number {
    return this.engine.map(ipa, size, pa, prot, forcePages);
  }

  unmap(ipa: number, size: number): number {
    return this.engine.unmap(ipa, size);
  }

  wrprotect(ipa: number, size: number): number {
    return this.engine.wrprotect(ipa, size);
  }

  testClearYoung(ipa: number, size: number, clear: boolean): number {
    return this.engine.testClearYoung(ipa, size, clear);
  }

  split(ipa: number, size: number, chunk: number): number {
    let status = 0;
    for (let at = ipa; at < ipa + size && status === 0; at += chunk) status = this.engine.split(at, chunk);
    return status;
  }

  countLeaves(ipa: number, size: number): number {
    return this.engine.countLeaves(ipa, size);
  }

  tableBytes(): number {
    return this.engine.counters().tables * PAGE_SIZE;
  }

  digest(): string {
    return this.engine.digest();
  }
}

/** The plain TypeScript engine. */
export class TypedAdapter extends PeerAdapter<TypedPeer> implements EngineAdapter {
  #calls: CallLoops | undefined;

  constructor(arenaPages?: number) {
    super(new TypedPeer(arenaPages));
  }

  faultBatch(order: Uint32Array, ipa: number, pa: number, prot: number): number {
    const engine = this.engine;
    let failed = 0;
    for (let i = 0; i < order.length; i++) {
      const offset = order[i]! * PAGE_SIZE;
      failed |= engine.map(ipa + offset, PAGE_SIZE, pa + offset, prot, false);
    }
    return failed;
  }

  relaxBatch(order: Uint32Array, ipa: number, prot: number): number {
    const engine = this.engine;
    let failed = 0;
    for (let i = 0; i < order.length; i++) failed |= engine.relax(ipa + order[i]! * PAGE_SIZE, prot);
    return failed;
  }

  lookupBatch({ bytes }: AddressBatch): number {
    const engine = this.engine;
    let sum = 0;
    for (let i = 0; i < bytes.length; i++) sum = (sum + engine.lookup(bytes[i]!) + engine.foundLevel) | 0;
    return sum >>> 0;
  }

  /** These engines have their visitor alone. */
  readLeaves(ipa: number, size: number): number {
    return this.visitLeaves(ipa, size);
  }

  visitLeaves(ipa: number, size: number): number {
    let valid = 0;
    this.engine.walkLeaves(ipa, size, (_address, _level, low) => {
      valid += low & 1;
    });
    return valid;
  }

  calls(): CallLoops {
    this.#calls ??= new TypedCalls();
    return this.#calls;
  }
}

/** Table pages that the calls need: those of 16 MiB, and some. */
const CALL_ARENA_PAGES = 64;

/** The plain TypeScript engine called once for each operation. */
class TypedCalls implements CallLoops {
  readonly #engine = new TypedPeer(CALL_ARENA_PAGES);
  #pages: CallPages | undefined;
  #ipas: Float64Array = new Float64Array(0);
  #pas: Float64Array = new Float64Array(0);

  stage(pages: CallPages, mapped: boolean): void {
    if (this.#pages !== pages) this.#begin(pages);
    const engine = this.#engine;
    for (let i = 0; i < this.#ipas.length; i++) {
      if (mapped) engine.map(this.#ipas[i]!, PAGE_SIZE, this.#pas[i]!, READ_WRITE, false);
      else engine.unmap(this.#ipas[i]!, PAGE_SIZE);
    }
  }

  #begin(pages: CallPages): void {
    const { ipa, pa, offsets, kept } = pages;
    this.#pages = pages;
    this.#ipas = offsets.map((at) => ipa + at);
    this.#pas = offsets.map((at) => pa + at);
    for (const at of kept) this.#engine.map(ipa + at, PAGE_SIZE, pa + at, READ_WRITE, false);
  }

  loop(id: CallId): (() => number) | undefined {
    return this.#loops[id];
  }

  readonly #loops: Readonly<Partial<Record<CallId, () => number>>> = {
    "call-map": () => {
      const ipas = this.#ipas;
      const pas = this.#pas;
      const engine = this.#engine;
      let all = 0;
      for (let i = 0; i < ipas.length; i++) all |= engine.map(ipas[i]!, PAGE_SIZE, pas[i]!, READ_WRITE, false);
      return all;
    },
    "call-unmap": () => {
      const ipas = this.#ipas;
      const engine = this.#engine;
      let all = 0;
      for (let i = 0; i < ipas.length; i++) all |= engine.unmap(ipas[i]!, PAGE_SIZE);
      return all;
    },
    "call-leaf": () => {
      const ipas = this.#ipas;
      const engine = this.#engine;
      let sum = 0;
      for (let i = 0; i < ipas.length; i++) {
        const low = engine.lookup(ipas[i]!) & -PAGE_SIZE;
        sum = (sum + low + (engine.foundHigh & OUTPUT_HIGH) * 2 ** 32) | 0;
      }
      return sum;
    },
    "call-relax": () => {
      const ipas = this.#ipas;
      const engine = this.#engine;
      let all = 0;
      for (let i = 0; i < ipas.length; i++) all |= engine.relax(ipas[i]!, READ_WRITE);
      return all;
    },
    "call-wrprotect": () => {
      const ipas = this.#ipas;
      const engine = this.#engine;
      let all = 0;
      for (let i = 0; i < ipas.length; i++) all |= engine.wrprotect(ipas[i]!, PAGE_SIZE);
      return all;
    },
  };
}

/** The naive engine on bigint. */
export class NaiveAdapter extends PeerAdapter<NaivePeer> implements EngineAdapter {
  constructor() {
    super(new NaivePeer());
  }

  faultBatch(order: Uint32Array, ipa: number, pa: number, prot: number): number {
    let failed = 0;
    for (const page of order) {
      const offset = page * PAGE_SIZE;
      failed |= this.engine.map(ipa + offset, PAGE_SIZE, pa + offset, prot, false);
    }
    return failed;
  }

  relaxBatch(order: Uint32Array, ipa: number, prot: number): number {
    let failed = 0;
    for (const page of order) failed |= this.engine.relax(ipa + page * PAGE_SIZE, prot);
    return failed;
  }

  lookupBatch({ bytes }: AddressBatch): number {
    let sum = 0;
    for (const address of bytes) sum = (sum + this.engine.lookup(address) + this.engine.foundLevel) | 0;
    return sum >>> 0;
  }

  /** These engines have their visitor alone. */
  readLeaves(ipa: number, size: number): number {
    return this.visitLeaves(ipa, size);
  }

  visitLeaves(ipa: number, size: number): number {
    let valid = 0;
    this.engine.walkLeaves(ipa, size, (_address, _level, low) => {
      valid += low & 1;
    });
    return valid;
  }
}
