// Violations, as the host reads them.
//
//  kind u32 | miss u32 | level i32 | cpu u32 | table u32 | cause u32 | address u64 | ipa u64 | old u64 | new u64
//  | record u64 | broken u64 (record of the write behind it) | near u64 (record of a TLBI that fell short) + 1, 0 none

import { Case, handleOf } from "./case";
import { missing } from "./missing";
import { Obligation } from "./obligation";
import { MAX_VIOLATIONS, state, VIOLATION_BYTES, violationAt } from "./state";

const MISS: usize = 4;
const LEVEL: usize = 8;
const CPU: usize = 12;
const TABLE: usize = 16;
const CAUSE: usize = 20;
const ADDRESS: usize = 24;
const IPA: usize = 32;
const OLD: usize = 40;
const NEXT: usize = 48;
const RECORD: usize = 56;
const BROKEN: usize = 64;
const NEAR: usize = 72;
const NONE: u64 = u64.MAX_VALUE;

/** Appends a violation: of rule `kind`, by the case. Where it is kept; 0 once there are too many. */
export function violate(kind: u32, k: Case): usize {
  const s = state();
  const n = s.violations++;
  if (n >= MAX_VIOLATIONS) return 0;
  const p = violationAt(<u32>n);
  memory.fill(p, 0, VIOLATION_BYTES);
  store<u32>(p, kind);
  store<i32>(p, k.level, LEVEL);
  store<u32>(p, k.cpu, CPU);
  store<u32>(p, handleOf(k), TABLE);
  store<u64>(p, k.address, ADDRESS);
  store<u64>(p, NONE, IPA);
  store<u64>(p, k.old, OLD);
  store<u64>(p, k.next, NEXT);
  store<u64>(p, s.sequence, RECORD);
  store<u64>(p, NONE, BROKEN);
  store<u64>(p, NONE, NEAR);
  return p;
}

/** A violation that wants step `miss`, since the record numbered `sequence`. */
export function wants(kind: u32, k: Case, miss: u32, sequence: u64): void {
  const p = violate(kind, k);
  if (p === 0) return;
  store<u32>(p, miss, MISS);
  store<u64>(p, sequence, BROKEN);
}

/** The same, with what brought it about. */
export function wantsFor(kind: u32, k: Case, miss: u32, sequence: u64, cause: u32): void {
  const p = violate(kind, k);
  if (p === 0) return;
  store<u32>(p, miss, MISS);
  store<u32>(p, cause, CAUSE);
  store<u64>(p, sequence, BROKEN);
}

/** A violation about obligation `o`; null: about none. */
export function blame(kind: u32, k: Case, o: Obligation): void {
  const p = violate(kind, k);
  if (p === 0 || !o) return;
  const miss = missing(o);
  store<u32>(p, miss, MISS);
  store<u32>(p, o.cause, CAUSE);
  store<u64>(p, o.ipa, IPA);
  store<u64>(p, o.old, OLD);
  store<u64>(p, o.record, BROKEN);
  if (o.miss === miss && miss !== 0) store<u64>(p, o.missRecord, NEAR);
}
