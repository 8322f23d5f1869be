// The judge: record after record, each against what is known. Off-line logs and the engine's journal come the same way.

import { isLocked } from "../arch/descriptor";
import { JOURNAL_BYTES } from "../memory/layout";
import { J_DSB, J_TABLE_MADE, J_TLBI_STAGE1, J_WRITE, J_WRITE_SHARED, JournalRecord } from "../record/journal";
import { caseOf, caseOfEntry } from "./case";
import { judgeJournal, ROOT_UNITS } from "./journal";
import { judgeLog } from "./log";
import { isClean, OBLIGATION_BYTES, obligation } from "./obligation";
import * as K from "./records";
import { checkControl } from "./registers";
import { blame, violate } from "./report";
import * as R from "./root";
import { checkWholeRuns } from "./run";
import { hasRoom, inputAt, MAX_CPUS, refreshLimit, state, UNIT_ENTRIES } from "./state";
import { standing } from "./tree";
import * as U from "./unit";

const PAGE_UNITS: u32 = 16;
const SLACK: u32 = 8192;

/** Judges `n` records of the input; how many were judged. Fewer means that memory is spent: grow it and go on behind them. */
export function judge(n: u32): u32 {
  const s = state();
  refreshLimit();
  s.starved = 0;
  for (let i: u32 = 0; i < n; i++) {
    const x = changetype<JournalRecord>(inputAt() + i * JOURNAL_BYTES);
    const kind = x.kind;
    if (takesMemory(kind) && !hasRoom(needed(kind))) return i;
    s.time++;
    s.sequence = x.sequence;
    const c = x.walker & (MAX_CPUS - 1);
    if (c >= s.seen) s.seen = c + 1;
    if (kind < K.R_INIT) judgeJournal(x, kind, c);
    else judgeLog(x, kind, c);
    if (s.starved) return i; // a TLBI that reached part of a table: once more with room
  }
  return n;
}

/** Barriers and flushes of stage 1 are most of a journal, and take none. */
function takesMemory(kind: u32): bool {
  return kind !== J_DSB && kind !== J_TLBI_STAGE1;
}

function needed(kind: u32): u32 {
  if (kind === J_WRITE || kind === J_WRITE_SHARED || kind === K.R_STORE) return SLACK + OBLIGATION_BYTES + U.roomFor(1);
  if (kind === J_TABLE_MADE) return SLACK + U.roomFor(ROOT_UNITS);
  if (kind === K.R_SET) return SLACK + UNIT_ENTRIES * OBLIGATION_BYTES;
  return SLACK + U.roomFor(PAGE_UNITS);
}

// --- the end ------------------------------------------------------------------------------------

/** The end of a log: what was never flushed is a violation of each table. Returns how many obligations are open. */
export function finish(): u32 {
  let open: u32 = 0;
  for (let r = R.rootAt(state().roots); r; r = R.rootAt(r.next)) open += unflushed(r);
  checkControl();
  checkUnits();
  return open;
}

/** Counts the obligations of a table that are open, and objects once. */
function unflushed(r: R.Root): u32 {
  const ages = <bool>(state().options & K.O_AGE);
  let open: u32 = 0;
  let o = obligation(r.open);
  while (o) {
    const next = obligation(o.next);
    if (!o.below && (o.cause !== K.CAUSE_AGE || ages) && !isClean(o)) {
      if (open++ === 0) {
        const k = caseOf(o.cpu, o.unit ? U.addressOf(U.unitAt(o.unit), o.word) : 0);
        k.root = R.rootPointer(r);
        k.level = o.level;
        k.next = o.unit ? load<u64>(U.valueAt(U.unitAt(o.unit), o.word)) : 0;
        blame(K.V_UNFLUSHED, k, o);
      }
    }
    o = next;
  }
  return open;
}

/** What is left in the tables that a root reaches. */
function checkUnits(): void {
  const s = state();
  for (let at: usize = s.hash; at < <usize>s.hash + (<usize>s.hashMask + 1) * 16; at += 16) {
    const u = U.unitAt(load<u32>(at, 8));
    if (!u || standing(u) !== U.LIVE) continue;
    const r = U.rootOf(u);
    if (!r) continue;
    if (u.contiguous !== 0) checkWholeRuns(caseOf(0, 0), r, u);
    if (r.handle !== 0) leftLocked(r, u);
  }
}

/** Markers of an engine's walkers that nobody made anything of. */
function leftLocked(r: R.Root, u: U.Unit): void {
  for (let word: u32 = 0; word < UNIT_ENTRIES; word++) {
    const value = load<u64>(U.valueAt(u, word));
    if (!isLocked(value, <bool>(r.flags & R.R_TYPED))) continue;
    const by = load<u32>(U.markAt(u, word)) & 0xff,
      k = caseOfEntry(caseOf(by ? by - 1 : 0, 0), u, word);
    k.old = value;
    violate(K.V_LEFT_LOCKED, k);
  }
}
