// The exports of the VM module: what KVM does around the tables, on an engine's memory. It has the engine's tables in it, and
// works as the walker that an instance of the engine on the same thread is.
// Addresses and sizes are doubles, which hold every address of 52 bits; any other value is refused. Statuses are 0, or more
// where a comment says so, or a negative errno.

import { EEXIST, EINVAL, ENOENT, ENOMEM, MAX_ERRNO, OK } from "./memory/errno";
import { becomeWalker, isArenaRange, me, T_HYP } from "./memory/layout";
import { isTableHandle, tableAt } from "./memory/tables";
import * as M from "./sim/machine";
import * as P from "./sim/processors";
import { runRecorded } from "./sim/recorded";
import { run as runCpu } from "./sim/vcpu";
import { copyAll, copyReported, uncopied, written } from "./sim/witness";
import { AREA_DEVICE, AREA_FRESH, AREA_THP, AREA_UNCACHED } from "./vm/areas";
import { wordOf, wordsOf } from "./vm/dirty/bitmap";
import { createHdbss, discardHdbss, MAX_HDBSS } from "./vm/dirty/hdbss";
import { clearDirtyLog as clearLog, collectRings, dropReport, getDirtyLog as getLog, reported } from "./vm/dirty/log";
import { createRing, discardRing, RING_RESERVED, timesFull } from "./vm/dirty/ring";
import * as F from "./vm/fault";
import * as H from "./vm/host";
import * as N from "./vm/notifier";
import { addAlias, offsetOf } from "./vm/rmap/alias";
import * as R from "./vm/rmap/maps";
import * as RS from "./vm/rmap/shadow";
import { discardSlots, findSlot, slotNamed, slots } from "./vm/slots";
import * as S from "./vm/state";

/** No address: what is not a whole number of 0 to 2^53 - 1. */
const NONE: u64 = u64.MAX_VALUE;
const LIMIT: f64 = 9007199254740992;

function whole(x: f64): u64 {
  if (!(x >= 0 && x < LIMIT)) return NONE; // NaN too
  const n = <u64>x;
  return <f64>n === x ? n : NONE;
}

function isRange(start: u64, end: u64): bool {
  return end !== NONE && start <= end;
}

function isUsable(vm: u32): bool {
  return me !== 0 && S.isVm(vm);
}

function vmAt(vm: u32): S.Vm {
  return changetype<S.Vm>(vm);
}

/** This instance is walker `id`, as an instance of the engine on this thread is already; EINVAL if nobody is. */
export function vmAttach(id: u32): i32 {
  return becomeWalker(id);
}

/** A VM around a stage-2 table: its pointer, or a negative errno. `host`: HOST_*; `otherwise`: hugetlb bytes of memory that nobody described. */
export function vmCreate(table: u32, ipaBits: u32, physBase: f64, host: u32, otherwise: f64): i32 {
  const base = whole(physBase),
    huge = whole(otherwise);
  if (me === 0 || !isTableHandle(table) || base === NONE || huge === NONE) return EINVAL;
  return tableAt(table).flags & T_HYP ? EINVAL : S.createVm(table, ipaBits, base, host, huge);
}

/** Gives back all that the VM keeps. The table is its owner's. */
export function vmDestroy(vm: u32): i32 {
  if (!isUsable(vm)) return EINVAL;
  for (let i: u32 = 0; i < S.RINGS; i++) {
    vmSetRing(vm, i, 0);
    vmSetHdbss(vm, i, 0);
  }
  dropReport(vmAt(vm));
  R.discardMaps(vmAt(vm));
  discardSlots(vmAt(vm));
  H.discardHost(S.hostOf(vmAt(vm)));
  return S.discardVm(vmAt(vm));
}

/** This walker's part of the VM; 0 for no VM. */
export function vmAgent(vm: u32): u32 {
  return isUsable(vm) ? <u32>changetype<usize>(S.agent(vmAt(vm))) : 0;
}

/** Where operations `op` of this walker that ended as `outcome` are counted; 0 for what is not counted. */
export function vmCounter(vm: u32, op: u32, outcome: u32): u32 {
  return isUsable(vm) && op < S.OPERATIONS && outcome < S.OUTCOMES ? <u32>S.countOf(vmAt(vm), op, outcome) : 0;
}

// --- slots and faults -------------------------------------------------------------------------

