// One translation table walk, by the book [HWM-10..28]. straight.ts is the quick way for what is plain.

import { ADDRESS_LPA2, AF, DBM, decodeAddress, isTable, isValid, TYPE, XN } from "../arch/descriptor";
import {
  FAULT_ACCESS,
  FAULT_ADDRESS_SIZE,
  FAULT_CONFLICT,
  FAULT_EXTERNAL_WALK,
  FAULT_PERMISSION,
  FAULT_TRANSLATION,
  FAULT_UPDATE,
  ISS_INSTRUCTION,
} from "../arch/fault";
import { ones } from "../arch/field";
import { ENTRY_SHIFT, FIRST_LEVEL, firstLeafLevel, LAST_LEVEL, levelBits, PS_64K, shift } from "../arch/granule";
import { isStage2Cacheable, isStage2Device } from "../arch/memory-type";
import { dirtied, isDirtyable, RIGHT_PR, RIGHT_UR, stage1Rights, stage2Rights, withTables } from "../arch/rights";
import { memAttr, S2_W } from "../arch/stage2";
import { compareExchange, read } from "../memory/cell";
import { NOWHERE, wordAt } from "../memory/physical";
import { keepLeaf, keepTable, recallLeaf, recallTable } from "./cached";
import * as C from "./context";
import { noteDirtied } from "./dirtied";
import { note, STEP_NOTHING, STEP_UNREAD, STEP_WRITTEN } from "./steps";
import { tlbAt } from "./tlb";

// Kinds of access.
export const A_READ: u32 = 0;
export const A_WRITE: u32 = 1;
export const A_FETCH: u32 = 2;
export const A_KIND: u32 = 3;
/** Made from EL0. */
export const A_EL0: u32 = 1 << 2;
/** PSTATE.PAN is set. */
export const A_PAN: u32 = 1 << 3;
/** An address translation instruction, which touches no memory at the output. */
export const A_AT: u32 = 1 << 4;
/** ISV, SAS, SSE, SRT, SF and AR of the instruction, at their places in ESR_ELx. */
export const A_ISS: u32 = ISS_INSTRUCTION;

/** Notes a fault; false, so that a walk can return it. */
export function fail(c: C.Context, s: C.Stage, kind: u32, level: i32): bool {
  c.kind = kind;
  c.level = level;
  c.where = C.isSecond(c, s) ? C.W_STAGE2 : 0;
  return false;
}

/** Rights of the leaf of the last walk. */
export function rights(c: C.Context, s: C.Stage): u32 {
  if (C.isSecond(c, s)) {
    return stage2Rights(s.leaf, <bool>(c.features & C.F_XNX), <bool>(c.features & C.F_FETCH_READS));
  }
  return stage1Rights(s.leaf, <bool>(c.flags & C.M_TWO_RANGES), <bool>(c.flags & C.M_WXN));
}

function allows(c: C.Context, s: C.Stage, access: u32): bool {
  const granted = rights(c, s),
    kind = access & A_KIND;
  const wanted = access & A_EL0 ? RIGHT_UR << kind : RIGHT_PR << kind;
  if ((granted & wanted) === 0) return false;
  if (!(access & A_PAN) || access & A_EL0 || kind === A_FETCH || C.isSecond(c, s)) return true;
  // PAN: not what EL0 can touch; with EPAN not what EL0 can run either.
  return !(granted & RIGHT_UR) && !(c.flags & C.M_EPAN && !(s.leaf & XN));
}

/** May a block stand at this level? */
export function isBlockLevel(c: C.Context, s: C.Stage, level: i32): bool {
  const wide = s.ps === PS_64K ? c.paMax === 52 : s.layout === ADDRESS_LPA2;
  return level < LAST_LEVEL && level >= firstLeafLevel(s.ps, wide);
}

/** Where a stage-1 descriptor lies, by stage 2: its physical address in stage2.output [HWM-10, HWM-14, HWM-26]. */
function nestedSlot(c: C.Context, at: u64, access: u32): bool {
  const s = C.stage2(c);
  let found = walk(c, s, at, access);
  if (found && c.flags & C.M_PTW && isStage2Device(memAttr(s.leaf), <bool>(c.flags & C.M_FWB))) {
    found = fail(c, s, FAULT_PERMISSION, s.level);
  }
  if (found) return true;
  c.where |= C.W_S1PTW;
  c.ipa = at;
  return false;
}

/** Pointer of the descriptor at `at`, which an entry of `level` names; NOWHERE and a fault where there is none. */
function slot(c: C.Context, s: C.Stage, at: u64, level: i32, access: u32): usize {
  let pa = at;
  if (!C.isSecond(c, s) && c.flags & C.M_STAGE2) {
    if (!nestedSlot(c, at, access)) return NOWHERE;
    pa = C.stage2(c).output;
  }
  const p = wordAt(pa, c.physBase, c.bytes, c.pointer);
  if (p === NOWHERE) fail(c, s, FAULT_EXTERNAL_WALK, level);
  return p;
}

/** May hardware update the descriptor that `slot` found last? */
function isUpdatable(c: C.Context, s: C.Stage): bool {
  if (!(c.features & C.F_UPDATE_CACHEABLE) || C.isSecond(c, s) || !(c.flags & C.M_STAGE2)) return true;
  return isStage2Cacheable(memAttr(C.stage2(c).leaf), <bool>(c.flags & C.M_FWB), <bool>(c.flags & C.M_CD));
}

/** How a step ends. */
const FAULT: u32 = 0;
const DONE: u32 = 1;
/** The descriptor changed under the walk. */
const AGAIN: u32 = 2;

