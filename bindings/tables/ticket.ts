import { checkOptions, checkWord, type OptionKinds } from "../core/check.js";
import { invalid } from "../core/errors.js";
import type { Ipa } from "../model/address.js";
import type { Granule } from "../model/granule.js";
import type { Format } from "./entry.js";
import type { MmOps } from "./hooks.js";

/** A table as another walker of its engine gets it; can be posted to a worker. */
export interface TableTicket {
  /** Which engine it is in, as its tickets say. */
  engine: string;
  /** True for EL2's own stage 1. */
  hyp: boolean;
  /** The core's name of the table. */
  handle: number;
  /** Page size in bytes. */
  granule: Granule;
  /** @internal */
  format: Format;
  /** @internal Operations that the table replaces. */
  hooks: number;
  /** VTCR_EL2; 0n for EL2's own stage 1. */
  vtcr: bigint;
  /** Whether ranges must be whole pages, as `TableConfig.strict` says. */
  strict: boolean;
}

/**
 * What a walker brings for a table that another one made: functions are of one thread, so each walker has its own.
 *
 * @example
 * ```ts
 * import { createEngine, joinEngine, type MmOps } from "granule";
 * using engine = createEngine({ walkers: 2 });
 * const seen = new Int32Array(new SharedArrayBuffer(4)); // posted to the other thread, as a rule
 * const hooks: MmOps = { dcacheCleanInvalPoc: () => void Atomics.add(seen, 0, 1) };
 * using table = engine.createStage2({ fwb: false, hooks, maySleep: false });
 * using other = joinEngine(engine.ticket(1)); // on another thread, as a rule
 * const same = other.adopt(table.ticket(), { hooks, maySleep: false });
 * same.map(0x1000, 4096, 0x9000, "rw", { shared: true });
 * table.map(0x2000, 4096, 0xa000, "rw", { shared: true });
 * console.log(seen[0]); // 2
 * ```
 */
export interface AdoptOptions {
  /** The operations that the table replaces, all of them. */
  hooks?: MmOps;
  /** Decides for calls of this walker, once the table asks a function (`setForcePte`). Stage 2 only. */
  forcePte?: (start: Ipa, end: Ipa, prot: number) => boolean;
  /** As of `TableConfig`: functions that may sleep are refused. Default true. */
  maySleep?: boolean;
}

/** @internal What `AdoptOptions` has. */
export const ADOPT: OptionKinds<AdoptOptions> = { hooks: "any", forcePte: "any", maySleep: "boolean" };

const TICKET: OptionKinds<TableTicket> = {
  engine: "any",
  hyp: "boolean",
  handle: "number",
  granule: "number",
  format: "object",
  hooks: "number",
  vtcr: "address",
  strict: "boolean",
};

/** @internal Is this a ticket of the engine `id`? EINVAL otherwise. */
export function checkTableTicket(ticket: TableTicket, id: string): void {
  const { engine, hyp, handle, format, hooks, vtcr, strict } = checkOptions("adopt", ticket, TICKET);
  const whole = engine !== undefined && hyp !== undefined && handle !== undefined && format !== undefined;
  if (!whole || hooks === undefined || vtcr === undefined || strict === undefined)
    throw invalid("adopt", "this is not a ticket: `table.ticket()` makes one");
  if (engine !== id) throw invalid("adopt", "the ticket of another engine cannot be used here");
  checkWord("adopt", "the ticket's handle", handle);
}
