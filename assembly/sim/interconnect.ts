// TLBIs on their way to the TLBs of a machine. In the module of the VM this file is compiled in place of record/interconnect.ts,
// so that every flush of a table reaches all CPUs inside the operation that issues it, and is done when its DSB is [HWM-41].

import { ipaOperand, MAX_RANGE_PAGES, rangeNum, rangeOperand, rangePages, rangeScale, TTL_UNKNOWN } from "../arch/tlbi";
import { T_LPA2, Table } from "../memory/layout";
import {
  complete,
  post,
  TLBI_DOMAIN_LOW,
  TLBI_IPA,
  TLBI_LPA2,
  TLBI_RANGE,
  TLBI_STAGE1,
  TLBI_VMID,
} from "../mmu/invalidate";
import { awaitAccesses, contextOf, cpuAt, Machine, machineOf, running, tlbOf } from "../sim/machine";

/** Who hears it: the CPU that issues it, or all of the inner shareable domain. */
const LOCAL: u32 = 0;
const INNER: u32 = 1;

/** The running CPU issues a TLBI. */
function issue(m: Machine, form: u32, domain: u32, operand: u64): void {
  const from = running(m);
  form |= domain << TLBI_DOMAIN_LOW;
  for (let i: u32 = 0; i < m.cpus; i++) {
    if (domain === LOCAL && i !== from) continue;
    const cpu = cpuAt(m, i);
    post(tlbOf(cpu), from, form, operand, contextOf(cpu).vmid);
  }
}

/** A DSB of the running CPU: what it issued is done, and so are the accesses that other CPUs had begun before [HWM-41]. */
function wait(m: Machine, domain: u32): void {
  const from = running(m);
  for (let i: u32 = 0; i < m.cpus; i++) {
    if (domain === LOCAL && i !== from) continue;
    complete(tlbOf(cpuAt(m, i)), from, domain);
    if (i !== from) awaitAccesses(cpuAt(m, i));
  }
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
