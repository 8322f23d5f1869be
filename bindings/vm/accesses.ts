import { describe } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import { lowOf, maskOf } from "../core/field.js";
import type { Engine } from "../tables/engine.js";

const WORD = 8;
const HIGH = 2 ** 32;
const MAX_ADDRESS = 2 ** 52;
const MAX_CAPACITY = 1 << 17;
const KIND_SHIFT = lowOf(K.RECORDED_KIND) - 32;
const CPU_SHIFT = lowOf(K.RECORDED_CPU) - 32;
const CPU_MASK = Number(maskOf(K.RECORDED_CPU) >> BigInt(lowOf(K.RECORDED_CPU)));

/**
 * Recorded accesses, packed for the core: one word each, in the engine's memory. Fill it, let `vm.perform` do them all in one call,
 * fill it again. Make one with `vm.createAccesses`.
 *
 * @example
 * ```ts
 * import { Access } from "granule/mmu";
 * import { createVm } from "granule/vm";
 * using vm = createVm({ cpus: 2 });
 * vm.addSlot({ gpa: 0, size: 2 << 20, backing: "4k" });
 * const accesses = vm.createAccesses(1024);
 * accesses.push(0x1000, Access.WRITE);
 * accesses.push(0x1008, Access.READ, 1); // of vCPU 1
 * vm.perform(accesses);
 * console.log(accesses.length, vm.stats().map((cpu) => cpu.translationFaults)); // 0 [ 1, 0 ]
 * ```
 */
export class AccessBuffer {
  /** How many it holds at most. */
  readonly capacity: number;
  /** @internal Where its words are. */
  readonly pointer: number;
  /** @internal Whose memory that is. */
  readonly engine: Engine;
  readonly #words: Uint32Array;
  readonly #cpus: number;
  #length = 0;

  /** @internal Use `vm.createAccesses`. */
  constructor(engine: Engine, capacity: number, cpus: number) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_CAPACITY) {
      throw invalid("createAccesses", `capacity is ${describe(capacity)}: 1 to ${MAX_CAPACITY}`);
    }
    this.capacity = capacity;
    this.engine = engine;
    this.pointer = engine.takeBlock(capacity * WORD);
    this.#words = engine.u32.subarray(this.pointer / 4, this.pointer / 4 + 2 * capacity);
    this.#cpus = cpus;
  }

  /** How many it holds. */
  get length(): number {
    return this.#length;
  }

  /**
   * Adds an access: guest physical address, `Access.READ`, `WRITE` or `FETCH` of granule/mmu, and the vCPU. True while there is room
   * for another. EINVAL for what is no such thing, and for more than the capacity.
   */
  push(gpa: number, kind: number, cpu = 0): boolean {
    const at = this.#length;
    if (at >= this.capacity) throw invalid("push", `there is no room: ${this.capacity} accesses at most`);
    if (!(gpa >= 0 && gpa < MAX_ADDRESS && Number.isInteger(gpa))) {
      throw invalid("push", `gpa is ${describe(gpa)}: a whole number below 2^52`);
    }
    if (kind !== K.A_READ && kind !== K.A_WRITE && kind !== K.A_FETCH) {
      throw invalid("push", `kind is ${describe(kind)}: Access.READ, Access.WRITE or Access.FETCH`);
    }
    if (!(cpu >= 0 && cpu < this.#cpus && Number.isInteger(cpu))) {
      throw invalid("push", `cpu is ${describe(cpu)}: 0 to ${this.#cpus - 1}`);
    }
    this.#words[2 * at] = gpa;
    this.#words[2 * at + 1] = (gpa / HIGH) | (cpu << CPU_SHIFT) | (kind << KIND_SHIFT);
    this.#length = at + 1;
    return this.#length < this.capacity;
  }

  /** @internal The vCPU of access `i`. */
  cpuOf(i: number): number {
    return ((this.#words[2 * i + 1] as number) >>> CPU_SHIFT) & CPU_MASK;
  }

  /** Forgets what it holds. */
  clear(): void {
    this.#length = 0;
  }
}
