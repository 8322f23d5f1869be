// A case: what the judge looks at, and what it says when it objects. One is in hand for each record; one more serves
// for what is met on the way, as the entries of a table that is being linked.

import { demand, RULE_JUDGED_ROOT } from "../demand";
import { Root, rootAt, rootPointer } from "./root";
import { caseAt } from "./state";
import * as U from "./unit";

@unmanaged
export class Case {
  cpu: u32;
  level: i32;
  /** Root and unit concerned; 0 for none. */
  root: u32;
  unit: u32;
  word: u32;
  /** The write is a release or a compare-exchange. */
  ordered: bool;
  /** Physical address of the descriptor, page, lock or table. */
  address: u64;
  old: u64;
  next: u64;
}

/** What a record of CPU `c` about `address` is judged by. */
export function caseOf(c: u32, address: u64): Case {
  const k = changetype<Case>(caseAt(0));
  k.cpu = c;
  k.level = 0;
  k.root = 0;
  k.unit = 0;
  k.word = 0;
  k.ordered = false;
  k.address = address;
  k.old = 0;
  k.next = 0;
  return k;
}

/** The case of a table: its root, from its first start table. */
export function caseOfRoot(c: u32, r: Root): Case {
  demand(r.serial !== 0, RULE_JUDGED_ROOT);
  const k = caseOf(c, r.address);
  k.root = rootPointer(r);
  k.level = r.startLevel;
  return k;
}

/** The case of the write of `next` to a word. */
export function caseOfWrite(c: u32, u: U.Unit, word: u32, old: u64, next: u64): Case {
  const k = caseOf(c, U.addressOf(u, word));
  k.root = u.root;
  k.unit = U.pointer(u);
  k.word = word;
  k.level = u.level;
  k.old = old;
  k.next = next;
  return k;
}

/** An entry that is met while `k` is in hand, as it stands. */
export function caseOfEntry(k: Case, u: U.Unit, word: u32): Case {
  const e = changetype<Case>(caseAt(1));
  e.cpu = k.cpu;
  e.root = u.root;
  e.unit = U.pointer(u);
  e.word = word;
  e.level = u.level;
  e.address = U.addressOf(u, word);
  e.old = 0;
  e.next = load<u64>(U.valueAt(u, word));
  return e;
}

/** Handle of the engine's table that a case is about; 0 in logs. */
export function handleOf(k: Case): u32 {
  const r = rootAt(k.root);
  return r ? r.handle : 0;
}

export function unitOf(k: Case): U.Unit {
  return U.unitAt(k.unit);
}

export function rootOf(k: Case): Root {
  return rootAt(k.root);
}
