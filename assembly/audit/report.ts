// Violations, as the host reads them.

import { missing } from "./flush";
import { Obligation } from "./obligation";
import { MAX_VIOLATIONS, state, VIOLATION_BYTES, violationAt } from "./state";

/** A rule that was broken. A field that says NONE has nothing to say. */
@view()
@unmanaged
export class Violation {
  /** V_* */
  kind: u32;
  /** MISS_* */
  miss: u32;
  level: i32;
  cpu: u32;
  table: u32;
  /** CAUSE_* */
  cause: u32;
  /** Physical address of the descriptor, or of the page, lock or table concerned. */
  address: u64;
  ipa: u64;
  old: u64;
  next: u64;
  /** The record that broke the rule. */
  record: u64;
  /** The record of the write behind it. */
  broken: u64;
  /** The record of a TLBI that fell short. */
  near: u64;
}

export const NONE: u64 = u64.MAX_VALUE;

/** Appends a violation; `at` is the physical address of the descriptor. */
export function violate(kind: u32, c: u32, table: u32, level: i32, at: u64, old: u64, next: u64): usize {
  const s = state();
  const n = s.violations++;
  if (n >= MAX_VIOLATIONS) return 0;
  const p = violationAt(<u32>n);
  memory.fill(p, 0, VIOLATION_BYTES);
  const v = changetype<Violation>(p);
  v.kind = kind;
  v.level = level;
  v.cpu = c;
  v.table = table;
  v.address = at;
  v.ipa = NONE;
  v.old = old;
  v.next = next;
  v.record = s.sequence;
  v.broken = NONE;
  v.near = NONE;
  return p;
}

/** A violation that wants step `miss`, since the record numbered `sequence`. */
export function wants(p: usize, miss: u32, sequence: u64): void {
  if (p === 0) return;
  const v = changetype<Violation>(p);
  v.miss = miss;
  v.broken = sequence;
}

/** The obligation that a violation is about. */
export function because(p: usize, o: Obligation): void {
  if (p === 0 || !o) return;
  const v = changetype<Violation>(p),
    miss = missing(o);
  v.miss = miss;
  v.cause = o.cause;
  v.ipa = o.ipa;
  v.old = o.old;
  v.broken = o.record;
  if (o.miss === miss && miss !== 0) v.near = o.missRecord;
}
