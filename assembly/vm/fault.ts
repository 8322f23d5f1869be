// A stage-2 fault of a vCPU, as KVM's arm64 code decides about it [FLT-5..42]: who gets it, what the host provides, how
// large the mapping becomes, and which operation makes it. Kernel: kvm_handle_guest_abort, user_mem_abort, handle_access_fault.

import { isValid } from "../arch/descriptor";
import { FAULT_ACCESS, FAULT_PERMISSION, FAULT_TRANSLATION } from "../arch/fault";
import { get, WIDTH } from "../arch/field";
import { alignDown, FIRST_LEVEL, LAST_LEVEL, PS_4K, span } from "../arch/granule";
import { PROT_DEVICE, PROT_NC, PROT_R, PROT_W, PROT_X } from "../arch/protection";
import { CACHE_NONE, CACHE_OWN } from "../memory/cache";
import { ENOMEM, OK } from "../memory/errno";
import { parallel } from "../memory/layout";
import { Answer, result } from "../record/result";
import { OP_MAP, OP_MKYOUNG, OP_RELAX_PERMS, SUBMIT_TOP_UP } from "../table/submit";
import { HANDLE_FAULT, SHARED } from "../table/walk";
import { mark, reserve } from "./dirty/bitmap";
import { push } from "./dirty/ring";
import { PAGE_DEVICE, PAGE_HUGETLB, PAGE_SHIFT, PAGE_UNCACHED, PAGE_WRITABLE, touch } from "./host";
import { sequenceOf } from "./invalidation";
import { look, onTable, onTableUnlessChanged } from "./operate";
import { offsetOf } from "./rmap/alias";
import { beginReading, endReading, findSlot } from "./slots";
import {
  Agent,
  agent,
  hostOf,
  LOG_RING,
  noteOverflow,
  SLOT_INVALID,
  SLOT_LOGS,
  SLOT_READ_ONLY,
  Slot,
  Vm,
} from "./state";

// A fault as the VM is told of it:  10:8 level + 1   7 cache maintenance   6 stage-1 walk   5 exec   4 write   3:0 FAULT_*
export const FAULT_KIND: u32 = 0 | (4 << WIDTH);
export const FAULT_WRITE: u32 = 1 << 4;
export const FAULT_EXEC: u32 = 1 << 5;
/** On the way to a table of the guest's stage 1. */
export const FAULT_WALK: u32 = 1 << 6;
/** Of a cache maintenance instruction. */
export const FAULT_CACHE: u32 = 1 << 7;
export const FAULT_LEVEL: u32 = 8 | (3 << WIDTH);

// What a fault led to.
/** An operation on the table: a mapping, more permissions, the access flag. */
export const SERVICE_MAP: u32 = 1;
export const SERVICE_RELAX: u32 = 2;
export const SERVICE_YOUNG: u32 = 3;
/** No memory there, or none that may be written: the VMM emulates a device [FLT-6]. */
export const SERVICE_MMIO: u32 = 4;
/** Outside the VM's address space: an abort for the guest [FLT-5]. */
export const SERVICE_BEYOND: u32 = 5;
/** The VMM gets an error. */
export const SERVICE_REFUSED: u32 = 6;
/** The guest gets a prefetch abort or a data abort [FLT-6, FLT-7]. */
export const SERVICE_ABORT: u32 = 7;
/** Cache maintenance where there is no memory: the instruction is skipped [FLT-6]. */
export const SERVICE_SKIP: u32 = 8;

function answer(a: Agent, kind: u32, ipa: u64, size: u64, prot: u32, status: i32): i32 {
  a.kind = kind;
  a.ipa = ipa;
  a.size = size;
  a.prot = prot;
  a.status = status;
  return status;
}

/** May a mapping of `size` lie around a host address [FLT-27]? */
function supportsHuge(s: Slot, hva: u64, size: u64): bool {
  if (((s.gpa ^ s.hva) & (size - 1)) !== 0) return false;
  const start = alignDown(hva, size);
  return start >= s.hva && start + size <= s.hva + s.size;
}

/** Bytes to map [FLT-25, FLT-26, FLT-33]. `page`: what the host provides; `hardware`: size of the leaf of a permission fault, else 0. */
function sizeOf(v: Vm, s: Slot, hva: u64, page: u32, hardware: u64): u64 {
  const least = span(v.ps, LAST_LEVEL),
    block = span(v.ps, LAST_LEVEL - 1),
    provided = (<u64>1) << (page & PAGE_SHIFT);
  if (s.flags & SLOT_LOGS) return least;
  if (page & (PAGE_HUGETLB | PAGE_DEVICE)) {
    const huge = span(v.ps, LAST_LEVEL - 2);
    if (v.ps === PS_4K && provided >= huge && supportsHuge(s, hva, huge)) return huge;
  } else if (hardware > least) return hardware;
  return provided >= block && supportsHuge(s, hva, block) ? block : least;
}

/** A device is Device, or Normal-NC where the VMM's mapping allows that [FLT-31]. */
function memoryType(page: u32): u32 {
  if (!(page & PAGE_DEVICE)) return 0;
  return page & PAGE_UNCACHED ? PROT_NC : PROT_DEVICE;
}

