// Breaks each rule of mmu/ once. AssemblyScript, compiled by the test beside it: a function is named after the rule.

import { acquireAs } from "../../../assembly/memory/spin";
import { keepLeaf } from "../../../assembly/mmu/cached";
import { contextAt, stage1, stage2 } from "../../../assembly/mmu/context";
import { BANKS, bank, lastEntry, reachOf, settle, tlbAt, withHole } from "../../../assembly/mmu/tlb";
import { resolve } from "../../../assembly/mmu/translate";
import { put } from "../../../assembly/mmu/ways";

const CONTEXT: usize = 1 << 16;
const TLB: usize = 1 << 17;

export function RULE_CONTEXT(): void {
  resolve(contextAt(CONTEXT), 0, 0);
}

export function RULE_HALF(): void {
  stage1(contextAt(CONTEXT), 2);
}

export function RULE_THROUGH(): void {
  keepLeaf(contextAt(CONTEXT), stage2(contextAt(CONTEXT)), 0);
}

export function RULE_BANK(): void {
  bank(tlbAt(TLB), BANKS);
}

export function RULE_ENTRIES(): void {
  lastEntry(bank(tlbAt(TLB), 0));
}

export function RULE_TAG(): void {
  put(tlbAt(TLB), 0, 0, 0, 0, 12, 0, 0, 0);
}

export function RULE_RUN_HOLE(): void {
  withHole(1, 16, 16);
}

export function RULE_STAGE(): void {
  reachOf(0, 2);
}

export function RULE_LOCKED(): void {
  settle(tlbAt(TLB));
}

export function RULE_HOLDER(): void {
  acquireAs(TLB, 0);
}
