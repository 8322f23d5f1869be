// TLBIs on their way to the TLBs of a machine. In the module of the VM this file is compiled in place of record/interconnect.ts,
// so that every flush of a table reaches all CPUs inside the operation that issues it, and is done when its DSB is [HWM-41].

import { ipaOperand, MAX_RANGE_PAGES, rangeNum, rangeOperand, rangePages, rangeScale, TTL_UNKNOWN } from "../arch/tlbi";
import { OK } from "../memory/errno";
import { T_LPA2, Table } from "../memory/layout";
import {
  complete,
  post,
  TLBI_ALL,
  TLBI_DOMAIN_LOW,
  TLBI_IPA,
  TLBI_LPA2,
  TLBI_RANGE,
  TLBI_STAGE1,
  TLBI_VMID,
} from "../mmu/invalidate";
import { Tlb } from "../mmu/tlb";
import { C_WARNINGS, count } from "../record/counters";
import { DSB_ISH, DSB_ISHST, J_DSB, J_TLBI_ALL, record } from "../record/journal";
import { awaitAccesses, contextOf, cpuAt, Machine, machineOf, NO_CPU, running, tlbOf, vmOf } from "../sim/machine";
import { processorsAt, tlbOfProcessor, vmidsOf } from "../sim/processors";
import { vmidOf } from "../vm/vmid";

/** Who hears it: the CPU that issues it, or all of the inner shareable domain. */
const LOCAL: u32 = 0;
const INNER: u32 = 1;

/** TLBs that hear the machine's TLBIs: of its vCPUs, each on a CPU of its own, or of all CPUs of its host. */
function listeners(m: Machine): u32 {
  return m.processors === 0 ? m.cpus : processorsAt(m.processors).count;
}

function listener(m: Machine, i: u32): Tlb {
  return m.processors === 0 ? tlbOf(cpuAt(m, i)) : tlbOfProcessor(processorsAt(m.processors), i);
}

/** The CPU that issues what this walker issues; NO_CPU for a VMM's thread. */
function issuer(m: Machine): u32 {
  const from = running(m);
  return m.processors === 0 || from === NO_CPU ? from : cpuAt(m, from).processor - 1;
}

/** The VMID that the VM's entries have, on this CPU or on another one. */
function vmidIn(m: Machine, i: u32): u32 {
  return m.processors === 0 ? contextOf(cpuAt(m, i)).vmid : vmidOf(vmidsOf(processorsAt(m.processors)), vmOf(m));
}

/** The running CPU issues a TLBI. */
function issue(m: Machine, form: u32, domain: u32, operand: u64): void {
  const from = issuer(m);
  form |= domain << TLBI_DOMAIN_LOW;
  for (let i: u32 = 0, n = listeners(m); i < n; i++) {
    if (domain === LOCAL && i !== from) continue;
    heard(post(listener(m, i), from, form, operand, vmidIn(m, i)) === OK);
  }
}

/**
 * Hardware never gives up on a TLBI or a DSB. Here a thread that makes no progress is not waited for without end: what it still holds
 * may be stale from then on, which is counted as a warning.
 */
function heard(done: bool): void {
  if (!done) count(C_WARNINGS, 1);
}

/** A DSB of the running CPU: what it issued is done, and so are the accesses that other vCPUs had begun before [HWM-41]. */
function wait(m: Machine, domain: u32): void {
  const from = issuer(m),
    mine = running(m);
  for (let i: u32 = 0, n = listeners(m); i < n; i++) {
    if (domain === LOCAL && i !== from) continue;
    heard(complete(listener(m, i), from, domain) === OK);
  }
  if (domain === LOCAL) return;
  for (let i: u32 = 0; i < m.cpus; i++) if (i !== mine) heard(awaitAccesses(cpuAt(m, i)));
}

/** Whoever issues for the host itself, on no vCPU's behalf. */
const HOST_ISSUER: u32 = NO_CPU - 1;

/** ALLE1IS between two DSBs [VMID-5]. */
export function hearAll(p: u32): void {
  if (p === 0) return;
  record(J_DSB, 0, 0, 0, DSB_ISHST, 0);
  record(J_TLBI_ALL, 0, 0, 0, 0, 0);
  record(J_DSB, 0, 0, 0, DSB_ISH, 0);
  const s = processorsAt(p),
    form = TLBI_ALL | (INNER << TLBI_DOMAIN_LOW);
  for (let i: u32 = 0; i < s.count; i++) heard(post(tlbOfProcessor(s, i), HOST_ISSUER, form, 0, 0) === OK);
  for (let i: u32 = 0; i < s.count; i++) heard(complete(tlbOfProcessor(s, i), HOST_ISSUER, INNER) === OK);
}

function lpa2(t: Table): u32 {
  return t.flags & T_LPA2 ? TLBI_LPA2 : 0;
}

/** Entries of both stages together carry no IPA: VMALLE1 takes them [TLB-1]. */
function finishStage1(m: Machine, domain: u32): void {
  wait(m, domain);
  issue(m, TLBI_STAGE1, domain, 0);
  wait(m, domain);
}

export function hearIpa(t: Table, ipa: u64, level: i32, local: bool): void {
  const m = machineOf(t);
  if (!m) return;
  const domain = local ? LOCAL : INNER;
  issue(m, TLBI_IPA | lpa2(t), domain, ipaOperand(t.ps, ipa, level));
  finishStage1(m, domain);
}

export function hearVmid(t: Table): void {
  const m = machineOf(t);
  if (!m) return;
  issue(m, TLBI_VMID, INNER, 0);
  wait(m, INNER);
}

/** The instructions of a range, one after the other [TLB-8]. */
export function hearRange(t: Table, addr: u64, pages: u64): void {
  const m = machineOf(t);
  if (!m) return;
  if (pages > MAX_RANGE_PAGES) return; // beyond every input space: no entry is there
  const wide = <bool>(t.flags & T_LPA2);
  let scale: i32 = 3;
  while (pages !== 0) {
    const found = rangeScale(addr, pages, scale, wide, true);
    let step: u64 = 1;
    if (found < 0) issue(m, TLBI_IPA | lpa2(t), INNER, ipaOperand(t.ps, addr, TTL_UNKNOWN));
    else {
      const num = rangeNum(pages, found);
      issue(m, TLBI_IPA | TLBI_RANGE | lpa2(t), INNER, rangeOperand(t.ps, addr, found, num, TTL_UNKNOWN, wide));
      step = rangePages(num, found);
      scale = found - 1;
    }
    addr += step << t.ps;
    pages -= step;
  }
  finishStage1(m, INNER);
}
