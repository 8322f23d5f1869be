import { checkOptions, type OptionKinds } from "../core/check.js";
import { TTL_UNKNOWN } from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import { type Ipa, type IpaLike, toAddress } from "../model/address.js";
import { type Granule, granuleShift } from "../model/granule.js";
import type { EngineMemory } from "./memory.js";

/** One TLBI instruction of a series: a range operation, or one by address. */
export interface TlbiOperation {
  /** A range operation, or one by address. */
  kind: "range" | "single";
  /** First address that it covers. */
  address: Ipa;
  /** Pages that it covers. */
  pages: number;
  /** SCALE of a range operation, 0 otherwise. */
  scale: number;
  /** NUM of a range operation, 0 otherwise. */
  num: number;
  /** The 64-bit operand. */
  operand: bigint;
}

/** What is flushed, and what the CPU has. */
export interface TlbiRange {
  /** Page size in bytes. Default 4096. */
  granule?: Granule;
  /** Rounded down to a page. */
  address: IpaLike;
  /** 1..2^21 [TLB-9]. */
  pages: number;
  /** Level hint (TTL), when known. */
  level?: number;
  /** FEAT_LPA2 is in use: operands of ranges count 64 KiB. Default false. */
  lpa2?: boolean;
  /** Are there range instructions? Default true. */
  ranged?: boolean;
}

const RANGE: OptionKinds<TlbiRange> = {
  granule: "number",
  address: "address",
  pages: "number",
  level: "number",
  lpa2: "boolean",
  ranged: "boolean",
};

/**
 * The instructions that flush a range of stage-2 addresses, as Linux issues them [TLB-5..10].
 * EINVAL for no pages, or for more than one series covers.
 *
 * @example
 * ```ts
 * import { createEngine, tlbiOperations } from "granule";
 * using engine = createEngine();
 * const series = tlbiOperations(engine, { address: 0x4000_0000, pages: 513 });
 * console.log(series.map((op) => `${op.kind} ${op.pages}`).join()); // range 512,single 1
 * ```
 */
export function tlbiOperations(engine: EngineMemory, range: TlbiRange): TlbiOperation[] {
  engine.assertOpen("tlbiOperations");
  checkOptions("tlbiOperations", range, RANGE);
  if (!Number.isInteger(range.pages) || range.pages < 1 || range.pages > 2 ** 21) {
    throw invalid("tlbiOperations", `${range.pages} pages: a series covers 1..2^21`);
  }
  const ps = granuleShift(range.granule ?? 4096);
  const operations: TlbiOperation[] = [];
  let address = (toAddress(range.address, "tlbiOperations") >> BigInt(ps)) << BigInt(ps);
  let left = range.pages;
  let scale = 3;
  while (left > 0) {
    const { core } = engine;
    const level = range.level ?? TTL_UNKNOWN;
    const status = core.tlbiRangeStep(
      ps,
      address,
      BigInt(left),
      scale,
      level,
      range.lpa2 ? 1 : 0,
      (range.ranged ?? true) ? 1 : 0,
    );
    engine.check(status, "tlbiOperations");
    const step = engine.results.rangeStep;
    const pages = Number(step.pages);
    operations.push({
      kind: step.scale < 0 ? "single" : "range",
      address: address as Ipa,
      pages,
      scale: Math.max(step.scale, 0),
      num: step.num,
      operand: step.operand,
    });
    address += BigInt(pages) << BigInt(ps);
    left -= pages;
    scale = step.next;
  }
  return operations;
}