/**
 * The leaf `old` at `at` for an access to `addr`: access flag, dirty state, permissions, and then the update, all or nothing
 * [HWM-20..26]. A page that becomes dirty at stage 2 is written down before: if the update fails, that was one page too many [DBM-13].
 */
function useLeaf(c: C.Context, s: C.Stage, addr: u64, at: u64, old: u64, tables: u64, access: u32): u32 {
  const isStage2 = C.isSecond(c, s);
  let next = old;
  s.raw = old;
  s.tables = tables;
  if (!(old & AF)) {
    if (!(s.flags & C.S_HA)) {
      fail(c, s, FAULT_ACCESS, s.level);
      return FAULT;
    }
    next |= AF;
  }
  if (s.flags & C.S_HD && old & DBM && (access & A_KIND) === A_WRITE) next = dirtied(next, isStage2);
  s.leaf = isStage2 || s.flags & C.S_HPD ? next : withTables(next, tables);
  if (!allows(c, s, access)) {
    fail(c, s, FAULT_PERMISSION, s.level);
    return FAULT;
  }
  if (next === old) return DONE;
  const p = slot(c, s, at, s.level, A_WRITE);
  if (p === NOWHERE) return FAULT;
  if (!isUpdatable(c, s)) {
    fail(c, s, FAULT_UPDATE, s.level);
    return FAULT;
  }
  if (isStage2 && (old ^ next) & S2_W && !noteDirtied(c, addr, s.level)) {
    fail(c, s, FAULT_PERMISSION, s.level);
    c.where |= C.W_HDBSS;
    return FAULT;
  }
  if (!compareExchange(p, old, next)) return AGAIN;
  c.updates++;
  if (c.steps) note(c, s, 0, at, s.level, p, next, STEP_WRITTEN);
  return DONE;
}

/** The way down from the start tables; the leaf in `s`. */
function descend(c: C.Context, s: C.Stage, addr: u64, access: u32): u32 {
  let level = s.start,
    table = s.root,
    bits = s.inputBits - shift(s.ps, level),
    tables: u64 = 0,
    direct: u64 = 0; // physical address of the table, where a walk cache knows it behind stage 2
  if (c.tlb && recallTable(c, s, addr)) {
    const t = tlbAt(c.tlb);
    level = t.level + 1;
    table = t.table;
    tables = t.tables;
    direct = t.direct;
    bits = levelBits(s.ps);
  }
  while (level <= LAST_LEVEL) {
    const inside = ((addr >> shift(s.ps, level)) & ones(bits)) << ENTRY_SHIFT,
      at = table + inside;
    const p = direct ? wordAt(direct + inside, c.physBase, c.bytes, c.pointer) : slot(c, s, at, level, A_READ);
    if (p === NOWHERE && c.steps) note(c, s, addr, at, level, p, 0, STEP_UNREAD | (access & A_KIND));
    if (p === NOWHERE) return direct ? <u32>fail(c, s, FAULT_EXTERNAL_WALK, level) : FAULT;
    if (c.tlb && level > s.start) keepTable(c, s, addr, level - 1, table, tables, inside, direct);
    direct = 0;
    const old = read(p, true);
    const leafless = !isValid(old) || (!(old & TYPE) && !isBlockLevel(c, s, level));
    if (c.steps) note(c, s, addr, at, level, p, old, (leafless ? STEP_NOTHING : 0) | (access & A_KIND));
    if (leafless) return <u32>fail(c, s, FAULT_TRANSLATION, level);
    const output = decodeAddress(s.layout, s.ps, old);
    if (output >> s.outputBits !== 0) return <u32>fail(c, s, FAULT_ADDRESS_SIZE, level);
    if (!isTable(old, level)) {
      const inside = ones(shift(s.ps, level));
      s.level = level;
      s.output = (output & ~inside) | (addr & inside);
      return useLeaf(c, s, addr, at, old, tables, access);
    }
    tables |= old;
    table = output;
    bits = levelBits(s.ps);
    level++;
  }
  return FAULT; // not reached: the last level has no tables
}

/** Walks stage `s` for an access to `addr`. Leaf, level and output address in `s`; false with the fault in `c`. */
export function walk(c: C.Context, s: C.Stage, addr: u64, access: u32): bool {
  if (!(s.flags & C.S_WALKS)) return fail(c, s, FAULT_TRANSLATION, 0);
  if (C.isSecond(c, s) && addr >> s.inputBits !== 0) return fail(c, s, FAULT_TRANSLATION, 0);
  if (s.flags & C.S_ROOT_BEYOND) return fail(c, s, FAULT_ADDRESS_SIZE, 0);
  if (s.start < FIRST_LEVEL || s.start > LAST_LEVEL) return fail(c, s, FAULT_TRANSLATION, 0); // scribbled over
  const held = <bool>c.tlb && <bool>(s.flags & C.S_STAGE2);
  if (held && recallLeaf(c, s, addr)) {
    if (tlbAt(c.tlb).matches > 1) return fail(c, s, FAULT_CONFLICT, 0);
    const stale = (access & A_KIND) === A_WRITE && s.flags & C.S_HD && isDirtyable(s.leaf, true);
    if (!stale) return allows(c, s, access) || fail(c, s, FAULT_PERMISSION, s.level); // [HWM-24, HWM-32]
  }
  const way = c.steps;
  let end = descend(c, s, addr, access);
  while (end === AGAIN) {
    c.retries++;
    c.steps = way;
    end = descend(c, s, addr, access);
  }
  if (held && end === DONE) keepLeaf(c, s, addr);
  return end === DONE;
}
