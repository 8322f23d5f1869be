import * as K from "../core/constants.generated.js";
import { get } from "../core/field.js";
import { toAddress } from "../model/address.js";
import type { Granule } from "../model/granule.js";
import type { Stage2Config } from "../tables/stage2.js";
import type { Manifest, S2RawDump } from "../trace/index.js";

/** What a caller may say about the machine. A dump header and a manifest take precedence. */
export interface GeometryOptions {
  granule?: Granule | undefined;
  ipaBits?: number | undefined;
  lpa2?: boolean | undefined;
  fwb?: boolean | undefined;
}

/** Shape of the tables that a replay builds, and where it comes from. */
export interface Geometry {
  readonly granule: Granule;
  readonly ipaBits: number;
  readonly lpa2: boolean;
  readonly fwb: boolean;
  readonly rangeTlbi: boolean;
  readonly annotations: "6.12" | "7.x";
  /** VTCR_EL2 of the recorded machine, where a dump tells it. */
  readonly vtcr: bigint | undefined;
  readonly source: "dump" | "manifest" | "options" | "defaults";
}

const DEFAULT_IPA_BITS = 40;
/**
 * Was forced write-back on? The memory types of the leaves of a dump tell; `undefined` when none is normal memory.
 */
export function fwbOf(dump: S2RawDump): boolean | undefined {
  for (const leaf of dump.leaves()) {
    const type = get(leaf.descriptor, K.S2_ATTR);
    if (type === K.FORCED_WRITE_BACK) return true;
    if (type === K.S2_ATTR_NORMAL) return false;
  }
  return undefined;
}

/** Bits of the address space that a VM was given: in the marker of KVM_CREATE_VM, 0 stands for 40. */
export function ipaBitsOfMachine(machine: number): number {
  return machine % 256 || DEFAULT_IPA_BITS;
}

/** The smallest IPA size that holds all slots, but at least 40: a VMM that does not say asks for that. */
function ipaBitsOfSlots(manifest: Manifest): number {
  let top = 0;
  for (const { gpa, size, rc } of manifest.slotCalls) if (rc === 0) top = Math.max(top, gpa + size);
  return Math.max(DEFAULT_IPA_BITS, Math.ceil(Math.log2(Math.max(top, 1))));
}

/** Is the dump of another VM than the trace? A CPU may have had another VM's table loaded. */
export function isForeign(dump: S2RawDump, ipaBits: number | undefined): boolean {
  return ipaBits !== undefined && dump.geometry.iaBits !== ipaBits;
}

/** nVHE hosts invalidate at EL2, where no probe sees it: there, the CPU's feature decides. */
function usesRangeTlbi(manifest: Manifest | undefined): boolean {
  if (!manifest) return true;
  return manifest.features.vhe ? manifest.features.rangeTlbiSeen : manifest.features.rangeTlbi;
}

/**
 * Finds out the shape of the tables: from the header of a dump of the running kernel, else from the manifest of the
 * capture, else from options, else from defaults (4K, 40 bits, forced write-back).
 */
export function chooseGeometry(
  dumps: readonly S2RawDump[],
  manifest: Manifest | undefined,
  options: GeometryOptions,
): Geometry {
  const dump = dumps.find((d) => !isForeign(d, manifest?.ipaBits)) ?? dumps[0];
  const said = Object.values(options).some((value) => value !== undefined);
  const granule = (dump?.geometry.granule ?? manifest?.granule ?? options.granule ?? 4096) as Granule;
  const lpa2 = dump?.geometry.ds ?? manifest?.features.lpa2 ?? options.lpa2 ?? false;
  const measured = dumps.map(fwbOf).find((fwb) => fwb !== undefined);
  const slotBits = manifest && ipaBitsOfSlots(manifest);
  return {
    granule,
    ipaBits: dump?.geometry.iaBits ?? manifest?.ipaBits ?? options.ipaBits ?? slotBits ?? DEFAULT_IPA_BITS,
    lpa2: lpa2 && granule !== 65536,
    fwb: measured ?? manifest?.features.fwb ?? options.fwb ?? true,
    rangeTlbi: usesRangeTlbi(manifest),
    annotations: (manifest?.version[0] ?? 6) >= 7 ? "7.x" : "6.12",
    vtcr: dump?.registers.get("VTCR_EL2"),
    source: dump ? "dump" : manifest ? "manifest" : said ? "options" : "defaults",
  };
}

/** Configuration of the tables of a geometry. */
export function tableConfig(geometry: Geometry, quirks: "none" | "linux-6.12"): Stage2Config {
  const { granule, ipaBits, lpa2, fwb, rangeTlbi, annotations, vtcr } = geometry;
  const wide = lpa2 || granule === 65536;
  return {
    granule,
    lpa2,
    fwb,
    tlbiRange: rangeTlbi,
    annotations,
    quirks,
    strict: false, // a recording says what the kernel was asked
    ...(vtcr === undefined ? { ipaBits, paBits: wide ? 52 : 48 } : { vtcr: toAddress(vtcr, "replay") }),
  };
}