/** KVM_SET_USER_MEMORY_REGION: CHANGE_*, or an errno, and then nothing has changed. */
export function vmSetRegion(vm: u32, id: u32, flags: u32, gpa: f64, size: f64, hva: f64): i32 {
  const at = whole(gpa),
    bytes = whole(size),
    host = whole(hva);
  if (!isUsable(vm) || at === NONE || bytes === NONE || host === NONE) return EINVAL;
  return N.setRegion(vmAt(vm), id, flags, at, bytes, host);
}

/** The slot of a guest address: its id, or ENOENT. */
export function vmFindSlot(vm: u32, gpa: f64): i32 {
  const at = whole(gpa);
  if (!isUsable(vm) || at === NONE) return EINVAL;
  const s = findSlot(vmAt(vm), at);
  return s ? <i32>s.id : ENOENT;
}

/** Slots in use. */
export function vmSlotCount(vm: u32): u32 {
  return isUsable(vm) ? slots(vmAt(vm)).count : 0;
}

/** The VMM's address of a guest address; -1 outside the slots. */
export function vmHostAddress(vm: u32, gpa: f64): f64 {
  const at = whole(gpa);
  if (!isUsable(vm) || at === NONE) return -1;
  const s = findSlot(vmAt(vm), at);
  return s ? <f64>(s.hva + (at - s.gpa)) : -1;
}

/** The next part of a guest range that lies in a slot: position after it, its host addresses in the agent; 0 for no more. */
export function vmHostPart(vm: u32, gpa: f64, size: f64, from: u32): u32 {
  const at = whole(gpa),
    bytes = whole(size);
  return isUsable(vm) && at !== NONE && bytes !== NONE ? N.hostPart(vmAt(vm), at, bytes, from) : 0;
}

/** Services a fault; see vm/fault.ts for `what` and for what it leaves in the agent. The operation's status. */
export function vmFault(vm: u32, ipa: f64, what: u32): i32 {
  const at = whole(ipa);
  return isUsable(vm) && at !== NONE ? F.fault(vmAt(vm), at, what) : EINVAL;
}

/** Where the table ends for a guest address: level + 1, and 8 for a valid leaf. */
export function vmLevel(vm: u32, ipa: f64): i32 {
  const at = whole(ipa);
  return isUsable(vm) && at !== NONE ? F.levelOf(vmAt(vm), at) : EINVAL;
}

// --- what the host does -----------------------------------------------------------------------

/** The host is about to change [start, end) of the VMM's memory: how many parts of slots are unmapped. */
export function vmInvalidate(vm: u32, start: f64, end: f64): i32 {
  const from = whole(start),
    to = whole(end);
  return isUsable(vm) && isRange(from, to) ? N.invalidate(vmAt(vm), from, to) : EINVAL;
}

/** The first half of vmInvalidate: until vmInvalidateEnd of the same range, faults there try again. Parts of slots, or ETIMEDOUT. */
export function vmInvalidateBegin(vm: u32, start: f64, end: f64, mayBlock: bool): i32 {
  const from = whole(start),
    to = whole(end);
  return isUsable(vm) && isRange(from, to) ? N.beginInvalidation(vmAt(vm), from, to, mayBlock) : EINVAL;
}

/** The second half: the host has changed [start, end). EINVAL if nothing began. */
export function vmInvalidateEnd(vm: u32, start: f64, end: f64): i32 {
  const from = whole(start),
    to = whole(end);
  return isUsable(vm) && isRange(from, to) ? N.endInvalidation(vmAt(vm), from, to) : EINVAL;
}

/** Was [start, end) accessed? With `clear` also clears the access flags. How many parts of slots it has. */
export function vmAge(vm: u32, start: f64, end: f64, clear: bool): i32 {
  const from = whole(start),
    to = whole(end);
  return isUsable(vm) && isRange(from, to) ? <i32>N.age(vmAt(vm), from, to, clear) : EINVAL;
}

/** The host replaced a page: how many parts of slots are mapped anew, read-only. */
export function vmChangePage(vm: u32, hva: f64): i32 {
  const at = whole(hva);
  return isUsable(vm) && at !== NONE ? <i32>N.changePage(vmAt(vm), at) : EINVAL;
}

/** Unmaps a guest range. */
export function vmUnmap(vm: u32, gpa: f64, size: f64): i32 {
  const at = whole(gpa),
    bytes = whole(size);
  return isUsable(vm) && at !== NONE && bytes !== NONE ? N.unmapGuest(vmAt(vm), at, bytes) : EINVAL;
}

