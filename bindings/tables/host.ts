import * as K from "../core/constants.generated.js";
import type { Host } from "../core/core.js";
import { RULES } from "../core/rules.generated.js";

/** One table's functions in the shape in which the core calls them. */
export interface TableHost {
  hook?: (op: number, a: number, wide: bigint, n: number) => number;
  forcePte?: (addr: bigint, end: bigint, prot: number) => boolean;
}

/** A visit in the shape in which the core makes it. */
export type RawVisit = (
  phase: number,
  level: number,
  addrLo: number,
  addrHi: number,
  oldLo: number,
  oldHi: number,
) => number;

/** A 64-bit value of its halves, signed or not. */
export function join(lo: number, hi: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
}

/**
 * The imports of one core instance: finds the table's functions, and keeps what they throw.
 * An exception must not unwind through the core, where a walk is under way: it ends the walk by an error
 * status, and is thrown again when the core has returned.
 */
export class Hosts implements Host {
  readonly tables: Map<number, TableHost> = new Map();
  /** Functions of a table that is being made and has no handle yet. */
  pending: TableHost | undefined;
  readonly visits: RawVisit[] = [];
  #thrown: { error: unknown } | undefined;

  /** Arrow properties: the core calls them without `this`. */
  hook = (op: number, table: number, a: number, lo: number, hi: number, n: number): number => {
    const host = this.tables.get(table >>> 0) ?? this.pending;
    return this.#guard(0, () => host?.hook?.(op, a >>> 0, join(lo, hi), n) ?? 0);
  };

  visit = (phase: number, level: number, addrLo: number, addrHi: number, oldLo: number, oldHi: number): number => {
    const visit = this.visits.at(-1);
    return this.#guard(K.EINVAL, () => visit?.(phase, level, addrLo, addrHi, oldLo, oldHi) ?? 0);
  };

  forcePte = (table: number, addrLo: number, addrHi: number, endLo: number, endHi: number, prot: number): number => {
    const host = this.tables.get(table >>> 0);
    return this.#guard(0, () => (host?.forcePte?.(join(addrLo, addrHi), join(endLo, endHi), prot) ? 1 : 0));
  };

  /** Says in words what is wrong when the debug core finds a rule broken; the engine puts its own here. */
  explain: (rule: number, table: number) => string = (rule, table) => `rule ${rule} is broken, table ${table}`;

  /** A broken rule is an error of the program: it unwinds through the core. */
  breach = (rule: number, table: number): void => {
    throw new Error(this.explain(rule, table >>> 0));
  };

  /** A broken precondition is a defect of the core: the stack says where. */
  demand = (rule: number): void => {
    throw new Error(`the core breaks its own rule ${RULES.get(rule) ?? rule} (see the stack)`);
  };

  /** Schedule points are for tests, which put a function of their own here. */
  point = (_kind: number, _pointer: number): void => {};

  #guard(otherwise: number, call: () => number): number {
    try {
      return call() | 0;
    } catch (error) {
      this.#thrown ??= { error };
      return otherwise;
    }
  }

  /** Throws what a function threw while the core ran. */
  rethrow(): void {
    const thrown = this.#thrown;
    if (!thrown) return;
    this.#thrown = undefined;
    throw thrown.error;
  }
}
