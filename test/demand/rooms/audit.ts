// Breaks each rule of audit/ once. AssemblyScript, compiled by the test beside it: a function is named after the rule.

import { caseOf } from "../../../assembly/audit/case";
import { cpu } from "../../../assembly/audit/cpu";
import { flushStage1 } from "../../../assembly/audit/flush";
import { discharge, oblige, orphan } from "../../../assembly/audit/obligation";
import { addRoot, Root, rootPointer } from "../../../assembly/audit/root";
import { initialise, MAX_CPUS, UNIT_ENTRIES } from "../../../assembly/audit/state";
import { giveUp, tagOf } from "../../../assembly/audit/tag";
import { link } from "../../../assembly/audit/tree";
import { add, setRoot, valueAt } from "../../../assembly/audit/unit";

const PAGE: u64 = 0x100000;

/** A judge with one root; that root. */
function root(): Root {
  initialise(0, MAX_CPUS);
  const r = addRoot(PAGE);
  r.ps = 12;
  return r;
}

export function RULE_JUDGED_CPU(): void {
  cpu(MAX_CPUS);
}

export function RULE_JUDGED_WORD(): void {
  root();
  valueAt(add(PAGE), UNIT_ENTRIES);
}

export function RULE_JUDGED_ROOT(): void {
  const r = root();
  r.serial = 0;
  flushStage1(r, 0, false);
}

export function RULE_OWED(): void {
  const r = root();
  const o = oblige(r, add(PAGE), 0, 0, 3, 3, 0, 1);
  discharge(o);
  discharge(o);
}

export function RULE_PLACED(): void {
  const r = root();
  const o = oblige(r, add(PAGE), 0, 0, 3, 3, 0, 1);
  orphan(o);
  orphan(o);
}

export function RULE_JUDGED_LINK(): void {
  const r = root();
  const u = add(PAGE);
  setRoot(u, r);
  link(caseOf(0, PAGE), u, 0);
}

export function RULE_JUDGED_TAG(): void {
  const r = root();
  const t = tagOf(1, false);
  t.root = rootPointer(r) + 16;
  giveUp(t, r);
}
