import { checkOptions, checkWord, type OptionKinds } from "../core/check.js";
import { invalid } from "../core/errors.js";
import type { Granule } from "../model/granule.js";
import type { Format } from "./entry.js";

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
  /** VTCR_EL2; 0n for EL2's own stage 1. */
  vtcr: bigint;
  /** Whether ranges must be whole pages, as `TableConfig.strict` says. */
  strict: boolean;
}

const TICKET: OptionKinds<TableTicket> = {
  engine: "any",
  hyp: "boolean",
  handle: "number",
  granule: "number",
  format: "object",
  vtcr: "address",
  strict: "boolean",
};

/** @internal Is this a ticket of the engine `id`? EINVAL otherwise. */
export function checkTableTicket(ticket: TableTicket, id: string): void {
  const { engine, hyp, handle, format, vtcr, strict } = checkOptions("adopt", ticket, TICKET);
  const whole = engine !== undefined && hyp !== undefined && handle !== undefined && format !== undefined;
  if (!whole || vtcr === undefined || strict === undefined)
    throw invalid("adopt", "this is not a ticket: `table.ticket()` makes one");
  if (engine !== id) throw invalid("adopt", "the ticket of another engine cannot be used here");
  checkWord("adopt", "the ticket's handle", handle);
}
