// Contiguous runs: entries that say they may be held as one must agree, for hardware may use any of them for all [HWM-37].

import { CONTIGUOUS, isTable, isValid } from "../arch/descriptor";
import { contiguousBits, span } from "../arch/granule";
import { Case, caseOfEntry, rootOf, unitOf } from "./case";
import { agree } from "./predicate";
import { V_CONTIGUOUS } from "./records";
import { violate } from "./report";
import { Root } from "./root";
import { UNIT_ENTRIES } from "./state";
import * as U from "./unit";

function isContiguous(value: u64, level: i32): bool {
  return isValid(value) && !isTable(value, level) && (value & CONTIGUOUS) !== 0;
}

/** The entry that a case wrote, against the others of its run. */
export function checkRun(k: Case): void {
  const r = rootOf(k),
    u = unitOf(k),
    n: u32 = 1 << contiguousBits(r.ps, u.level),
    first = k.word & ~(n - 1);
  if (isTable(k.next, u.level)) return;
  for (let i = first; i < first + n; i++) {
    const value = load<u64>(U.valueAt(u, i));
    if (i === k.word || !isValid(value) || isTable(value, u.level)) continue;
    if (((value | k.next) & CONTIGUOUS) === 0) continue;
    const distance = (<u64>k.word - <u64>i) * span(r.ps, u.level);
    if (agree(r, value, k.next, u.level, distance)) continue;
    violate(V_CONTIGUOUS, k);
    return;
  }
}

/** The end: a run of which a part is gone is never right, for any member maps what the others mapped. */
export function checkWholeRuns(k: Case, r: Root, u: U.Unit): void {
  const n: u32 = 1 << contiguousBits(r.ps, u.level);
  for (let first: u32 = 0; first < UNIT_ENTRIES; first += n) {
    let members: u32 = 0;
    let gap: u32 = first;
    for (let i = first; i < first + n; i++) {
      if (isContiguous(load<u64>(U.valueAt(u, i)), u.level)) members++;
      else gap = i;
    }
    if (members === 0 || members === n) continue;
    violate(V_CONTIGUOUS, caseOfEntry(k, u, gap));
    return;
  }
}
