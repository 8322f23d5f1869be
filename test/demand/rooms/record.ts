// Breaks each rule of record/ once. AssemblyScript, compiled by the test beside it: a function is named after the rule.

import { initFrames } from "../../../assembly/memory/frames";
import { ARENA_ALIGN, attach, detach, layOut, me } from "../../../assembly/memory/layout";
import { beginWrite } from "../../../assembly/record/journal";
import { Answer, result } from "../../../assembly/record/result";

export function RULE_WALKER(): void {
  if (me !== 0) detach();
  result<Answer>().value = 0;
}

export function RULE_JOURNALLING(): void {
  layOut((memory.size() << 16) - ARENA_ALIGN, ARENA_ALIGN, 0, 1, 1, 0);
  initFrames();
  attach(0, false);
  beginWrite();
}
