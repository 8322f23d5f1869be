// The rights that a leaf gives, as the hardware reads them [HWM-13]. Arm DDI 0487 D8.4, "Memory access control".
//
//   5  4  3  2  1  0
//  UX UW UR PX PW PR      unprivileged (EL0) and privileged: execute, write, read

import { AP_TABLE_EL0, AP_TABLE_READ_ONLY, DBM, PXN, PXN_TABLE, XN, XN_TABLE } from "./descriptor";
import { PROT_PX, PROT_UX, PROT_X } from "./protection";
import { AP1, AP2 } from "./stage1";
import { executeOf, S2_R, S2_W } from "./stage2";

export const RIGHT_PR: u32 = 1 << 0;
export const RIGHT_PW: u32 = 1 << 1;
export const RIGHT_PX: u32 = 1 << 2;
export const RIGHT_UR: u32 = 1 << 3;
export const RIGHT_UW: u32 = 1 << 4;
export const RIGHT_UX: u32 = 1 << 5;
export const RIGHTS_ALL: u32 = 63;
/** From the rights of privileged code to those of EL0. */
export const RIGHTS_EL0: u32 = 3;

/** The leaf with the restrictions of APTable, XNTable and PXNTable of all tables above it; D8.4, "Hierarchical control". */
export function withTables(leaf: u64, tables: u64): u64 {
  if (tables & XN_TABLE) leaf |= XN;
  if (tables & PXN_TABLE) leaf |= PXN;
  if (tables & AP_TABLE_READ_ONLY) leaf |= AP2;
  return tables & AP_TABLE_EL0 ? leaf & ~AP1 : leaf;
}

/** Rights of a stage-1 leaf. `two`: two privilege levels. With WXN, what is writable is not executable. */
export function stage1Rights(leaf: u64, two: bool, wxn: bool): u32 {
  const write = !(leaf & AP2);
  let rights = RIGHT_PR | (write ? RIGHT_PW : 0);
  if (!two) return !(leaf & XN) && !(wxn && write) ? rights | RIGHT_PX : rights;
  const user = <bool>(leaf & AP1);
  if (user) rights |= write ? RIGHT_UR | RIGHT_UW : RIGHT_UR;
  if (!(leaf & XN) && !(wxn && user && write)) rights |= RIGHT_UX;
  // What EL0 can write, EL1 cannot execute.
  return !(leaf & PXN) && !(user && write) && !(wxn && write) ? rights | RIGHT_PX : rights;
}

/** Rights of a stage-2 leaf. */
export function stage2Rights(leaf: u64, xnx: bool, fetchReads: bool): u32 {
  let rights: u32 = leaf & S2_R ? RIGHT_PR | RIGHT_UR : 0;
  if (leaf & S2_W) rights |= RIGHT_PW | RIGHT_UW;
  if (fetchReads && !(leaf & S2_R)) return rights;
  const execute = executeOf(leaf, xnx);
  if (execute & (PROT_X | PROT_PX)) rights |= RIGHT_PX;
  return execute & (PROT_X | PROT_UX) ? rights | RIGHT_UX : rights;
}

/** Would hardware make this leaf writable when it is written? It does with DBM set and no write permission [HWM-22]. */
export function isDirtyable(leaf: u64, stage2: bool): bool {
  return <bool>(leaf & DBM) && (stage2 ? !(leaf & S2_W) : <bool>(leaf & AP2));
}

/** The leaf after such a write. */
export function dirtied(leaf: u64, stage2: bool): u64 {
  return stage2 ? leaf | S2_W : leaf & ~AP2;
}
