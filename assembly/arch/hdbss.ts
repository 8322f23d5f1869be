// FEAT_HDBSS, the hardware's log of pages that became dirty: an entry for each descriptor of stage 2 in which hardware set the dirty state.
// Arm DDI 0487 D8.5.6 and the descriptions of HDBSSBR_EL2 and HDBSSPROD_EL2 [DBM-13].
//
//   HDBSSBR_EL2    55:12 address of the entries   3:0 SZ: log2 of their bytes, less 12
//   HDBSSPROD_EL2  31:26 FSC   18:0 INDEX: the entry that is written next
//   an entry       55:12 IPA   3:1 level of the descriptor   0 valid

import { get, mask, put, WIDTH } from "./field";
import { UNIT_SHIFT } from "./granule";

const ENTRY_VALID: u64 = 1;
const ENTRY_LEVEL: u32 = 1 | (3 << WIDTH);
const ENTRY_IPA_TOP: u32 = 55;

export function hdbssEntry(ipa: u64, level: i32): u64 {
  return (ipa & mask(ENTRY_IPA_TOP, UNIT_SHIFT)) | put(level, ENTRY_LEVEL) | ENTRY_VALID;
}

export function isHdbssEntry(entry: u64): bool {
  return <bool>(entry & ENTRY_VALID);
}

export function hdbssIpa(entry: u64): u64 {
  return entry & mask(ENTRY_IPA_TOP, UNIT_SHIFT);
}

export function hdbssLevel(entry: u64): i32 {
  return <i32>get(entry, ENTRY_LEVEL);
}
