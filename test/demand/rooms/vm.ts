// Breaks each rule of vm/ once. AssemblyScript, compiled by the test beside it: a function is named after the rule.

import { find, KEY_BITS } from "../../../assembly/vm/sparse";

export function RULE_SPARSE_KEY(): void {
  find(64, 1 << KEY_BITS);
}
