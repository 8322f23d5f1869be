// The same tests run on every kind of CPU; the configuration is part of a test's title.

import type { Stage2Config, Stage2Table } from "../../bindings/index.js";
import { smallEngine } from "./tables.js";

/** Granule, address layout, FWB and range TLBI, in all the combinations that change what an operation does. */
export const CONFIGURATIONS: readonly (readonly [string, Stage2Config])[] = [
  ["4K", { granule: 4096, ipaBits: 39 }],
  ["4K, no FWB", { granule: 4096, ipaBits: 39, fwb: false }],
  ["4K, no range TLBI", { granule: 4096, ipaBits: 40, tlbiRange: false }],
  ["4K, LPA2", { granule: 4096, ipaBits: 48, lpa2: true }],
  ["4K, XNX, linux-6.12", { granule: 4096, ipaBits: 39, xnx: true, quirks: "linux-6.12" }],
  ["4K, HD", { granule: 4096, ipaBits: 39, hardwareDirty: true }],
  ["16K", { granule: 16384, ipaBits: 36 }],
  ["16K, LPA2, no FWB", { granule: 16384, ipaBits: 36, lpa2: true, fwb: false }],
  ["64K", { granule: 65536, ipaBits: 42 }],
  ["64K, no FWB, no range TLBI", { granule: 65536, ipaBits: 42, fwb: false, tlbiRange: false }],
];

/** A table in an engine of its own, with its page and block size. */
export function made(config: Stage2Config): { table: Stage2Table; page: number; block: number } {
  const engine = smallEngine({ arenaBytes: 16 << 20, journalRecords: 1 << 15 });
  const page = config.granule ?? 4096;
  return { table: engine.createStage2(config), page, block: page * (page / 8) };
}