/** Cleans the caches of all slots. */
export function vmCleanCaches(vm: u32): i32 {
  if (!isUsable(vm)) return EINVAL;
  N.cleanCaches(vmAt(vm));
  return OK;
}

// --- reverse maps -----------------------------------------------------------------------------

/** Gives the VM reverse maps; `quirks`: QUIRK_*. EINVAL if there are slots, or tables without forced write-back; ENOMEM. */
export function vmReverseMaps(vm: u32, quirks: u32): i32 {
  return isUsable(vm) && slots(vmAt(vm)).count === 0 ? R.createMaps(vmAt(vm), quirks) : EINVAL;
}

/** Pointer of the record of the reverse maps; 0 without. */
export function vmMaps(vm: u32): u32 {
  return isUsable(vm) ? vmAt(vm).rmaps : 0;
}

function hasMaps(vm: u32): bool {
  return isUsable(vm) && vmAt(vm).rmaps !== 0;
}

/** [ipa, ipa + size) leads to the memory of a slot at `gpa`. 0, EINVAL, EEXIST over a slot or an alias, EBUSY when there are too many. */
export function vmAddAlias(vm: u32, ipa: f64, gpa: f64, size: f64): i32 {
  const at = whole(ipa),
    memory = whole(gpa),
    bytes = whole(size);
  if (!hasMaps(vm) || at === NONE || memory === NONE || bytes === NONE) return EINVAL;
  if (!RS.isMemory(vmAt(vm), memory, bytes)) return EINVAL;
  return N.hostPart(vmAt(vm), at, bytes, 0) === 0 ? addAlias(vmAt(vm), at, memory, bytes) : EEXIST;
}

/** A table that is empty becomes a shadow: its leaves have reverse maps. 0, EINVAL, or EBUSY when there are too many. */
export function vmAddShadow(vm: u32, table: u32): i32 {
  if (!hasMaps(vm) || !isTableHandle(table) || tableAt(table).flags & T_HYP) return EINVAL;
  return R.addTable(R.mapsOf(vmAt(vm)), table);
}

function isShadow(vm: u32, table: u32): bool {
  return hasMaps(vm) && isTableHandle(table) && RS.isShadow(vmAt(vm), table);
}

/** Maps a range of a shadow to the memory of a slot; EINVAL, or the map's errno. */
export function vmMapShadow(vm: u32, table: u32, ipa: f64, gpa: f64, size: f64, prot: u32): i32 {
  const at = whole(ipa),
    memory = whole(gpa),
    bytes = whole(size);
  if (!isShadow(vm, table) || at === NONE || memory === NONE || bytes === NONE) return EINVAL;
  return RS.mapShadow(vmAt(vm), table, at, memory, bytes, prot);
}

/** Unmaps a range of a shadow; of size 0 the whole shadow goes, its tables too. */
export function vmDropShadow(vm: u32, table: u32, ipa: f64, size: f64): i32 {
  const at = whole(ipa),
    bytes = whole(size);
  if (!isShadow(vm, table) || at === NONE || bytes === NONE) return EINVAL;
  return RS.dropShadow(vmAt(vm), table, at, bytes);
}

/** Copies pointers of the descriptors that map `gpa` at `level`, `max` at most, to `out`; how many there are, and MAPPINGS_CHAIN. */
export function vmMappings(vm: u32, gpa: f64, level: i32, out: u32, max: u32): i32 {
  const at = whole(gpa);
  if (!hasMaps(vm) || at === NONE || !isArenaRange(out, (<u64>max) << 2)) return EINVAL;
  return RS.mappings(vmAt(vm), at, level, out, max);
}

/** Frees the tables that were unlinked while others might be in them. ETIMEDOUT if a walker makes no progress. */
export function vmReclaim(vm: u32): i32 {
  return hasMaps(vm) ? RS.reclaim(vmAt(vm)) : EINVAL;
}

/** Entries of all reverse maps. */
export function vmMapEntries(vm: u32): u32 {
  return hasMaps(vm) ? RS.entriesOf(vmAt(vm)) : 0;
}

/** How far a guest address lies above the memory that it leads to: 0 unless it is an alias. */
export function vmAliasOffset(vm: u32, ipa: f64): f64 {
  const at = whole(ipa);
  return isUsable(vm) && at !== NONE ? <f64>offsetOf(vmAt(vm), at) : 0;
}

// --- the dirty log ----------------------------------------------------------------------------

