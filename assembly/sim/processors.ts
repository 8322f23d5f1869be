// The CPUs of a host on which many VMs run, more than there are CPUs and VMIDs. One block of the arena:
//
//   Processors: the VMIDs, and how many CPUs
//   at 64       a Processor for each
//
// A vCPU is loaded onto a CPU, runs there with that CPU's TLB, and is put. While it is loaded its VM keeps its VMID.

import { maskOf, put } from "../arch/field";
import { TTBR_ID } from "../arch/registers";
import { EBUSY, EINVAL, ENOMEM, MAX_ERRNO, OK } from "../memory/errno";
import { giveFrames, takeFrames } from "../memory/frames";
import { handOver } from "../memory/intent";
import { isArenaRange } from "../memory/layout";
import { setTag } from "../mmu/cached";
import { complete, post, TLBI_STAGE1 } from "../mmu/invalidate";
import { isUsableTlb, Tlb, tlbAt } from "../mmu/tlb";
import { J_VTTBR, record } from "../record/journal";
import { LAST_RAN, tableOf } from "../vm/state";
import {
  changesVcpu,
  clearVmid,
  createVmids,
  discardVmids,
  isVmids,
  updateVmid,
  Vmids,
  vmidOf,
  vmidsAt,
} from "../vm/vmid";
import { Cpu, contextOf, cpuAt, Machine, machineAt, vmOf } from "./machine";

export const PROCESSORS_MAGIC: u32 = 0x72706d67; // "gmpr"
const PROCESSORS_AT: u32 = 64;

@view()
@unmanaged
export class Processors {
  magic: u32;
  /** Pointer of the VMIDs. */
  vmids: u32;
  count: u32;
  /** Times that a CPU forgot a VM's stage-1 translations, because another vCPU of the VM had run there. */
  contextFlushes: u32;
}

/** A CPU of the host. */
@unmanaged
export class Processor {
  tlb: u32;
  /** Pointer of the machine whose vCPU is loaded, 0 for none; and the vCPU. */
  machine: u32;
  vcpu: u32;
  spare: u32;
}

const PROCESSOR_BYTES: u32 = <u32>offsetof<Processor>();
const BYTES: u32 = PROCESSORS_AT + LAST_RAN * PROCESSOR_BYTES;

export function processorsAt(p: u32): Processors {
  return changetype<Processors>(p);
}

export function processorAt(s: Processors, i: u32): Processor {
  return changetype<Processor>(changetype<usize>(s) + PROCESSORS_AT + i * PROCESSOR_BYTES);
}

/** Are there CPUs at `p`? Any u32 is allowed. */
export function isProcessors(p: u32): bool {
  return isArenaRange(p, BYTES) && processorsAt(p).magic === PROCESSORS_MAGIC && isVmids(processorsAt(p).vmids);
}

export function vmidsOf(s: Processors): Vmids {
  return vmidsAt(s.vmids);
}

/** `count` CPUs without TLBs, and VMIDs of `bits` bits: pointer, EINVAL or ENOMEM. */
export function createProcessors(count: u32, bits: u32): i32 {
  const vmids = createVmids(bits, count);
  if (vmids < 0 && vmids >= -MAX_ERRNO) return vmids;
  const p = <u32>takeFrames(0);
  if (p === 0) {
    discardVmids(vmidsAt(vmids));
    return ENOMEM;
  }
  const s = processorsAt(p);
  s.vmids = vmids;
  s.count = count;
  s.magic = PROCESSORS_MAGIC;
  handOver();
  vmidsAt(vmids).listeners = p;
  return p;
}

/** Gives CPU `i` its TLB. */
export function setProcessor(s: Processors, i: u32, tlb: u32): i32 {
  if (i >= s.count || !isUsableTlb(tlb)) return EINVAL;
  processorAt(s, i).tlb = tlb;
  return OK;
}

/** Gives them back. Precondition: no machine uses them any more. */
export function discardProcessors(s: Processors): i32 {
  const bad = discardVmids(vmidsOf(s));
  s.magic = 0;
  return giveFrames(changetype<usize>(s)) ? bad : EINVAL;
}

/** TLB of CPU `i`. */
export function tlbOfProcessor(s: Processors, i: u32): Tlb {
  return tlbAt(processorAt(s, i).tlb);
}

/** The vCPU enters the guest with its VM's VMID in VTTBR_EL2 [VMID-9]. */
function enterWith(cpu: Cpu, vmid: u32): void {
  const c = contextOf(cpu);
  c.vttbr = (c.vttbr & ~maskOf(TTBR_ID)) | put(vmid, TTBR_ID);
  c.vmid = vmid;
  setTag(c);
}

/** A vCPU that is loaded is about to enter the guest: its VMID is current afterwards. 0, EINVAL if it is not loaded, or ETIMEDOUT. */
export function enterGuest(m: Machine, cpu: Cpu): i32 {
  if (cpu.processor === 0) return EINVAL;
  const s = processorsAt(m.processors),
    bad = updateVmid(vmidsOf(s), cpu.processor - 1, vmOf(m));
  if (bad) return bad;
  const vmid = vmidOf(vmidsOf(s), vmOf(m));
  record(J_VTTBR, changetype<usize>(tableOf(vmOf(m))), cpu.processor - 1, 0, vmid, 0);
  enterWith(cpu, vmid);
  return OK;
}

/** VMALLE1 and a DSB on CPU `i` alone, under a VMID: what stage 1 had a part in [TLB-4, VMID-10]. */
function forgetContext(s: Processors, i: u32, vmid: u32): void {
  post(tlbOfProcessor(s, i), i, TLBI_STAGE1, 0, vmid);
  complete(tlbOfProcessor(s, i), i, 0);
}

/** Loads vCPU `vcpu` of a machine onto CPU `i`, in place of what is there. 0, EBUSY if it is on another one, EINVAL or ETIMEDOUT. */
export function loadVcpu(s: Processors, i: u32, m: Machine, vcpu: u32): i32 {
  const cpu = cpuAt(m, vcpu),
    p = processorAt(s, i);
  if (!isUsableTlb(p.tlb)) return EINVAL;
  if (cpu.processor === i + 1) return OK;
  if (cpu.processor !== 0) return EBUSY;
  putVcpu(s, i);
  cpu.processor = i + 1;
  cpu.tlb = p.tlb;
  p.machine = <u32>changetype<usize>(m);
  p.vcpu = vcpu;
  const bad = enterGuest(m, cpu);
  if (bad) {
    putVcpu(s, i);
    return bad;
  }
  if (changesVcpu(vmOf(m), i, vcpu)) {
    s.contextFlushes++;
    forgetContext(s, i, vmidOf(vmidsOf(s), vmOf(m)));
  }
  return OK;
}

/** CPU `i` runs no vCPU any more. */
export function putVcpu(s: Processors, i: u32): void {
  const p = processorAt(s, i);
  if (p.machine !== 0) {
    cpuAt(machineAt(p.machine), p.vcpu).processor = 0;
    record(J_VTTBR, 0, i, 0, 0, 0);
  }
  p.machine = 0;
  clearVmid(vmidsOf(s), i);
}

/** A machine goes: none of its vCPUs is loaded any more. */
export function putAll(s: Processors, m: Machine): void {
  for (let i: u32 = 0; i < s.count; i++) if (processorAt(s, i).machine === <u32>changetype<usize>(m)) putVcpu(s, i);
}
