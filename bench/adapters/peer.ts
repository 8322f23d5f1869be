/**
 * The adapters of the JavaScript peers.
 *
 * Each peer has a class of its own: if both ran through the same loops, V8 would see two types at each call in them, and
 * the calls of both would be slower.
 *
 * @module
 */
import { NaivePeer } from "../peers/naive.js";
import { PAGE_SIZE, type Peer } from "../peers/peer.js";
import { TypedPeer } from "../peers/typed.js";
import type { AddressBatch } from "../random.js";
import type { EngineAdapter } from "./adapter.js";

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
