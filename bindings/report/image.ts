import { T_FWB, T_LPA2 } from "../core/constants.generated.js";
import { isTable } from "../core/descriptor.js";
import { invalid } from "../core/errors.js";
import { hex } from "../model/address.js";
import { LINUX_MAIR, paRangeCode } from "../model/registers.js";
import type { Stage2Table } from "../tables/stage2.js";
import type { Table } from "../tables/table.js";

/** What an independent MMU must be told to walk an image; the form of mmu-vectors' manifest.json. */
export interface ImageManifest {
  /** A guest's stage 2, or EL2's own stage 1. */
  stage: "stage2" | "hyp";
  /** Page size. */
  granule: "4K" | "16K" | "64K";
  /** Physical address of byte 0 of the image. */
  phys_base: string;
  /** How an MMU is meant to be asked: by address-translation instructions. */
  mode: "at";
  /** HCR_EL2.FWB. */
  fwb: boolean;
  /** VTCR_EL2 as `0x` and hex digits. Stage 2 only. */
  vtcr?: string;
  /** VTTBR_EL2, with VMID 0. Stage 2 only. */
  vttbr?: string;
  /** TCR_EL2. EL2 only. */
  tcr?: string;
  /** TTBR0_EL2. EL2 only. */
  ttbr0?: string;
  /** MAIR_EL2. EL2 only. */
  mair?: string;
}

/** A table's memory and its registers. */
export interface TableImage {
  /** What to load into the MMU's registers, and where the image lies. */
  manifest: ImageManifest;
  /** The table pages at their places, zeros between them. */
  image: Uint8Array;
  /** Table pages in it. */
  pages: number;
}

/** Physical addresses of all table pages, the start tables first. */
function tablePages(table: Table): bigint[] {
  const { engine, format } = table;
  const info = table.info();
  const pages = Array.from({ length: info.rootPages }, (_, i) => info.rootPa + BigInt(i * info.granule));
  const lpa2 = format.flags & T_LPA2 ? 1 : 0;
  for (const { descriptor, level } of table.scan({ tables: true })) {
    if (isTable(descriptor, level))
      pages.push(BigInt.asUintN(64, engine.core.outputAddress(format.ps, lpa2, descriptor)));
  }
  return pages;
}

function registers(table: Table): Partial<ImageManifest> {
  const { engine, format } = table;
  const info = table.info();
  if (!table.isHyp) {
    return {
      vtcr: hex((table as Stage2Table).vtcr),
      vttbr: hex(BigInt.asUintN(64, engine.core.vttbr(info.rootPa, 0, 0))),
    };
  }
  const paCode = paRangeCode(info.outputBits > 48 ? 52 : 48);
  const tcr = engine.core.tcrEl2(format.ps, info.inputBits, paCode, format.flags & T_LPA2 ? 1 : 0);
  // TTBR0_EL2 packs a 52-bit address as VTTBR_EL2 does.
  const ttbr0 = engine.core.vttbr(info.rootPa, 0, 0);
  return { tcr: hex(BigInt.asUintN(64, tcr)), ttbr0: hex(BigInt.asUintN(64, ttbr0)), mair: hex(LINUX_MAIR) };
}

/**
 * The memory of a table as an independent MMU can walk it: from its lowest table page to its highest, and the register
 * values. Memory between them that belongs to other tables is left out. EINVAL once the table is destroyed.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { tableImage } from "granule/report";
 * using engine = createEngine();
 * const table = engine.createStage2({ ipaBits: 40 });
 * table.map(0, 4096, 0x9000_0000, "r");
 * console.log(tableImage(table).pages); // 4: two start tables, one of level 2, one of level 3
 * ```
 */
export function tableImage(table: Table): TableImage {
  const info = table.info();
  if (info.rootPa === 0n) {
    throw invalid("tableImage", "the table is destroyed: there is nothing to walk");
  }
  const { engine } = table;
  const pages = tablePages(table);
  const base = pages.reduce((a, b) => (a < b ? a : b));
  const last = pages.reduce((a, b) => (a > b ? a : b));
  const image = new Uint8Array(Number(last - base) + info.granule);
  const arena = engine.image();
  for (const page of pages) {
    const from = Number(page - engine.physBase);
    image.set(arena.subarray(from, from + info.granule), Number(page - base));
  }
  const manifest: ImageManifest = {
    stage: table.isHyp ? "hyp" : "stage2",
    granule: `${info.granule / 1024}K` as ImageManifest["granule"],
    phys_base: hex(base),
    mode: "at",
    fwb: !table.isHyp && (table.format.flags & T_FWB) !== 0,
    ...registers(table),
  };
  return { manifest, image, pages: pages.length };
}
