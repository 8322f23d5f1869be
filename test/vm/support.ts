import { createEngine, Prot, type Stage2Config, type Stage2Table } from "../../bindings/index.js";
import { type Fault, type SlotRequest, VirtualMachine } from "../../bindings/vm/machine.js";

export const MIB2: number = 2 << 20;
/** The first slot of most tests: 2 MiB at 1 GiB. */
export const FIRST: SlotRequest = { slot: 1, flags: 0, gpa: 0x4000_0000, size: MIB2, hva: 0x7000_0000 };
export const READ: Fault = { kind: "translation", level: 3, write: false, exec: false };
export const WRITE: Fault = { ...READ, write: true };
export const DENIED: Fault = { ...WRITE, kind: "permission" };

/** A VM of an engine of its own. */
export function machine({
  splitsHugeZero = true,
  ipaBits = 40,
  ...config
}: Stage2Config & { splitsHugeZero?: boolean } = {}) {
  const engine = createEngine({ arenaBytes: 64 << 20 });
  const table = engine.createStage2({ ipaBits, ...config });
  const vm = new VirtualMachine({ table, ipaBits, splitsHugeZero });
  return { engine, table, vm };
}

/** The pages whose bits are set. */
export function pagesOf(bitmap: BigUint64Array | undefined): number[] | undefined {
  if (bitmap === undefined) return undefined;
  const pages: number[] = [];
  bitmap.forEach((word, i) => {
    for (let bit = 0n; bit < 64n; bit++) if ((word >> bit) & 1n) pages.push(i * 64 + Number(bit));
  });
  return pages;
}

/** May the guest write to this address? */
export function isWritable(table: Stage2Table, ipa: number): boolean {
  return (table.leaf(ipa).prot & Prot.W) !== 0;
}