/** The host provides a page, and the fault maps it [FLT-20..39]. `ipa`: an address of the slot, mapped `offset` above for an alias. */
function memoryAbort(v: Vm, a: Agent, s: Slot, ipa: u64, fault: u32, offset: u64): i32 {
  const permission = get(fault, FAULT_KIND) === FAULT_PERMISSION,
    write = <bool>(fault & FAULT_WRITE),
    exec = <bool>(fault & FAULT_EXEC);
  if (permission && !write && !exec) return answer(a, SERVICE_REFUSED, ipa, 0, 0, OK);
  const hva = s.hva + (ipa - s.gpa),
    sequence = sequenceOf(v), // before the host is asked [FLT-22]
    page = touch(hostOf(v), hva, write, exec);
  if (page === 0) return answer(a, SERVICE_REFUSED, ipa, 0, 0, OK);
  if (page & PAGE_DEVICE && exec) return answer(a, SERVICE_ABORT, ipa, 0, 0, OK); // [FLT-7, FLT-31]
  const hardware: u64 = permission ? span(v.ps, <i32>get(fault, FAULT_LEVEL) + FIRST_LEVEL) : 0,
    size = sizeOf(v, s, hva, page, hardware),
    logs = <bool>(s.flags & SLOT_LOGS),
    writable = <bool>(page & PAGE_WRITABLE) && !(s.flags & SLOT_READ_ONLY) && (write || !logs),
    prot = PROT_R | (writable ? PROT_W : 0) | (exec ? PROT_X : 0) | memoryType(page),
    start = alignDown(ipa, size),
    gfn = <u32>((ipa - s.gpa) >> v.ps),
    relax = permission && size === hardware;
  if (writable && logs && !reserve(s, gfn)) return answer(a, SERVICE_REFUSED, ipa, 0, 0, ENOMEM);
  const r = relax
    ? onTableUnlessChanged(v, OP_RELAX_PERMS, start, offset, 0, prot, CACHE_NONE, sharing(), sequence)
    : onTableUnlessChanged(
        v,
        OP_MAP,
        start,
        offset,
        size,
        prot,
        CACHE_OWN,
        HANDLE_FAULT | SUBMIT_TOP_UP | sharing(),
        sequence,
      );
  if (writable && logs && r === OK) noteDirty(v, a, s, gfn); // behind the mapping [FLT-38]
  return answer(a, relax ? SERVICE_RELAX : SERVICE_MAP, start + offset, size, prot, r);
}

/** Faults of several vCPUs are serviced at the same time [LCK-1]. */
function sharing(): u32 {
  return parallel() ? SHARED : 0;
}

/** A page of a slot that logs was made writable: the vCPU's ring has it, or the slot's bitmap [DLG-20]. */
function noteDirty(v: Vm, a: Agent, s: Slot, page: u32): void {
  if (v.strategy === LOG_RING && a.ring !== 0) {
    if (push(a.ring, s.id, page)) {
      a.marks++;
      return;
    }
    noteOverflow(v);
  }
  if (mark(s, page)) a.marks++;
}

/** Where the table ends for `ipa`: level + 1, and 8 for a valid leaf. */
export function levelOf(v: Vm, ipa: u64): i32 {
  const status = look(v, ipa);
  if (status < 0) return status;
  const leaf = result<Answer>();
  return (leaf.level - FIRST_LEVEL) | (isValid(leaf.value) ? 8 : 0);
}

/** Services a fault of a vCPU [FLT-5, FLT-6]; what it led to is in this walker's Agent. The status of the operation, 0 if there was none. */
export function fault(v: Vm, ipa: u64, what: u32): i32 {
  const a = agent(v);
  beginReading(a);
  const status = service(v, a, ipa, what);
  endReading(a);
  return status;
}

/** What becomes of an access where there is no memory, or with `readOnly` none to write [FLT-6]. */
function withoutMemory(what: u32, readOnly: bool): u32 {
  if (what & (FAULT_EXEC | FAULT_WALK)) return SERVICE_ABORT;
  return what & FAULT_CACHE && !readOnly ? SERVICE_SKIP : SERVICE_MMIO;
}

function service(v: Vm, a: Agent, ipa: u64, what: u32): i32 {
  const kind = get(what, FAULT_KIND);
  if (ipa >> v.ipaBits) return answer(a, SERVICE_BEYOND, ipa, 0, 0, OK);
  if (kind < FAULT_TRANSLATION || kind > FAULT_PERMISSION) return answer(a, SERVICE_REFUSED, ipa, 0, 0, OK);
  const offset = v.rmaps === 0 ? 0 : offsetOf(v, ipa),
    s = findSlot(v, ipa - offset);
  if (!s || s.flags & SLOT_INVALID) return answer(a, withoutMemory(what, false), ipa, 0, 0, OK);
  if (what & FAULT_WRITE && s.flags & SLOT_READ_ONLY) return answer(a, withoutMemory(what, true), ipa, 0, 0, OK);
  if (kind !== FAULT_ACCESS) return memoryAbort(v, a, s, ipa - offset, what, offset);
  return answer(a, SERVICE_YOUNG, ipa, 0, 0, onTable(v, OP_MKYOUNG, ipa, 0, 0, CACHE_NONE, sharing()));
}
