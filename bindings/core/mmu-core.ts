import { type CoreSource, compile } from "./core.js";

/** The functions that the hardware's walker exports; see assembly/mmu.ts. u32 results come signed. */
export interface MmuCore {
  /** Decodes the registers of the context at a pointer; 0 or EINVAL. */
  mmuConfigure(context: number): number;
  /** Translates one access into the record at `out`: 0, 1 for a fault, or EINVAL. */
  mmuTranslate(context: number, lo: number, hi: number, access: number, out: number): number;
  /** Translates a column of addresses into rows of 16 bytes: how many were faults, or EINVAL. */
  mmuTranslateMany(context: number, addresses: number, rows: number, n: number, access: number): number;
  mmuTlb(tlb: number, bytes: number): number;
  mmuAccess(context: number, tlb: number, lo: number, hi: number, access: number, out: number): number;
  mmuAccessMany(context: number, tlb: number, addresses: number, rows: number, n: number, access: number): number;
  mmuSpeculate(context: number, tlb: number, lo: number, hi: number): number;
  mmuTlbi(tlb: number, issuer: number, form: number, lo: number, hi: number, vmid: number): number;
  mmuDsb(tlb: number, issuer: number, domain: number): number;
}

/** One instance of the walker on `memory`. */
export function instantiateMmu(source: CoreSource, memory: WebAssembly.Memory): MmuCore {
  return new WebAssembly.Instance(compile(source), { env: { memory } }).exports as unknown as MmuCore;
}
