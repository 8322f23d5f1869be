import { type CoreSource, compile } from "./core.js";

/** The functions that the hardware's walker exports; see assembly/mmu.ts. u32 results come signed. */
export interface MmuCore {
  mmuConfigure(context: number): number;
  mmuTranslate(context: number, lo: number, hi: number, access: number, out: number): number;
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
