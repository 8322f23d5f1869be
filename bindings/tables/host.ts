import * as K from "../core/constants.generated.js";
import type { Host } from "../core/core.js";
import { GranuleError } from "../core/errors.js";
import { BREACHES, RULES } from "../core/rules.generated.js";

/** One table's functions in the shape in which the core calls them. */
export interface TableHost {
  hook?: (op: number, a: number, wide: bigint, n: number) => number;
  forcePte?: (addr: bigint, end: bigint, prot: number) => boolean;
  /** Operations that `hook` has, one bit each as in assembly/table/mmops.ts. */
  mask: number;
  /** May one of the functions wait for something? */
  maySleep: boolean;
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

/** The function of the core that stands first in a stack, below `demand` itself: `assembly/arch/granule/shift`. */
function wasmFrame(stack = ""): string {
  const frames = stack.split("\n").filter((line) => line.includes("wasm"));
  const frame = frames.find((line) => !line.includes("/demand/demand")) ?? "";
  return /\bat ([\w/.]+)/.exec(frame)?.[1] ?? "the core";
}

/** Has a walker all functions of a table that replaces the operations of `mask` and forces pages as `force` says? And none may sleep? */
function serves(host: TableHost | undefined, mask: number, force: number): boolean {
  if (!host || host.maySleep || (host.mask & mask) !== mask) return false;
  return force !== K.FORCE_HOST || host.forcePte !== undefined;
}

/** A walk with a visitor from outside. */
export interface VisitInProgress {
  /** Handle of the table. */
  readonly table: number;
  readonly visit: RawVisit;
  /** What the visitor is given. */
  readonly context: object;
}

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
  readonly visits: VisitInProgress[] = [];
  /** Tables whose hook is running, the innermost last: the core is in the middle of an operation on each. */
  readonly #running: number[] = [];
  #thrown: { error: unknown } | undefined;

  /** Arrow properties: the core calls them without `this`. */
  hook = (op: number, table: number, a: number, lo: number, hi: number, n: number): number => {
    const host = this.tables.get(table >>> 0) ?? this.pending;
    if (op === K.HOOK_SERVED) return serves(host, lo, hi) ? 1 : 0;
    return this.#guard(table, 0, () => host?.hook?.(op, a >>> 0, join(lo, hi), n) ?? 0);
  };

  visit = (phase: number, level: number, addrLo: number, addrHi: number, oldLo: number, oldHi: number): number => {
    const walk = this.visits.at(-1);
    if (!walk) return K.EINVAL;
    try {
      return walk.visit(phase, level, addrLo, addrHi, oldLo, oldHi) | 0;
    } catch (error) {
      this.#thrown ??= { error };
      return K.EINVAL;
    }
  };

  forcePte = (table: number, addrLo: number, addrHi: number, endLo: number, endHi: number, prot: number): number => {
    const host = this.tables.get(table >>> 0);
    return this.#guard(table, 0, () => (host?.forcePte?.(join(addrLo, addrHi), join(endLo, endHi), prot) ? 1 : 0));
  };

  /** How long a walker has waited: a test puts a clock of its own here. */
  clock = (): number => performance.now();

  /** Says in words what is wrong when the debug core finds a rule broken; the engine puts its own here. */
  explain: (rule: number, table: number) => string = (rule, table) =>
    `${BREACHES.get(rule)?.[1] ?? `rule ${rule}`}, table ${table}`;

  /** A broken rule is an error of the program: it unwinds through the core. */
  breach = (rule: number, table: number): void => {
    throw new Error(this.explain(rule, table >>> 0));
  };

  /** A broken precondition is a defect of the core: the message says which rule and where. */
  demand = (rule: number): void => {
    const [name, words] = RULES.get(rule) ?? [`rule ${rule}`, "a rule that this version has no name for"];
    const error = new Error(`the core breaks its own rule ${name}`);
    error.message = `the core breaks its own rule ${name} in ${wasmFrame(error.stack)}: ${words}`;
    throw error;
  };

  /** Schedule points are for tests, which put a function of their own here. */
  point = (_kind: number, _pointer: number): void => {};

  #guard(table: number, otherwise: number, call: () => number): number {
    this.#running.push(table >>> 0);
    try {
      return call() | 0;
    } catch (error) {
      this.#thrown ??= { error };
      return otherwise;
    } finally {
      this.#running.pop();
    }
  }

  /** EBUSY (thrown) while a visitor or hook of the table runs, or of any table: the walk still needs the table. */
  assertIdle(operation: string, table?: number): void {
    const busy = [...this.#running, ...this.visits.map((walk) => walk.table)];
    if (table === undefined ? busy.length === 0 : !busy.includes(table)) return;
    const whose = table === undefined ? "a table" : "this table";
    throw new GranuleError(K.EBUSY, {
      operation,
      hint: `a visitor or hook of ${whose} is running: wait until the walk ends`,
    });
  }

  /** Throws what a function threw while the core ran. */
  rethrow(): void {
    const thrown = this.#thrown;
    if (!thrown) return;
    this.#thrown = undefined;
    throw thrown.error;
  }
}
