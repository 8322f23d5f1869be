// Breaks each rule of arch/ once. AssemblyScript, compiled by the test beside it: a function is named after the rule.

import { levelBits, PS_4K, shift } from "../../../assembly/arch/granule";

export function RULE_GRANULE(): void {
  levelBits(PS_4K + 1);
}

export function RULE_LEVEL(): void {
  shift(PS_4K, 4);
}
