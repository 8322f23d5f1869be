// From raw registers to a decoded context, once, so that no walk looks at a register [REG-1, REG-8, REG-9].

import { ADDRESS_48, ADDRESS_LPA2, addressLayout, addressMask, TABLE } from "../arch/descriptor";
import { bit, extract, mask, ones } from "../arch/field";
import {
  CONCATENATED_BITS,
  ENTRY_SHIFT,
  FIRST_LEVEL,
  LAST_LEVEL,
  levelBits,
  PS_4K,
  PS_16K,
  PS_64K,
  pageBytes,
  shift,
  stage1Levels,
} from "../arch/granule";
import { EINVAL, OK } from "../memory/errno";
import { isInMemory, wordAt } from "../memory/physical";
import * as C from "./context";

const PARANGE_MAX: u32 = 6;
/** Largest T0SZ with FEAT_TTST, and the smallest without and with 52-bit addresses. */
const T0SZ_MAX: u32 = 48;
const T0SZ_MAX_64K: u32 = 47;
const T0SZ_MIN: u32 = 16;
const T0SZ_MIN_52: u32 = 12;
/** A root whose address has 52 bits is aligned to 64 bytes. */
const WIDE_ROOT_BITS: u32 = 6;
const HALF_BITS: u32 = 16;

/** Bits of a PARange or PS code; reserved ones are 52. */
function rangeBits(code: u32): u32 {
  switch (code) {
    case 0:
      return 32;
    case 1:
      return 36;
    case 2:
      return 40;
    case 3:
      return 42;
    case 4:
      return 44;
    case 5:
      return 48;
    default:
      return 52;
  }
}

/** TG0: 4K 0, 64K 1, 16K 2; the reserved code is 4K. */
function granuleTg0(code: u32): u32 {
  return code === 1 ? PS_64K : code === 2 ? PS_16K : PS_4K;
}

/** TG1: 16K 1, 4K 2, 64K 3; the reserved code is 4K. */
function granuleTg1(code: u32): u32 {
  return code === 1 ? PS_16K : code === 3 ? PS_64K : PS_4K;
}

/** Is `tsz` one that this granule has? */
function isSize(ps: u32, tsz: u32, ds: bool): bool {
  if (ps === PS_64K) return tsz >= T0SZ_MIN_52 && tsz <= T0SZ_MAX_64K;
  return tsz >= (ds ? T0SZ_MIN_52 : T0SZ_MIN) && tsz <= T0SZ_MAX;
}

/** What both stages have: granule, sizes, layout. `share` is SHx, for LPA2. */
function setSizes(c: C.Context, s: C.Stage, ps: u32, tsz: u32, psCode: u32, ds: bool, share: u32): void {
  const lpa2 = ds && ps !== PS_64K;
  const wide = lpa2 || ps === PS_64K;
  s.ps = ps;
  s.inputBits = 64 - tsz;
  s.outputBits = min(c.paMax, rangeBits(psCode));
  if (!wide) s.outputBits = min<u32>(s.outputBits, 48);
  // 64K packs bits 51:48 where the CPU has them, whatever PS says; elsewhere these descriptor bits are ignored.
  s.layout = ps === PS_64K && c.paMax < 52 ? ADDRESS_48 : addressLayout(ps, lpa2);
  s.share = share;
  if (isSize(ps, tsz, lpa2)) s.flags |= C.S_WALKS;
}

/** The start tables' address from a TTBR or VTTBR. Needs sizes and start level. */
function setRoot(s: C.Stage, ttbr: u64): void {
  const bits = s.inputBits - shift(s.ps, s.start) + ENTRY_SHIFT;
  if (s.outputBits > 48) {
    s.root = (extract(ttbr, 0, 48) & ~ones(max<u32>(bits, WIDE_ROOT_BITS))) | (extract(ttbr, 2, 4) << 48);
    return;
  }
  if (extract(ttbr, 0, 48) >> s.outputBits !== 0) s.flags |= C.S_ROOT_BEYOND;
  s.root = extract(ttbr, 0, 48) & ~ones(bits);
}

/** Hardware updates: HD means nothing without HA [HWM-22]. */
function updates(ha: u64, hd: u64): u32 {
  return ha ? (hd ? C.S_HA | C.S_HD : C.S_HA) : 0;
}

