// Pages of table memory: set up, and given back [LCK-10..13].

import { Case, caseOf } from "./case";
import { retire } from "./life";
import { Obligation, obligation } from "./obligation";
import { reachable } from "./owner";
import { V_EARLY_FREE, V_FRAME_REUSE, V_KNOWN_PAGE } from "./records";
import { blame, violate } from "./report";
import { Root, rootAt } from "./root";
import { checkGrace } from "./section";
import { breakOf, forget, MAX_DEPTH, standing } from "./tree";
import * as U from "./unit";

/** A page of table memory is set up, all zero. */
export function initPage(c: u32, address: u64): void {
  const k = caseOf(c, address),
    u = U.find(address);
  if (u) {
    k.level = u.level;
    if (standing(u) !== U.PRIVATE || u.valid !== 0) violate(V_KNOWN_PAGE, k);
    return;
  }
  checkReach(k);
  U.add(address);
}

/** Memory that becomes a table, or goes back, while a stale translation may lead there. */
function checkReach(k: Case): void {
  const o = reachable(k.address);
  if (!o) return;
  k.root = o.root;
  k.level = o.level;
  blame(V_FRAME_REUSE, k, o);
}

/** A page is given back. The tables of a root that no CPU walks go with it: nobody meets them any more. */
export function freePage(c: u32, address: u64): void {
  const k = caseOf(c, address),
    u = U.find(address);
  if (!u || !(u.hung || u.rootOf)) checkReach(k); // a table's page was no VM's
  if (!u) return;
  const r = U.rootOf(u);
  k.root = <u32>changetype<usize>(r);
  k.level = u.level;
  checkGrace(k, u);
  if (standing(u) === U.LIVE && isIdle(r)) retire(r);
  const where = standing(u);
  if (where === U.LIVE) violate(V_EARLY_FREE, k);
  else if (where === U.FROZEN) blameFrozen(k, u);
  if (u.rootOf) retire(rootAt(u.rootOf));
  forget(u);
}

/** A table of a log that no CPU walks. */
function isIdle(r: Root): bool {
  return r !== null && r.handle === 0 && r.loaded === 0;
}

function blameFrozen(k: Case, u: U.Unit): void {
  const why = frozenBy(u);
  if (why) k.old = why.old;
  blame(V_EARLY_FREE, k, why);
}

/** The broken link above a frozen page. */
function frozenBy(u: U.Unit): Obligation {
  let at = u;
  for (let i: u32 = 0; i < MAX_DEPTH; i++) {
    const parent = U.parentOf(at);
    if (!parent) break;
    const o = breakOf(parent, at);
    if (o) return o;
    at = parent;
  }
  return obligation(0);
}