/** KVM_GET_DIRTY_LOG: pages that are dirty; they are clean afterwards unless clearing is manual. ENOENT without a log. */
export function vmGetDirtyLog(vm: u32, id: u32): i32 {
  return isUsable(vm) ? getLog(vmAt(vm), id) : EINVAL;
}

/** KVM_CLEAR_DIRTY_LOG of `pages` pages from `first`, a multiple of 64. */
export function vmClearDirtyLog(vm: u32, id: u32, first: u32, pages: u32): i32 {
  return isUsable(vm) ? clearLog(vmAt(vm), id, first, pages) : EINVAL;
}

/** The slot that logs as `id`; null if there is none. */
function loggingSlot(vm: u32, id: u32): S.Slot {
  const s = slotNamed(vmAt(vm), id);
  return s && s.flags & S.SLOT_LOGS ? s : changetype<S.Slot>(0);
}

/** Pages of a slot that logs; ENOENT without a log. */
export function vmSlotPages(vm: u32, id: u32): i32 {
  if (!isUsable(vm)) return EINVAL;
  const s = loggingSlot(vm, id);
  return s ? <i32>S.pagesOf(vmAt(vm), s) : ENOENT;
}

/** Copies the slot's bitmap from word `from` on, one bit a page in words of 64, `max` words at most, to `out`; how many words. */
export function vmDirtyWords(vm: u32, id: u32, from: u32, out: u32, max: u32): i32 {
  if (!isUsable(vm) || !isArenaRange(out, (<u64>max) << 3)) return EINVAL;
  const s = loggingSlot(vm, id);
  if (!s) return ENOENT;
  const words = wordsOf(vmAt(vm), s),
    n = from < words ? min(words - from, max) : 0;
  for (let i: u32 = 0; i < n; i++) store<u64>(out + (i << 3), wordOf(vmAt(vm), s, from + i));
  return n;
}

/** Copies what was last taken out of a dirty log, from word `from` on, `max` words at most, to `out`; how many words. */
export function vmTakenWords(vm: u32, from: u32, out: u32, max: u32): i32 {
  if (!isUsable(vm) || !isArenaRange(out, (<u64>max) << 3)) return EINVAL;
  const words = vmAt(vm).reportWords,
    n = from < words ? min(words - from, max) : 0;
  for (let i: u32 = 0; i < n; i++) store<u64>(out + (i << 3), reported(vmAt(vm), from + i));
  return n;
}

/** Gives vCPU `cpu` a dirty ring of `entries`, a power of two above 64; 0 takes it away. 0, EINVAL or ENOMEM. */
export function vmSetRing(vm: u32, cpu: u32, entries: u32): i32 {
  if (!isUsable(vm) || cpu >= S.RINGS || entries >> 16 !== 0) return EINVAL;
  const made = entries === 0 ? 0 : createRing(entries);
  if (entries !== 0 && made === 0) return entries & (entries - 1) || entries <= RING_RESERVED ? EINVAL : ENOMEM;
  const old = S.ringOf(vmAt(vm), cpu);
  S.setRing(vmAt(vm), cpu, made);
  if (old !== 0) discardRing(old);
  return OK;
}

/** Gives vCPU `cpu` a log of the hardware's, of `entries`; 0 takes it away. 0, EINVAL or ENOMEM. Precondition: the vCPU does not run. */
export function vmSetHdbss(vm: u32, cpu: u32, entries: u32): i32 {
  if (!isUsable(vm) || cpu >= S.RINGS || entries > MAX_HDBSS) return EINVAL;
  const made = entries === 0 ? 0 : createHdbss(entries);
  if (entries !== 0 && made === 0) return ENOMEM;
  const old = S.hdbssOf(vmAt(vm), cpu);
  S.setHdbss(vmAt(vm), cpu, made);
  if (old !== 0) discardHdbss(old);
  return OK;
}

/** Collects all dirty rings into the bitmaps of their slots, and protects their pages; how many entries there were. */
export function vmCollectRings(vm: u32): i32 {
  return isUsable(vm) ? <i32>collectRings(vmAt(vm)) : EINVAL;
}

/** How often vCPU `cpu` stopped because its ring was full; 0 without a ring. */
export function vmRingFull(vm: u32, cpu: u32): u32 {
  if (!isUsable(vm) || cpu >= S.RINGS) return 0;
  const ring = S.ringOf(vmAt(vm), cpu);
  return ring === 0 ? 0 : timesFull(ring);
}

// --- the VMM's memory -------------------------------------------------------------------------

