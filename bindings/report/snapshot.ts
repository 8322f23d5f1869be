import * as K from "../core/constants.generated.js";
import { span } from "../core/granule.js";
import { type Granule, granuleShift } from "../model/granule.js";
import type { Table } from "../tables/table.js";
import { type LeafTable, leafTable } from "./leaf-runs.js";
import type { Snapshot, TreeSection } from "./story.js";

/**
 * How the descriptors of a table are read.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { treeFormat } from "granule/report";
 * using engine = createEngine();
 * console.log(treeFormat(engine.createStage2({ granule: 16384 })).startLevel); // 2
 * ```
 */
export function treeFormat(table: Table): TreeSection["format"] {
  const { granule, startLevel, inputBits } = table.info();
  const has = (flag: number) => (table.format.flags & flag) !== 0;
  const [lpa2, fwb, hvhe] = [has(K.T_LPA2), has(K.T_FWB), has(K.T_HVHE)];
  return { stage: table.isHyp ? "hyp" : "2", granule, lpa2, fwb, hvhe, startLevel, inputBits };
}

/**
 * The mappings of a table at this moment, for a {@link TreeSection}.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { tableSnapshot } from "granule/report";
 * using engine = createEngine();
 * const table = engine.createStage2();
 * table.map(0x4000_0000, 2 << 20, 0x8000_0000, "rw");
 * console.log(tableSnapshot(table, "mapped").runs); // [ 262144, 1, 2, 524288, 0 ]
 * ```
 */
export function tableSnapshot(table: Table, label: string): Snapshot {
  const format = treeFormat(table);
  return snapshotOf(leafTable(table.leaves(), format), format.granule, label, table.info().pages);
}

/** The same of mappings from anywhere; `pages` is the number of table pages. */
export function snapshotOf({ runs: all }: LeafTable, granule: Granule, label: string, pages: number): Snapshot {
  const ps = granuleShift(granule),
    page = 1n << BigInt(ps);
  const attributes: string[] = [];
  const index = new Map<bigint, number>();
  const runs: number[] = [];
  let end = 0n;
  for (const run of all) {
    let kind = index.get(run.attributes);
    if (kind === undefined) {
      kind = attributes.push(`0x${run.attributes.toString(16)}`) - 1;
      index.set(run.attributes, kind);
    }
    const leaf = span(ps, run.level);
    runs.push(Number((run.start - end) / page), Number((run.end - run.start) / leaf), run.level);
    runs.push(Number((run.pa ?? 0n) / page), kind);
    end = run.end;
  }
  return { label, attributes, runs, pages };
}
