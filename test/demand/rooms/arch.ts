// Breaks each rule of arch/ once. AssemblyScript, compiled by the test beside it: a function is named after the rule.

import { typedAnnotation } from "../../../assembly/arch/descriptor";
import { get, WIDTH } from "../../../assembly/arch/field";
import { levelBits, PS_4K, shift } from "../../../assembly/arch/granule";
import { PROT_DEVICE, PROT_X } from "../../../assembly/arch/protection";
import { stage2Attributes } from "../../../assembly/arch/stage2";
import { rangeBytes, rangeNum } from "../../../assembly/arch/tlbi";

export function RULE_GRANULE(): void {
  levelBits(PS_4K + 1);
}

export function RULE_LEVEL(): void {
  shift(PS_4K, 4);
}

export function RULE_FIELD(): void {
  get(0, 60 | (5 << WIDTH));
}

export function RULE_RANGE(): void {
  rangeNum(1, 4);
}

export function RULE_RANGE_GRANULE(): void {
  rangeBytes(0);
}

export function RULE_PROTECTION(): void {
  stage2Attributes(PROT_DEVICE | PROT_X, false, false, false);
}

export function RULE_ANNOTATION(): void {
  typedAnnotation(1, 0);
}