/** Sets the kind of [start, end) of the VMM's memory: bytes of a hugetlb page or 0, AREA_*. */
export function hostDefine(vm: u32, start: f64, end: f64, hugetlb: f64, flags: u32): i32 {
  const from = whole(start),
    to = whole(end),
    huge = whole(hugetlb);
  if (!isUsable(vm) || !isRange(from, to) || huge === NONE) return EINVAL;
  if (flags & ~(AREA_THP | AREA_FRESH | AREA_DEVICE | AREA_UNCACHED)) return EINVAL;
  return H.define(S.hostOf(vmAt(vm)), from, to, huge, flags);
}

/** The kind of memory that nobody described: bytes of a hugetlb page or 0, and whether there are huge pages. */
export function hostOtherwise(vm: u32, hugetlb: f64, thp: bool): i32 {
  const huge = whole(hugetlb);
  if (!isUsable(vm) || huge === NONE) return EINVAL;
  H.setOtherwise(S.hostOf(vmAt(vm)), huge, thp);
  return OK;
}

/** The page that the host provides for a touch, PAGE_*; 0 for none. */
export function hostTouch(vm: u32, hva: f64, write: bool, exec: bool): i32 {
  const at = whole(hva);
  return isUsable(vm) && at !== NONE ? <i32>H.touch(S.hostOf(vmAt(vm)), at, write, exec) : EINVAL;
}

/** Something happens to [start, end) of the VMM's memory: HOST_*. 0, EINVAL or ENOMEM. */
export function hostChange(vm: u32, what: u32, start: f64, end: f64): i32 {
  const from = whole(start),
    to = whole(end);
  return isUsable(vm) && isRange(from, to) ? H.change(S.hostOf(vmAt(vm)), what, from, to) : EINVAL;
}

// --- a machine that runs ----------------------------------------------------------------------

/**
 * A machine without CPUs for a VM: its pointer, or a negative errno. `witness`: WITNESS_*. `processors`: the CPUs of a host that its vCPUs
 * share with others; 0: each has a CPU of its own.
 */
export function machineCreate(vm: u32, witness: u32, processors: u32): i32 {
  if (!isUsable(vm) || witness & ~(M.WITNESS_STORES | M.WITNESS_TRANSLATIONS)) return EINVAL;
  if (processors !== 0 && !P.isProcessors(processors)) return EINVAL;
  const p = M.createMachine(vm, witness);
  if (isPointer(p)) M.machineAt(p).processors = processors;
  return p;
}

/** Gives it back. Its CPUs' contexts and TLBs are their owner's. */
export function machineDestroy(machine: u32): i32 {
  if (!isMachine(machine)) return EINVAL;
  const m = M.machineAt(machine);
  if (P.isProcessors(m.processors)) P.putAll(P.processorsAt(m.processors), m);
  return M.discardMachine(m);
}

/** Is it a pointer, and no negative errno? */
function isPointer(p: i32): bool {
  return !(p < 0 && p >= -MAX_ERRNO);
}

// --- CPUs that many VMs share -----------------------------------------------------------------

/** The CPUs of a host, without TLBs, and VMIDs of `bits` bits: pointer, EINVAL or ENOMEM. */
export function processorsCreate(count: u32, bits: u32): i32 {
  return me !== 0 ? P.createProcessors(count, bits) : EINVAL;
}

/** Gives them back. Their TLBs are their owner's. Precondition: no machine uses them. */
export function processorsDestroy(processors: u32): i32 {
  return me !== 0 && P.isProcessors(processors) ? P.discardProcessors(P.processorsAt(processors)) : EINVAL;
}

/** Gives CPU `i` its TLB, which an MMU of the engine's memory made. */
export function processorSetTlb(processors: u32, i: u32, tlb: u32): i32 {
  return me !== 0 && P.isProcessors(processors) ? P.setProcessor(P.processorsAt(processors), i, tlb) : EINVAL;
}

/** Loads vCPU `vcpu` of a machine of these CPUs onto CPU `i`, in place of what is there. 0, EBUSY if it is on another one, EINVAL or ETIMEDOUT. */
export function processorLoad(processors: u32, i: u32, machine: u32, vcpu: u32): i32 {
  if (me === 0 || !P.isProcessors(processors) || !isMachine(machine)) return EINVAL;
  const s = P.processorsAt(processors),
    m = M.machineAt(machine);
  if (i >= s.count || m.processors !== processors || vcpu >= m.cpus) return EINVAL;
  return P.loadVcpu(s, i, m, vcpu);
}

