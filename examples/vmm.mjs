// The fault loop of a virtual machine monitor, with dirty logging as live migration needs it. The guest is a list of accesses; its
// CPU is an MMU with a TLB.

import { createEngine, Prot } from "granule";
import { Access, createMmu, createTlb, Fault, stage2Registers, TlbDomain } from "granule/mmu";

const PAGE = 4096;
const BLOCK = 2 << 20;
const VMID = 1;

/** One slot of guest memory, with the host memory behind it. */
class Machine {
  base;
  bytes;
  host;
  engine;
  table;
  cpu;
  cpus;
  /** Pages written since the last reading; undefined while logging is off. */
  dirty;
  faults = 0;

  constructor(base, bytes, host) {
    this.base = base;
    this.bytes = bytes;
    this.host = host;
    this.engine = createEngine({ journalRecords: 1 << 16 });
    this.table = this.engine.createStage2({ ipaBits: 40 });
    this.cpu = createTlb(createMmu({ engine: this.engine, registers: stage2Registers(this.table, VMID) }));
    this.cpus = new TlbDomain([this.cpu]);
    this.engine.journal.start();
  }

  /** Sends the TLBIs of what was just done to the CPUs. */
  flush() {
    for (const record of this.engine.journal.read()) this.cpus.follow(record, { table: this.table, vmid: VMID });
    this.engine.journal.clear();
  }

  /** An access of the guest: its physical address, after as many faults as it takes. */
  access(ipa, access) {
    for (;;) {
      const at = this.cpu.lookup(ipa, access);
      if (at >= 0) return at;
      this.handle(ipa, access === Access.WRITE, at === Fault.PERMISSION);
      this.flush();
    }
  }

  /** What KVM does with a stage-2 abort. */
  handle(ipa, write, permission) {
    if (ipa < this.base || ipa >= this.base + this.bytes) throw new Error(`no memory at 0x${ipa.toString(16)}`);
    this.faults++;
    const page = ipa - (ipa % PAGE);
    if (write) this.dirty?.add((page - this.base) / PAGE);
    if (permission) {
      this.table.direct.relaxPerms(page, Prot.W);
    } else if (this.dirty === undefined) {
      const block = ipa - (ipa % BLOCK);
      this.table.direct.map(block, BLOCK, this.host + (block - this.base), Prot.R | Prot.W);
    } else {
      this.table.direct.map(page, PAGE, this.host + (page - this.base), write ? Prot.R | Prot.W : Prot.R);
    }
  }

  /** From here on every page that is written is noted: blocks become pages, and all are write-protected. */
  startLogging() {
    this.dirty = new Set();
    this.table.split(this.base, this.bytes);
    this.table.wrprotect(this.base, this.bytes);
    this.table.flushTlbRange(this.base, this.bytes);
    this.flush();
  }

  /** The pages written since the last reading. They are write-protected again before they are copied. */
  takeDirty() {
    const pages = [...(this.dirty ?? [])].sort((a, b) => a - b);
    this.dirty?.clear();
    for (const page of pages) this.table.wrprotect(this.base + page * PAGE, PAGE);
    this.table.flushTlbRange(this.base, this.bytes);
    this.flush();
    return pages;
  }
}

const vm = new Machine(0x4000_0000, 8 << 20, 0x8000_0000);
for (let i = 0; i < 4; i++) vm.access(0x4000_0000 + i * BLOCK, Access.WRITE);
console.log(vm.faults, "faults,", vm.table.countLeaves(), "leaves"); // 4 faults, 4 leaves

vm.startLogging();
console.log(vm.table.countLeaves(), "leaves"); // 2048 leaves
vm.access(0x4000_3008, Access.WRITE);
vm.access(0x4000_3010, Access.WRITE); // the same page: no second fault
vm.access(0x4020_0000, Access.READ); // a read makes nothing dirty
vm.access(0x407f_f000, Access.WRITE);
console.log(vm.takeDirty()); // [ 3, 2047 ]

vm.access(0x4000_3018, Access.WRITE); // written again after it was read out
console.log(vm.takeDirty(), vm.faults); // [ 3 ] 7