/** TCR_EL2 of one range [REG-9]. */
function setSingle(c: C.Context, s: C.Stage): void {
  const tcr = c.tcr;
  s.flags = updates(bit(tcr, 21), bit(tcr, 22));
  if (bit(tcr, 24)) s.flags |= C.S_HPD;
  if (bit(tcr, 20)) s.flags |= bit(tcr, 29) ? C.S_TBI_DATA : C.S_TBI_DATA | C.S_TBI_FETCH;
  const share = <u32>extract(tcr, 12, 2);
  setSizes(
    c,
    s,
    granuleTg0(<u32>extract(tcr, 14, 2)),
    <u32>extract(tcr, 0, 6),
    <u32>extract(tcr, 16, 3),
    <bool>bit(tcr, 32),
    share,
  );
  finishStage1(s, c.ttbr0);
}

/** One half of TCR_EL1, or of TCR_EL2 with E2H. */
function setHalf(c: C.Context, s: C.Stage, high: u32): void {
  const tcr = c.tcr,
    low = high * HALF_BITS;
  s.flags = updates(bit(tcr, 39), bit(tcr, 40));
  if (bit(tcr, 41 + high)) s.flags |= C.S_HPD;
  if (bit(tcr, 37 + high)) s.flags |= bit(tcr, 51 + high) ? C.S_TBI_DATA : C.S_TBI_DATA | C.S_TBI_FETCH;
  if (bit(tcr, 55 + high)) s.flags |= C.S_E0PD;
  const code = <u32>extract(tcr, low + 14, 2);
  const ps = high ? granuleTg1(code) : granuleTg0(code);
  const share = <u32>extract(tcr >> low, 12, 2);
  setSizes(c, s, ps, <u32>extract(tcr, low, 6), <u32>extract(tcr, 32, 3), <bool>bit(tcr, 59), share);
  if (bit(tcr, low + 7)) s.flags &= ~C.S_WALKS; // EPD
  finishStage1(s, high ? c.ttbr1 : c.ttbr0);
}

function finishStage1(s: C.Stage, ttbr: u64): void {
  if (!(s.flags & C.S_WALKS)) return;
  s.start = 4 - <i32>stage1Levels(s.ps, s.inputBits);
  setRoot(s, ttbr);
}

const NO_LEVEL: i32 = i8.MIN_VALUE;

/** The start level that SL0, SL2 and the granule give, or NO_LEVEL: S2InvalidSL of the Arm ARM. */
function startOf(ps: u32, sl0: u32, sl2: bool, ds: bool, paMax: u32): i32 {
  if (ps === PS_4K) {
    if (sl2 && ds) return sl0 === 0 ? FIRST_LEVEL : NO_LEVEL;
    if (sl0 === 2 && paMax < 44) return NO_LEVEL;
    return sl0 === 3 ? LAST_LEVEL : 2 - <i32>sl0;
  }
  if (sl0 === 2 && paMax < (ps === PS_16K ? <u32>42 : <u32>44)) return NO_LEVEL;
  if (sl0 === 3 && !(ps === PS_16K && ds)) return NO_LEVEL;
  return 3 - <i32>sl0;
}

/** Does a start table, or up to 16 of them, resolve the input? S2InconsistentSL of the Arm ARM [HWM-15]. */
function fits(s: C.Stage): bool {
  const least = shift(s.ps, s.start) + 1;
  return s.inputBits >= least && s.inputBits < least + levelBits(s.ps) + CONCATENATED_BITS;
}

/** VTCR_EL2 and VTTBR_EL2 [REG-1, REG-8]. */
function setStage2(c: C.Context): void {
  const s = C.stage2(c),
    vtcr = c.vtcr;
  const ds = <bool>bit(vtcr, 32),
    ps = granuleTg0(<u32>extract(vtcr, 14, 2));
  s.flags = C.S_STAGE2 | updates(bit(vtcr, 21), bit(vtcr, 22));
  setSizes(c, s, ps, <u32>extract(vtcr, 0, 6), <u32>extract(vtcr, 16, 3), ds, <u32>extract(vtcr, 12, 2));
  s.start = startOf(ps, <u32>extract(vtcr, 6, 2), <bool>bit(vtcr, 33), ds, c.paMax);
  if (s.start === NO_LEVEL || !fits(s)) s.flags &= ~C.S_WALKS;
  if (s.flags & C.S_WALKS) setRoot(s, c.vttbr);
  c.vmid = <u32>(bit(vtcr, 19) ? extract(c.vttbr, 48, 16) : extract(c.vttbr, 48, 8));
}

