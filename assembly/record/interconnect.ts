// Who hears of a TLBI while it is issued. In the engine nobody does: there, TLBIs are counted and journalled, and these calls
// vanish. The module of the VM is compiled with sim/interconnect.ts in place of this file, and there all TLBs hear them.

import { Table } from "../memory/layout";

/** A flush by IPA with its DSBs, of this CPU or of all [TLB-1, TLB-2]. */
export function hearIpa(_t: Table, _ipa: u64, _level: i32, _local: bool): void {}

/** A flush of `pages` pages from `addr` [TLB-3]. */
export function hearRange(_t: Table, _addr: u64, _pages: u64): void {}

/** A flush of the table's VMID [TLB-4]. */
export function hearVmid(_t: Table): void {}

/** ALLE1IS with its DSB: everything of all VMIDs, on the CPUs at `_listeners` [TLB-4, VMID-5]. */
export function hearAll(_listeners: u32): void {}
