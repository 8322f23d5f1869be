// Making a table: stage 2 from a VTCR, stage 1 of the hypervisor from a VA size [S2-1, GEO-13].

import { vtcrGranule, vtcrIpaBits, vtcrStartLevel } from "../arch/control";
import { ADDRESS_48, addressLayout, linearBits, TABLE } from "../arch/descriptor";
import {
  FIRST_LEVEL,
  geometryWord,
  isGranule,
  isStart,
  LAST_LEVEL,
  outputBits,
  stage1Levels,
  startTables,
} from "../arch/granule";
import { VTCR_HD } from "../arch/registers";
import { EBUSY, EINVAL, ENOMEM, EPERM, OK } from "../memory/errno";
import { handOver } from "../memory/intent";
import {
  FORCE_HOST,
  header,
  parallel,
  T_BARRIER,
  T_FLAGS,
  T_HD,
  T_HYP,
  T_LOCK_FREE,
  T_LPA2,
  T_WIDE,
  Table,
  virtToPhys,
} from "../memory/layout";
import { finishTable, giveTable, isServed, rootOf, setRoot, tableAt, takeTable } from "../memory/tables";
import { J_TABLE_MADE, MADE_PARALLEL, record } from "../record/journal";
import { storeBarrier } from "../record/maintenance";
import { HOOK_PHYS_TO_VIRT, HOOKS, zallocPagesExact } from "./mmops";

function newTable(ps: u32, flags: u32, bits: u32, start: i32, rootPages: u32, hooks: u32): i32 {
  const h = header(),
    layout = addressLayout(ps, <bool>(flags & T_LPA2)),
    end = h.physBase + h.arenaBytes;
  // An arena above 2^48 needs LPA2 or 64K pages: other descriptors cannot name its tables.
  if (layout === ADDRESS_48 && end >> linearBits(layout)) return EINVAL;
  const p = takeTable();
  if (!p) return EBUSY;
  const t = changetype<Table>(p);
  t.ps = ps;
  t.flags = flags;
  t.inputBits = bits;
  t.inputEnd = (<u64>1) << bits;
  t.startLevel = start;
  t.rootPages = rootPages;
  t.addressLayout = layout;
  t.paBits = outputBits(ps, <bool>(flags & T_LPA2), <bool>(flags & T_WIDE));
  t.hooks = hooks;
  t.machine = 0;
  if (!isServed(t)) {
    giveTable(t);
    return EPERM;
  }
  const direct = !((hooks >> HOOK_PHYS_TO_VIRT) & 1) && end >> linearBits(layout) === 0;
  t.reach = direct ? h.arenaBytes >> ps : 0;
  t.origin = h.physBase | TABLE;
  const root = zallocPagesExact(t, rootPages);
  if (root) {
    setRoot(t, root);
    handOver();
    return finishTable(p);
  }
  giveTable(t);
  return ENOMEM;
}

/** The geometry word of a table for the journal. */
export function geometryOf(t: Table): u64 {
  const word = geometryWord(t.ps, t.startLevel, t.rootPages, t.inputBits, t.flags);
  return word | ((<u64>parallel()) << MADE_PARALLEL);
}

function noteMade(t: Table): void {
  record(J_TABLE_MADE, changetype<usize>(t), t.startLevel, virtToPhys(rootOf(t)), geometryOf(t), t.vtcr);
}

/** A stage-2 table for `vtcr` with 1 << ps pages; handle or errno. */
export function createStage2(ps: u32, vtcr: u64, flags: u32, hooks: u32): i32 {
  if (!isGranule(ps) || vtcrGranule(vtcr) !== ps || flags & ~T_FLAGS || flags & T_BARRIER || hooks >> HOOKS)
    return EINVAL;
  const bits = vtcrIpaBits(vtcr),
    start = vtcrStartLevel(ps, vtcr);
  // The start level must resolve at least one bit of the input, and no more than 16 tables of it.
  if (start < 0 || start > LAST_LEVEL || !isStart(ps, bits, start)) return EINVAL;
  flags &= ~(T_HYP | T_HD);
  if (vtcr & VTCR_HD) flags |= T_HD;
  const handle = newTable(ps, flags, bits, start, startTables(ps, bits, start), hooks);
  if (handle < 0) return handle;
  tableAt(handle).vtcr = vtcr;
  noteMade(tableAt(handle));
  storeBarrier(tableAt(handle));
  return handle;
}

/** An EL2 stage-1 table for `vaBits` of input; handle or errno. */
export function createHyp(ps: u32, vaBits: u32, flags: u32, hooks: u32): i32 {
  if (!isGranule(ps) || flags & ~T_FLAGS || flags & T_LOCK_FREE || hooks >> HOOKS || vaBits > 63) return EINVAL;
  const start = 4 - <i32>stage1Levels(ps, vaBits);
  if (start < FIRST_LEVEL || start > LAST_LEVEL) return EINVAL;
  const handle = newTable(ps, flags | T_HYP, vaBits, start, 1, hooks);
  if (handle >= 0) noteMade(tableAt(handle));
  return handle;
}

/** The force-pte callback of a table: FORCE_*, and the bound of FORCE_BELOW. Calls of `map` that have begun keep what was chosen before. */
export function setForcePte(t: Table, force: u32, below: u64): i32 {
  if (force > FORCE_HOST) return EINVAL;
  const before = t.force;
  t.force = force;
  if (!isServed(t)) {
    t.force = before;
    return EPERM;
  }
  t.forceBelow = below;
  return OK;
}
