// Violations, as the host reads them.
//
//  kind u32 | miss u32 | level i32 | cpu u32 | table u32 | cause u32 | address u64 | ipa u64 | old u64 | new u64
//  | record u64 | broken u64 (record of the write behind it) | near u64 (record of a TLBI that fell short) + 1, 0 none

import { missing } from "./flush";
import { Obligation } from "./obligation";
import { MAX_VIOLATIONS, state, violationAt } from "./state";

const CPU: usize = 12;
const NONE: u64 = u64.MAX_VALUE;

/** Appends a violation; `at` is the physical address of the descriptor. */
export function violate(kind: u32, c: u32, table: u32, level: i32, at: u64, old: u64, next: u64): usize {
  const s = state();
  const n = s.violations++;
  if (n >= MAX_VIOLATIONS) return 0;
  const p = violationAt(<u32>n);
  memory.fill(p, 0, 96);
  store<u32>(p, kind);
  store<i32>(p, level, 8);
  store<u32>(p, c, CPU);
  store<u32>(p, table, 16);
  store<u64>(p, at, 24);
  store<u64>(p, NONE, 32);
  store<u64>(p, old, 40);
  store<u64>(p, next, 48);
  store<u64>(p, s.sequence, 56);
  store<u64>(p, NONE, 64);
  store<u64>(p, NONE, 72);
  return p;
}

/** A violation that wants step `miss`, since the record numbered `sequence`. */
export function wants(p: usize, miss: u32, sequence: u64): void {
  if (p === 0) return;
  store<u32>(p, miss, 4);
  store<u64>(p, sequence, 64);
}

/** The obligation that a violation is about. */
export function because(p: usize, o: Obligation): void {
  if (p === 0 || !o) return;
  const miss = missing(o);
  store<u32>(p, miss, 4);
  store<u32>(p, o.cause, 20);
  store<u64>(p, o.ipa, 32);
  store<u64>(p, o.old, 40);
  store<u64>(p, o.record, 64);
  if (o.miss === miss && miss !== 0) store<u64>(p, o.missRecord, 72);
}
