// Decodes raw registers into a context once, so that no walk looks at a register [REG-1, REG-8, REG-9].

import {
  isInputSize,
  NO_LEVEL,
  stage2Start,
  tcrHalf,
  ttbrAddress,
  ttbrId,
  vtcrGranule,
  vtcrIpaBits,
} from "../arch/control";
import {
  ADDRESS_48,
  addressLayout,
  addressMask,
  IGNORED,
  LEAF_ATTRIBUTES,
  packedMask,
  TABLE,
} from "../arch/descriptor";
import { get, ones } from "../arch/field";
import {
  ENTRY_BYTES,
  ENTRY_SHIFT,
  isStart,
  levelBits,
  PS_4K,
  PS_64K,
  pageBytes,
  shift,
  stage1Levels,
} from "../arch/granule";
import {
  HCR_CD,
  HCR_DC,
  HCR_E2H,
  HCR_FWB,
  HCR_PTW,
  HCR_TGE,
  HCR_VM,
  PARANGE_52,
  paRangeBits,
  SCTLR_EPAN,
  SCTLR_I,
  SCTLR_M,
  SCTLR_WXN,
  TCR_EL1_A1,
  TCR_EL1_AS,
  TCR_EL1_E0PD0,
  TCR_EL1_EPD0,
  TCR_EL1_EPD1,
  TCR_EL2_HPD,
  TCR_EL2_TBI,
  TCR_EL2_TBID,
  TCR_PS,
  TCR_SH0,
  VTCR_DS,
  VTCR_HA,
  VTCR_HD,
  VTCR_VS,
} from "../arch/registers";
import { EINVAL, OK } from "../memory/errno";
import { isInMemory, NOWHERE, wordAt } from "../memory/physical";
import { setTag } from "./cached";
import * as C from "./context";

/**
 * What both stages have: granule, sizes, layout, hardware updates. `control` is a VTCR_EL2, or a TCR in the layout of
 * TCR_EL2 with one range, which has these at the same places. The reserved granule is 4K; HD means nothing without HA [HWM-22].
 */
function setSizes(c: C.Context, s: C.Stage, control: u64): void {
  const granule = vtcrGranule(control),
    ps = granule ? granule : PS_4K,
    lpa2 = <bool>(control & VTCR_DS) && ps !== PS_64K;
  s.ps = ps;
  s.inputBits = vtcrIpaBits(control);
  s.outputBits = min(c.paMax, paRangeBits(<u32>get(control, TCR_PS)));
  if (!lpa2 && ps !== PS_64K) s.outputBits = min<u32>(s.outputBits, 48);
  // 64K packs bits 51:48 where the CPU has them, whatever PS says; elsewhere these descriptor bits are ignored.
  s.layout = ps === PS_64K && c.paMax < 52 ? ADDRESS_48 : addressLayout(ps, lpa2);
  s.share = <u32>get(control, TCR_SH0);
  if (isInputSize(ps, 64 - s.inputBits, lpa2)) s.flags |= C.S_WALKS;
  if (control & VTCR_HA) s.flags |= control & VTCR_HD ? C.S_HA | C.S_HD : C.S_HA;
}

/** The start tables' address from a TTBR or VTTBR. Needs sizes and start level. */
function setRoot(s: C.Stage, ttbr: u64): void {
  const bits = s.inputBits - shift(s.ps, s.start) + ENTRY_SHIFT;
  s.root = ttbrAddress(ttbr, bits, s.outputBits > 48);
  if (s.root >> s.outputBits !== 0) s.flags |= C.S_ROOT_BEYOND;
}

/** Stage 1 by a TCR in the layout of TCR_EL2 with one range [REG-9]. `flags`: of what only two ranges have. */
function setStage1(c: C.Context, s: C.Stage, tcr: u64, ttbr: u64, flags: u32, disabled: bool): void {
  s.flags = flags;
  if (tcr & TCR_EL2_HPD) s.flags |= C.S_HPD;
  if (tcr & TCR_EL2_TBI) s.flags |= tcr & TCR_EL2_TBID ? C.S_TBI_DATA : C.S_TBI_DATA | C.S_TBI_FETCH;
  setSizes(c, s, tcr);
  if (disabled) s.flags &= ~C.S_WALKS;
  if (!(s.flags & C.S_WALKS)) return;
  s.start = 4 - <i32>stage1Levels(s.ps, s.inputBits);
  setRoot(s, ttbr);
}

/** Both halves of TCR_EL1, or of TCR_EL2 with E2H. */
function setHalves(c: C.Context): void {
  const tcr = c.tcr,
    e0pd = tcr & TCR_EL1_E0PD0 ? C.S_E0PD : 0,
    e0pdHigh = (tcr >> 1) & TCR_EL1_E0PD0 ? C.S_E0PD : 0;
  setStage1(c, C.stage1(c, 0), tcrHalf(tcr, false), c.ttbr0, e0pd, <bool>(tcr & TCR_EL1_EPD0));
  setStage1(c, C.stage1(c, 1), tcrHalf(tcr, true), c.ttbr1, e0pdHigh, <bool>(tcr & TCR_EL1_EPD1));
}