/** What straight.ts needs of a stage; `physical`: its tables are not behind stage 2. */
function setStraight(c: C.Context, s: C.Stage, physical: bool): void {
  if (!(s.flags & C.S_WALKS) || s.flags & C.S_ROOT_BEYOND) return;
  const packed = s.layout === ADDRESS_LPA2 ? mask(9, 8) : s.layout === ADDRESS_48 ? <u64>0 : mask(15, 12);
  s.addressMask = addressMask(s.layout, s.ps) & ~packed;
  s.tableMask = TABLE | packed | (s.addressMask & ~ones(s.outputBits));
  s.keyMask = (mask(11, 0) & ~packed) | mask(54, 50);
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
  if (c.bytes < table || s.rootPointer === 0 || last === 0) s.flags &= ~C.S_STRAIGHT;
}

/** HCR_EL2 and SCTLR_ELx: which stages there are, and their switches [HWM-44]. */
function setFlags(c: C.Context): void {
  const hcr = c.hcr,
    sctlr = c.sctlr;
  const e2h = <bool>bit(hcr, 34),
    tge = <bool>bit(hcr, 27),
    dc = <bool>bit(hcr, 12) && !(e2h && tge);
  let flags: u32 = bit(sctlr, 0) ? C.M_STAGE1 : 0;
  if (c.regime === C.REGIME_EL10) {
    flags |= C.M_TWO_RANGES;
    if (dc || tge) flags &= ~C.M_STAGE1;
    if (dc) flags |= C.M_DC;
    if (dc || (bit(hcr, 0) && !(e2h && tge))) flags |= C.M_STAGE2;
  } else if (e2h) {
    flags |= C.M_TWO_RANGES;
  }
  if (bit(hcr, 46)) flags |= C.M_FWB;
  if (bit(hcr, 2)) flags |= C.M_PTW;
  if (bit(hcr, 32)) flags |= C.M_CD;
  if (bit(sctlr, 19)) flags |= C.M_WXN;
  if (bit(sctlr, 12)) flags |= C.M_ICACHE;
  if (bit(sctlr, 57)) flags |= C.M_EPAN;
  c.flags = flags;
}

function setAsid(c: C.Context): void {
  if (!(c.flags & C.M_TWO_RANGES)) return;
  const ttbr = bit(c.tcr, 22) ? c.ttbr1 : c.ttbr0;
  c.asid = <u32>(bit(c.tcr, 36) ? extract(ttbr, 48, 16) : extract(ttbr, 48, 8));
}

/** Decodes the registers of the context at `p`; EINVAL for a window or a regime that cannot be. `p` holds CONTEXT_BYTES. */
export function configure(p: usize): i32 {
  const c = C.contextAt(p);
  c.magic = 0;
  if (c.regime !== C.REGIME_EL10 && c.regime !== C.REGIME_EL2) return EINVAL;
  if (!isInMemory(c.pointer, c.bytes) || c.physBase & 7 || (c.features & C.F_PARANGE) > PARANGE_MAX) return EINVAL;
  C.clearDecoded(p);
  c.paMax = rangeBits(c.features & C.F_PARANGE);
  setFlags(c);
  setAsid(c);
  const stage2 = <bool>(c.flags & C.M_STAGE2),
    low = C.stage1(c, 0),
    high = C.stage1(c, 1);
  if (c.flags & C.M_TWO_RANGES) {
    setHalf(c, low, 0);
    setHalf(c, high, 1);
    setStraight(c, high, !stage2);
  } else {
    setSingle(c, low);
  }
  setStraight(c, low, !stage2);
  if (stage2) {
    setStage2(c);
    setStraight(c, C.stage2(c), true);
  }
  c.magic = C.CONTEXT_MAGIC;
  return OK;
}
