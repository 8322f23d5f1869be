// What a walk looks up in a TLB and caches there: tables of both stages, and leaves of stage 2 [HWM-30, HWM-40].

import { AF, CONTIGUOUS } from "../arch/descriptor";
import { ones, put } from "../arch/field";
import { contiguousBits, FIRST_LEVEL, LAST_LEVEL, shift } from "../arch/granule";
import { demand, RULE_THROUGH } from "../demand";
import { observe } from "../memory/shared";
import * as C from "./context";
import * as T from "./tlb";
import * as W from "./ways";

/** Does the TLB keep what it may? Then a TLBI takes one leaf of a contiguous group, and the others stay [HWM-37]. */
function keepsGroups(t: T.Tlb): bool {
  return <bool>(t.flags & T.TLB_ADVERSARIAL);
}

/**
 * log2 of what the leaf of the last walk maps as one: a contiguous group, where the TLB holds groups and the addresses are
 * congruent. Of a group whose leaves go one by one, as many as there are holes for.
 */
export function leafSize(t: T.Tlb, s: C.Stage, addr: u64): u32 {
  const size = shift(s.ps, s.level);
  if (!(s.leaf & CONTIGUOUS) || !(t.flags & T.TLB_CONTIGUOUS) || s.flags & C.S_APART) return size;
  const bits = contiguousBits(s.ps, s.level),
    group = size + (keepsGroups(t) ? min(bits, T.RUN_BITS) : bits);
  return ((addr ^ s.output) & ones(group)) === 0 ? group : size;
}

/** Entry.meta's part for the leaf of the last walk of stage 1 (`at` 0) or 2 (1), which maps 2^size bytes as one. */
export function metaOfLeaf(t: T.Tlb, s: C.Stage, at: u32, size: u32): u64 {
  return T.leafMeta(at, s.level, s.ps, keepsGroups(t) ? shift(s.ps, s.level) : size, size);
}

/** Sets everything of a tag but kind and ASID: regime, VMID, which stages are on. Of whoever changes one of them. */
export function setTag(c: C.Context): void {
  const el10 = c.regime === C.REGIME_EL10;
  const regime = el10 ? T.REGIME_TAG_EL10 : c.flags & C.M_TWO_RANGES ? T.REGIME_TAG_EL20 : T.REGIME_TAG_EL2;
  let tag = T.TAG_VALID | put(regime, T.TAG_REGIME);
  if (el10) tag |= put(c.vmid, T.TAG_VMID);
  if (c.flags & C.M_STAGE2) tag |= T.TAG_STAGE2_ON;
  if (!(c.flags & C.M_STAGE1)) tag |= T.TAG_STAGE1_OFF;
  c.tag = tag;
}

function kindTag(c: C.Context, kind: u32): u64 {
  return (c.tag & ~T.TAG_STAGE1_OFF) | put(kind, T.TAG_KIND);
}

/** Finds the leaf of stage 2 for `addr`; in `s`, as a walk would leave it. */
export function recallLeaf(c: C.Context, s: C.Stage, addr: u64): bool {
  demand(c.tlb !== 0, RULE_THROUGH);
  const t = T.tlbAt(c.tlb),
    b = T.bank(t, T.B_STAGE2),
    tag = kindTag(c, T.KIND_STAGE2);
  s.flags &= ~C.S_APART;
  const p = W.find(t, b, tag, tag, addr);
  if (!p) {
    b.misses++;
    return false;
  }
  const e = T.entry(p);
  b.hits++;
  W.touch(t, b, p);
  if (T.hasHoles(observe(p))) s.flags |= C.S_APART;
  s.leaf = e.info;
  s.raw = e.info;
  s.level = T.levelOf(e.meta, 1);
  s.output = e.out | (addr & ~e.mask);
  return true;
}

/** Caches the leaf of stage 2 that a walk of `addr` has just used, if its access flag is set. */
export function keepLeaf(c: C.Context, s: C.Stage, addr: u64): void {
  demand(c.tlb !== 0, RULE_THROUGH);
  if (!(s.leaf & AF)) return;
  const t = T.tlbAt(c.tlb),
    size = leafSize(t, s, addr);
  W.put(t, T.B_STAGE2, kindTag(c, T.KIND_STAGE2), addr, s.output, size, s.leaf, metaOfLeaf(t, s, 1, size), 0);
}

function tableTag(c: C.Context, kind: u32, level: i32): u64 {
  const asid = kind === T.KIND_TABLE2 ? <u64>0 : put(c.asid, T.TAG_ASID);
  return kindTag(c, kind) | asid | put(<u64>(level - FIRST_LEVEL), T.TAG_LEVEL);
}

function kindOfTable(c: C.Context, s: C.Stage): u32 {
  if (s.flags & C.S_STAGE2) return T.KIND_TABLE2;
  const both = T.tlbAt(c.tlb).flags & T.TLB_COMBINED_WALKS && c.flags & C.M_STAGE2;
  return both ? T.KIND_TABLE_BOTH : T.KIND_TABLE1;
}

/** Finds the last table on the way to `addr`; its level and place in the TLB's scratch. */
export function recallTable(c: C.Context, s: C.Stage, addr: u64): bool {
  demand(c.tlb !== 0, RULE_THROUGH);
  const t = T.tlbAt(c.tlb),
    b = T.bank(t, T.B_WALK);
  if (b.ways === 0) return false;
  const kind = kindOfTable(c, s);
  for (let level = LAST_LEVEL - 1; level >= s.start; level--) {
    const tag = tableTag(c, kind, level);
    let p = W.find(t, b, tag, tag, addr);
    if (!p && kind === T.KIND_TABLE_BOTH) {
      const plain = tableTag(c, T.KIND_TABLE1, level);
      p = W.find(t, b, plain, plain, addr);
    }
    if (!p) continue;
    const e = T.entry(p);
    b.hits++;
    W.touch(t, b, p);
    t.level = level;
    t.table = e.out;
    t.tables = e.info;
    t.direct = T.kindOf(observe(p)) === T.KIND_TABLE_BOTH ? e.ipa : 0;
    return true;
  }
  b.misses++;
  return false;
}

/**
 * Caches the table descriptor of `level` on the way to `addr`, once the walk has reached the table: its address, and the
 * attributes of it and those above. `inside`: offset in the table of the descriptor that stage 2 was last asked about. `known`:
 * the descriptor came from this cache, so there is nothing to do unless it is 0.
 */
export function keepTable(
  c: C.Context,
  s: C.Stage,
  addr: u64,
  level: i32,
  table: u64,
  tables: u64,
  inside: u64,
  known: u64,
): void {
  demand(c.tlb !== 0, RULE_THROUGH);
  if (known) return;
  const t = T.tlbAt(c.tlb),
    size = shift(s.ps, level);
  let kind = kindOfTable(c, s),
    physical: u64 = 0;
  if (kind === T.KIND_TABLE_BOTH) {
    const second = C.stage2(c);
    physical = second.output - inside;
    // A table may lie in several pages of stage 2.
    if (shift(second.ps, second.level) < shift(s.ps, LAST_LEVEL) || physical === 0) kind = T.KIND_TABLE1;
  }
  const meta = T.leafMeta(s.flags & C.S_STAGE2 ? 1 : 0, level, s.ps, size, size);
  W.put(t, T.B_WALK, tableTag(c, kind, level), addr, table, size, tables, meta, physical);
}
