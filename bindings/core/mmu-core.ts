import { type CoreSource, compile } from "./core.js";

/** The functions that the hardware's walker exports; see assembly/mmu.ts. u32 results come signed. */
export interface MmuCore {
  /** Decodes the registers of the context at a pointer; 0 or EINVAL. */
  mmuConfigure(context: number): number;
  /** Translates one access into the record at `out`: 0, 1 for a fault, or EINVAL. */
  mmuTranslate(context: number, lo: number, hi: number, access: number, out: number): number;
  /** Translates a column of addresses into rows of 16 bytes: how many were faults, or EINVAL. */
  mmuTranslateMany(context: number, addresses: number, rows: number, n: number, access: number): number;
  /** Makes a TLB of a block whose header is filled in; assembly/mmu/tlb.ts draws it. */
  mmuTlb(tlb: number, bytes: number): number;
  /** One access through a TLB, its record at `out`. */
  mmuAccess(context: number, tlb: number, lo: number, hi: number, access: number, out: number): number;
  /** Many accesses of one kind through a TLB; the number of faults. */
  mmuAccessMany(context: number, tlb: number, addresses: number, rows: number, n: number, access: number): number;
  /** Fills the TLB by a speculative read. */
  mmuSpeculate(context: number, tlb: number, lo: number, hi: number): number;
  /** A TLBI of CPU `issuer` arrives at a TLB; assembly/mmu/invalidate.ts draws `form`. */
  mmuTlbi(tlb: number, issuer: number, form: number, lo: number, hi: number, vmid: number): number;
  /** The DSB of CPU `issuer` waits for a TLB: 0 its own TLBIs, 1 inner shareable, 2 outer. */
  mmuDsb(tlb: number, issuer: number, domain: number): number;
}

/** One instance of the walker on `memory`. */
export function instantiateMmu(source: CoreSource, memory: WebAssembly.Memory): MmuCore {
  return new WebAssembly.Instance(compile(source), { env: { memory } }).exports as unknown as MmuCore;
}