/** VTCR_EL2 and VTTBR_EL2 [REG-1, REG-8]. */
function setStage2(c: C.Context): void {
  const s = C.stage2(c),
    vtcr = c.vtcr;
  s.flags = C.S_STAGE2;
  setSizes(c, s, vtcr);
  s.start = stage2Start(s.ps, vtcr, c.paMax);
  if (s.start === NO_LEVEL || !isStart(s.ps, s.inputBits, s.start)) s.flags &= ~C.S_WALKS; // [HWM-15]
  if (s.flags & C.S_WALKS) setRoot(s, c.vttbr);
}

/** What straight.ts needs of a stage; `physical`: its tables are not behind stage 2. */
function setStraight(c: C.Context, s: C.Stage, physical: bool): void {
  if (!(s.flags & C.S_WALKS) || s.flags & C.S_ROOT_BEYOND) return;
  const packed = packedMask(s.layout);
  s.addressMask = addressMask(s.layout, s.ps) & ~packed;
  s.tableMask = TABLE | packed | (s.addressMask & ~ones(s.outputBits));
  s.keyMask = ((LEAF_ATTRIBUTES & ~IGNORED) | TABLE) & ~packed;
  s.rootShift = shift(s.ps, s.start) - ENTRY_SHIFT;
  s.rootMask = <u32>(ones(s.inputBits - shift(s.ps, s.start)) << ENTRY_SHIFT);
  s.indexMask = <u32>(ones(levelBits(s.ps)) << ENTRY_SHIFT);
  s.leafMask = s.tableMask & ~TABLE;
  s.bits = levelBits(s.ps);
  s.last = s.ps - ENTRY_SHIFT;
  s.flags |= C.S_STRAIGHT;
  if (!physical) return;
  const table = <u64>pageBytes(s.ps);
  s.lastTable = <u64>c.bytes - table;
  s.rootPointer = <u32>wordAt(s.root, c.physBase, c.bytes, c.pointer);
  const last = wordAt(s.root + s.rootMask, c.physBase, c.bytes, c.pointer);
  if (c.bytes < table || s.rootPointer === <u32>NOWHERE || last === NOWHERE) s.flags &= ~C.S_STRAIGHT;
}

/** HCR_EL2 and SCTLR_ELx: which stages there are, and their switches [HWM-44]. */
function setFlags(c: C.Context): void {
  const hcr = c.hcr,
    sctlr = c.sctlr;
  const e2h = <bool>(hcr & HCR_E2H),
    tge = <bool>(hcr & HCR_TGE),
    dc = <bool>(hcr & HCR_DC) && !(e2h && tge);
  let flags: u32 = sctlr & SCTLR_M ? C.M_STAGE1 : 0;
  if (c.regime === C.REGIME_EL10) {
    flags |= C.M_TWO_RANGES;
    if (dc || tge) flags &= ~C.M_STAGE1;
    if (dc) flags |= C.M_DC;
    if (dc || (hcr & HCR_VM && !(e2h && tge))) flags |= C.M_STAGE2;
  } else if (e2h) {
    flags |= C.M_TWO_RANGES;
  }
  if (hcr & HCR_FWB) flags |= C.M_FWB;
  if (hcr & HCR_PTW) flags |= C.M_PTW;
  if (hcr & HCR_CD) flags |= C.M_CD;
  if (sctlr & SCTLR_WXN) flags |= C.M_WXN;
  if (sctlr & SCTLR_I) flags |= C.M_ICACHE;
  if (sctlr & SCTLR_EPAN) flags |= C.M_EPAN;
  c.flags = flags;
}

/** VTTBR_EL2.VMID, 8 bits of it unless VTCR_EL2.VS: in force whether stage 2 is on or off (Arm ARM R_TLJCY). */
function setVmid(c: C.Context): void {
  c.vmid = ttbrId(c.vttbr, <bool>(c.vtcr & VTCR_VS));
}

function setAsid(c: C.Context): void {
  if (!(c.flags & C.M_TWO_RANGES)) return;
  c.asid = ttbrId(c.tcr & TCR_EL1_A1 ? c.ttbr1 : c.ttbr0, <bool>(c.tcr & TCR_EL1_AS));
}

/** Decodes the registers of the context at `p`; EINVAL for a window outside memory or an unknown regime. `p` holds CONTEXT_BYTES. */
export function configure(p: usize): i32 {
  const c = C.contextAt(p);
  c.magic = 0;
  if (c.regime !== C.REGIME_EL10 && c.regime !== C.REGIME_EL2) return EINVAL;
  if (!isInMemory(c.pointer, c.bytes) || c.physBase & (ENTRY_BYTES - 1) || (c.features & C.F_PARANGE) > PARANGE_52)
    return EINVAL;
  C.clearDecoded(p);
  c.paMax = paRangeBits(c.features & C.F_PARANGE);
  setFlags(c);
  setVmid(c);
  setAsid(c);
  setTag(c);
  const stage2 = <bool>(c.flags & C.M_STAGE2),
    low = C.stage1(c, 0),
    high = C.stage1(c, 1);
  if (c.flags & C.M_TWO_RANGES) {
    setHalves(c);
    setStraight(c, high, !stage2);
  } else {
    setStage1(c, low, c.tcr, c.ttbr0, 0, false);
  }
  setStraight(c, low, !stage2);
  if (stage2) {
    setStage2(c);
    setStraight(c, C.stage2(c), true);
  }
  c.magic = C.CONTEXT_MAGIC;
  return OK;
}