/** CPU `i` runs no vCPU any more. */
export function processorPut(processors: u32, i: u32): i32 {
  if (me === 0 || !P.isProcessors(processors) || i >= P.processorsAt(processors).count) return EINVAL;
  P.putVcpu(P.processorsAt(processors), i);
  return OK;
}

function isMachine(machine: u32): bool {
  return me !== 0 && M.isMachine(machine);
}

/** Adds a CPU, whose context and TLB an MMU of the engine's memory made: its number, or EINVAL. */
export function machineAddCpu(machine: u32, context: u32, tlb: u32): i32 {
  return isMachine(machine) ? M.addCpu(M.machineAt(machine), context, tlb) : EINVAL;
}

/** Pointer of a CPU's record; 0 for no CPU. */
export function machineCpu(machine: u32, cpu: u32): u32 {
  if (!isMachine(machine) || cpu >= M.machineAt(machine).cpus) return 0;
  return <u32>changetype<usize>(M.cpuAt(M.machineAt(machine), cpu));
}

/** Runs `n` accesses of a CPU's workload: how many are left, because its dirty ring is full. EINVAL for no CPU, or a workload that cannot be. */
export function machineRun(machine: u32, cpu: u32, n: u32): i32 {
  if (!isMachine(machine) || cpu >= M.machineAt(machine).cpus) return EINVAL;
  const m = M.machineAt(machine);
  if (!M.isReady(M.cpuAt(m, cpu))) return EINVAL;
  if (m.processors !== 0 && (!P.isProcessors(m.processors) || M.cpuAt(m, cpu).processor === 0)) return EINVAL;
  return <i32>runCpu(m, cpu, min<u32>(n, i32.MAX_VALUE));
}

/** Performs the `n` recorded accesses at `p`, sim/recorded.ts: how many are left, because a dirty ring is full. EINVAL at one that names no CPU or kind. */
export function machineRunRecorded(machine: u32, p: u32, n: u32): i32 {
  if (!isMachine(machine) || p & 7 || n > <u32>i32.MAX_VALUE || !isArenaRange(p, (<u64>n) << 3)) return EINVAL;
  return runRecorded(M.machineAt(machine), p, n);
}

/** KVM_GET_DIRTY_LOG; the pages that were taken out of the log are copied. Pages that were dirty. */
export function machineCollect(machine: u32, slot: u32): i32 {
  if (!isMachine(machine)) return EINVAL;
  const m = M.machineAt(machine),
    bad = emptyLogs(m);
  return bad ? bad : copyTaken(m, slot, getLog(M.vmOf(m), slot));
}

/** KVM_CLEAR_DIRTY_LOG of `pages` pages from `first`, a multiple of 64; the pages that were taken out of the log are copied. */
export function machineClear(machine: u32, slot: u32, first: u32, pages: u32): i32 {
  if (!isMachine(machine)) return EINVAL;
  const m = M.machineAt(machine),
    bad = emptyLogs(m);
  return bad ? bad : copyTaken(m, slot, clearLog(M.vmOf(m), slot, first, pages));
}

/** What the hardware's own logs of dirty pages hold goes to the VM's: every vCPU leaves the guest once. */
function emptyLogs(m: M.Machine): i32 {
  return M.vmOf(m).strategy === S.LOG_HDBSS ? M.kickAll(m) : OK;
}

/** Copies the pages that a read or clear of a slot's log took out of it, if it succeeded; its status. */
function copyTaken(m: M.Machine, slot: u32, status: i32): i32 {
  const s = slotNamed(M.vmOf(m), slot);
  if (status >= 0 && s) copyReported(m, s);
  return status;
}

/** Copies all of the guest's memory, as the first round of a migration does. */
export function machineCopyAll(machine: u32): i32 {
  if (!isMachine(machine)) return EINVAL;
  copyAll(M.machineAt(machine));
  return OK;
}

/** Pages with stores that no collector copied. 0 after the last collection, unless a store went unlogged. The guest must stand still. */
export function machineUncopied(machine: u32): i32 {
  return isMachine(machine) ? <i32>uncopied(M.machineAt(machine)) : EINVAL;
}

/** Pages that any CPU stored to, if stores are counted. The guest must stand still. */
export function machineWritten(machine: u32): i32 {
  return isMachine(machine) ? <i32>written(M.machineAt(machine)) : EINVAL;
}
