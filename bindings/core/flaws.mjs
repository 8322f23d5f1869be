// Flaws that the explorer must find: each takes one guard of the parallel code away. All are compiled into one build, and FLAW in
// a replacement is true for the flaw that runs (memory/schedule.ts). docs/explore.md says how to add one.

/**
 * `also`: a second text of the file, and what is put in its place.
 * @typedef {{ name: string, file: string, find: string, put: string, also?: [string, string], says: string }} Flaw
 */

const BBM = "assembly/table/bbm.ts";
const EPOCH = "assembly/memory/epoch.ts";
const LIMBO = "assembly/memory/limbo.ts";
const LOCK = "assembly/memory/lock.ts";
const TEARDOWN = "assembly/table/teardown.ts";
const TABLES = "assembly/memory/tables.ts";
const MACHINE = "assembly/sim/machine.ts";
const INTERCONNECT = "assembly/sim/interconnect.ts";
const TLB = "assembly/mmu/tlb.ts";
const WAYS = "assembly/mmu/ways.ts";
const FAULT = "assembly/vm/fault.ts";
const INVALIDATION = "assembly/vm/invalidation.ts";
const LOG = "assembly/vm/dirty/log.ts";
const BITMAP = "assembly/vm/dirty/bitmap.ts";
const DBM = "assembly/vm/dirty/dbm.ts";

