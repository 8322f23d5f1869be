// Violations, as the host reads them.

import { Case, handleOf } from "./case";
import { missing } from "./missing";
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

/** Appends a violation of rule `kind`, by the case; null once there are too many to keep. */
export function violate(kind: u32, k: Case): Violation {
  const s = state();
  const n = s.violations++;
  if (n >= MAX_VIOLATIONS) return changetype<Violation>(0);
  const p = violationAt(<u32>n);
  memory.fill(p, 0, VIOLATION_BYTES);
  const v = changetype<Violation>(p);
  v.kind = kind;
  v.level = k.level;
  v.cpu = k.cpu;
  v.table = handleOf(k);
  v.address = k.address;
  v.ipa = NONE;
  v.old = k.old;
  v.next = k.next;
  v.record = s.sequence;
  v.broken = NONE;
  v.near = NONE;
  return v;
}

/** A violation that wants step `miss`, since the record numbered `sequence`, by CAUSE_*. */
export function wants(kind: u32, k: Case, miss: u32, sequence: u64, cause: u32): void {
  const v = violate(kind, k);
  if (!v) return;
  v.miss = miss;
  v.cause = cause;
  v.broken = sequence;
}

/** A violation about obligation `o`; null: about none. */
export function blame(kind: u32, k: Case, o: Obligation): void {
  const v = violate(kind, k);
  if (!v || !o) return;
  const miss = missing(o);
  v.miss = miss;
  v.cause = o.cause;
  v.ipa = o.ipa;
  v.old = o.old;
  v.broken = o.record;
  if (o.miss === miss && miss !== 0) v.near = o.missRecord;
}