/** @type {Flaw[]} */
export const FLAWS = [
  {
    name: "locked-again",
    file: BBM,
    find: "if (isLocked(old, <bool>(w.table.flags & T_TYPED))) {",
    put: "if (!FLAW && isLocked(old, <bool>(w.table.flags & T_TYPED))) {",
    says: "tryBreak takes the marker of another walker for an entry like others",
  },
  {
    name: "blind-take",
    file: BBM,
    find: "    if (!compareExchange(p, old, next)) {",
    put: "    if (FLAW) release(p, next); else if (!compareExchange(p, old, next)) {",
    says: "a slot is taken by a store in place of a compare-exchange",
  },
  {
    name: "hole-by-store",
    file: "assembly/table/page.ts",
    find: "  if (compareExchange(p, old, next)) return true;",
    put: "  if (FLAW) { compareExchange(p, read(p, true), next); return true; }\n  if (compareExchange(p, old, next)) return true;",
    says: "a hole is filled whatever it holds meanwhile",
  },
  {
    name: "grace-of-one-step",
    file: LIMBO,
    find: "& EPOCHS) < GRACE >> 1) break;",
    put: "& EPOCHS) < (FLAW ? 1 : GRACE >> 1)) break;",
    says: "a table in limbo is freed after one step of the epoch",
  },
  {
    name: "no-grace",
    file: LIMBO,
    find: "    // The difference is modulo the bits of the stamp",
    put: "    if (!FLAW)\n    // The difference is modulo the bits of the stamp",
    says: "a table in limbo is freed at the next occasion",
  },
  {
    name: "freed-at-once",
    file: TEARDOWN,
    find: "  if (parallel() && (isShared(w) || t.flags & T_LOCK_FREE)) return defer(t, table, level);",
    put: "  if (!FLAW && parallel() && (isShared(w) || t.flags & T_LOCK_FREE)) return defer(t, table, level);",
    says: "a table that a block replaces is freed at once",
  },
  {
    name: "discarded-at-once",
    file: TEARDOWN,
    find: "  if (parallel() && t.flags & T_LOCK_FREE) return defer(t, table, level);",
    put: "  if (!FLAW && parallel() && t.flags & T_LOCK_FREE) return defer(t, table, level);",
    says: "a table that an unmap empties is freed while lookups without the lock may be in it",
  },
  {
    name: "deaf-reader",
    file: LOCK,
    find: "    if (writerOf(t) === 0) return OK;\n    readUnlock(t);",
    put: "    if (FLAW || writerOf(t) === 0) return OK;\n    readUnlock(t);",
    says: "a reader does not look for a writer after it has entered",
  },
  {
    name: "hasty-writer",
    file: LOCK,
    find: "    if (readerOf(t, except) < 0) {",
    put: "    if (FLAW || readerOf(t, except) < 0) {",
    says: "a writer does not wait for the readers inside",
  },
  {
    name: "look-before-entering",
    file: LOCK,
    find: "  for (let i: u32 = 0; !isTooLate(i); i++) {\n    enter(handle);",
    put: "  for (let i: u32 = 0; !isTooLate(i); i++) {\n    if (FLAW) { if (writerOf(t) === 0) { enter(handle); return OK; } awaitWriter(t, i); continue; }\n    enter(handle);",
    says: "a reader looks for a writer before it enters, and not after",
  },
  {
    name: "epoch-ignores-readers",
    file: EPOCH,
    find: "  if (late < 0) claim(epochWord(), now, now + STEP);",
    put: "  if (FLAW || late < 0) claim(epochWord(), now, now + STEP);",
    says: "the epoch advances whoever is in a section",
  },
  {
    name: "no-synchronize",
    file: TEARDOWN,
    find: "  const stuck = parallel() ? drain() : OK;",
    put: "  const stuck = parallel() && !FLAW ? drain() : OK;",
    says: "a teardown does not wait for walkers without the lock",
  },
  {
    name: "root-stays",
    file: TEARDOWN,
    find: "  t.dying = root;\n  takeRoot(t);",
    put: "  t.dying = root;\n  if (!FLAW) takeRoot(t);",
    says: "a table that is torn down keeps its root",
  },
  {
    name: "any-life",
    file: "assembly/table/sharing.ts",
    find: "  if (!rootOf(t) || !isSameLife(t)) {",
    put: "  if (!FLAW && (!rootOf(t) || !isSameLife(t))) {",
    says: "who gets the lock does not ask whether the table is still there",
  },
  {
    name: "torn-counts",
    file: TABLES,
    find: "  if (!parallel()) {\n    growthOf(t).pages += n;",
    put: "  if (FLAW || !parallel()) {\n    growthOf(t).pages += n;",
    says: "walkers add to the table's pages by a load and a store",
  },
  {
    name: "record-for-two",
    file: TABLES,
    find: '    if (!claim(p + offsetof<Table>("used"), FREE, walker().id + USED_BY)) continue;',
    put: '    if (FLAW) { if (peek(p + offsetof<Table>("used")) !== FREE) continue; publish(p + offsetof<Table>("used"), walker().id + USED_BY); }\n    else if (!claim(p + offsetof<Table>("used"), FREE, walker().id + USED_BY)) continue;',
    says: "two walkers may take one table record",
  },
  {
    name: "spin-by-store",
    file: "assembly/memory/spin.ts",
    find: "  for (let i: u32 = 0; !claim(p, 0, walker().id + 1); i++) {",
    put: "  if (FLAW && peek(p) === 0) { publish(p, walker().id + 1); return OK; }\n  for (let i: u32 = 0; !claim(p, 0, walker().id + 1); i++) {",
    says: "a spin lock is taken by a load and a store",
  },
  {
    name: "table-lost",
    file: "assembly/table/map.ts",
    find: "  putPages(t, table, 1);\n  count(C_AGAIN, 1);",
    put: "  if (!FLAW) putPages(t, table, 1);\n  count(C_AGAIN, 1);",
    says: "who loses the race for a slot keeps the table page that it had taken for it",
  },
  {
    name: "no-intent",
    file: "assembly/memory/intent.ts",
    find: "  w.level = level;\n  w.breaking = <u32>p;",
    put: "  w.level = level;\n  w.breaking = FLAW ? 0 : <u32>p;",
    says: "a walker does not say which slot it is taking",
  },
  {
    name: "no-hand",
    file: "assembly/memory/intent.ts",
    find: "  walker().hand = <u32>p;\n}\n\n/** The page in hand is counted",
    put: "  walker().hand = FLAW ? 0 : <u32>p;\n}\n\n/** The page in hand is counted",
    says: "a walker does not say which page it has taken",
  },
  {
    name: "section-kept",
    file: "assembly/table/burial.ts",
    find: "  const section = expel(w.id);",
    put: "  const section = FLAW ? false : expel(w.id);",
    says: "a burial leaves the dead walker in its section",
  },
  {
    name: "writer-kept",
    file: "assembly/table/burial.ts",
    find: "    const wrote = inheritWriteLock(t, w.id);",
    put: "    const wrote = !FLAW && inheritWriteLock(t, w.id);",
    says: "a burial leaves the dead walker its lock for writing",
  },
  {
    name: "no-doubt",
    file: "assembly/table/burial.ts",
    find: "  if (reads !== 0 && (w.breaking | w.counting | w.hand | w.giving | w.tree) !== 0) {",
    put: "  if (!FLAW && reads !== 0 && (w.breaking | w.counting | w.hand | w.giving | w.tree) !== 0) {",
    says: "a burial trusts the reference counts of the table that the dead walker was in",
  },
  {
    name: "bury-twice",
    file: "assembly/table/burial.ts",
    find: "  if (!claim(word, ATTACHED, walker().id + BURIED_BY)) return",
    put: "  if (!FLAW && !claim(word, ATTACHED, walker().id + BURIED_BY)) return",
    says: "two walkers may bury one",
  },
  {
    name: "plain-make",
    file: BBM,
    find: "  if (isShared(w) || w.atomic) release(p, next);\n  else write(p, next);\n  journal(w, p, w.marker",
    put: "  if (!FLAW && (isShared(w) || w.atomic)) release(p, next);\n  else write(p, next);\n  journal(w, p, w.marker",
    says: "a slot that was taken is made by a plain store",
  },
  {
    name: "plain-unlock",
    file: LOCK,
    find: "  publish(writerWord(t), 0);",
    put: "  if (FLAW) store<u32>(writerWord(t), 0); else publish(writerWord(t), 0);",
    says: "the lock for writing is let go by a plain store",
  },
  // Of hardware and VM.
  {
    name: "dsb-waits-for-nobody",
    file: MACHINE,
    find: "  for (let i: u32 = 0; seen & 1 && peek(stepWord(cpu)) === seen; i++) {",
    put: "  for (let i: u32 = 0; !FLAW && seen & 1 && peek(stepWord(cpu)) === seen; i++) {",
    says: "a DSB does not wait for the accesses that other vCPUs have begun",
  },
  {
    name: "guest-runs-unseen",
    file: MACHINE,
    find: "  publish(stepWord(cpu), cpu.step + n);\n  peek(stepWord(cpu));",
    put: "  if (FLAW) n += n & 1;\n  publish(stepWord(cpu), cpu.step + n);\n  peek(stepWord(cpu));",
    says: "a vCPU does not say that its guest runs",
  },
  {
    name: "no-last-dsb",
    file: INTERCONNECT,
    find: "  issue(m, TLBI_STAGE1, domain, 0);\n  wait(m, domain);",
    put: "  issue(m, TLBI_STAGE1, domain, 0);\n  if (!FLAW) wait(m, domain);",
    says: "no DSB follows the TLBI of stage 1",
  },
  {
    name: "fill-beside-tlbi",
    file: WAYS,
    find: "  const stands = isUndisturbed(t);",
    put: "  const stands = FLAW || isUndisturbed(t);",
    says: "a TLB keeps what it filled while an invalidation came by",
  },
  {
    name: "fill-within-tlbi",
    file: TLB,
    find: "  t.began = now & 1 ? u64.MAX_VALUE : now;",
    put: "  t.began = !FLAW && now & 1 ? u64.MAX_VALUE : now;",
    says: "an access that begins during an invalidation fills the TLB",
  },
  {
    name: "log-without-flush",
    file: LOG,
    find: "  if (dirty !== 0 && protectsAgain(v)) flushRange(v, s.gpa, s.size);",
    put: "  if (!FLAW && dirty !== 0 && protectsAgain(v)) flushRange(v, s.gpa, s.size);",
    says: "a read of the dirty log protects pages and flushes nothing",
  },
  {
    name: "mark-before-map",
    file: FAULT,
    find: "  if (writable && logs && r === OK) noteDirty(v, a, s, gfn); // behind the mapping [FLT-38]",
    put: "  if (!FLAW && writable && logs && r === OK) noteDirty(v, a, s, gfn);",
    also: [
      "  const r = relax\n    ? onTableUnlessChanged(v, OP_RELAX_PERMS",
      "  if (FLAW && writable && logs) noteDirty(v, a, s, gfn);\n  const r = relax\n    ? onTableUnlessChanged(v, OP_RELAX_PERMS",
    ],
    says: "a fault marks a page before it is writable",
  },
  {
    name: "bits-lost",
    file: BITMAP,
    find: "  return p === 0 || observe(p) === 0 ? 0 : swap(p, 0) & bitsOf(v, s, i);",
    put: "  if (FLAW && p !== 0) { const bits = observe(p); swap(p, 0); return bits & bitsOf(v, s, i); }\n  return p === 0 || observe(p) === 0 ? 0 : swap(p, 0) & bitsOf(v, s, i);",
    says: "a word of the dirty bitmap is taken by a load and a store",
  },
  {
    name: "harvest-by-store",
    file: DBM,
    find: "      if (put(w, p, old, next, level)) {",
    put: "      if (FLAW) { release(p, next); w.changed = true; return OK; }\n      if (put(w, p, old, next, level)) {",
    also: ['import { read } from "../../memory/cell";', 'import { read, release } from "../../memory/cell";'],
    says: "a harvest of dirty bits stores what it has computed, whatever the hardware did meanwhile [BUG-50]",
  },
  {
    name: "sequence-after-progress",
    file: INVALIDATION,
    find: "  add(sequenceWord(v), 1);\n  add(progressWord(v), -1);",
    put: "  if (FLAW) add(progressWord(v), -1);\n  add(sequenceWord(v), 1);\n  if (!FLAW) add(progressWord(v), -1);",
    says: "an invalidation is over before its sequence number has changed",
  },
  {
    name: "sequence-before-progress",
    file: INVALIDATION,
    find: "  if (peek(progressWord(v)) !== 0 && (v.retryByRange === 0 || isInvalidated(v, gpa, size))) return true;\n  return peek(sequenceWord(v)) !== sequence;",
    put: "  if (FLAW && peek(sequenceWord(v)) !== sequence) return true;\n  if (peek(progressWord(v)) !== 0 && (v.retryByRange === 0 || isInvalidated(v, gpa, size))) return true;\n  return !FLAW && peek(sequenceWord(v)) !== sequence;",
    says: "a fault looks at the sequence number first, and then whether an invalidation is under way",
  },
  {
    name: "sequence-after-host",
    file: FAULT,
    find: "    sequence = sequenceOf(v), // before the host is asked [FLT-22]\n    page = touch(hostOf(v), hva, write, exec);",
    put: "    early = sequenceOf(v), // before the host is asked [FLT-22]\n    page = touch(hostOf(v), hva, write, exec),\n    sequence = FLAW ? sequenceOf(v) : early;",
    says: "a fault notes the sequence number after it has asked the host",
  },
  {
    name: "touch-unlocked",
    file: "assembly/vm/host.ts",
    find: "  return !parallel() || acquire(lockWord(h)) === OK;",
    put: "  return FLAW || !parallel() || acquire(lockWord(h)) === OK;",
    also: ["  if (parallel()) relinquish(lockWord(h));", "  if (!FLAW && parallel()) relinquish(lockWord(h));"],
    says: "two vCPUs touch the host's memory at once",
  },
];
