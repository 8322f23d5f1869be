// The core of an Arm emulator. The guest below builds page tables in its own RAM, switches the MMU on, takes a fault, makes a page
// dirty, and moves a page with break-before-make.

import { Access, createMmu, createTlb } from "granule/mmu";

/** Behind the RAM the MMU keeps its registers and its TLB. */
const SCRATCH = 128 << 10;
const WASM_PAGE = 64 << 10;

/** What the guest's vector table would be told. */
class DataAbort extends Error {
  fault;

  constructor(fault) {
    super(`${fault.kind} fault, ESR_EL${fault.exception?.el} ${fault.exception?.esr.toString(16)}`);
    this.fault = fault;
  }
}

class Cpu {
  ramBase;
  mmu;
  tlb;
  ram;

  constructor(ramBase, ramBytes) {
    this.ramBase = ramBase;
    const pages = (ramBytes + SCRATCH) / WASM_PAGE;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.ram = new DataView(memory.buffer, 0, ramBytes); // the MMU reads and writes it in place
    const scratch = { offset: ramBytes, bytes: SCRATCH };
    this.mmu = createMmu({ memory, bytes: ramBytes, physBase: ramBase, scratch });
    this.tlb = createTlb(this.mmu, { preset: "cortex-a53" });
  }

  /** Where an access goes in RAM. While the MMU is off, that is the address itself. */
  translate(address, access) {
    const physical = this.tlb.lookup(address, access);
    if (physical < 0) throw new DataAbort(this.tlb.lastFault());
    return physical - this.ramBase;
  }

  load(address) {
    return this.ram.getBigUint64(this.translate(address, Access.READ), true);
  }

  store(address, value) {
    this.ram.setBigUint64(this.translate(address, Access.WRITE), value, true);
  }

  msr(registers) {
    this.mmu.setRegisters(registers);
  }

  tlbi(form, operand) {
    this.tlb.invalidate(form, operand);
  }

  dsb() {
    this.tlb.dsb("ish");
  }
}

// --- the guest: 4K pages, 39 bits of virtual address, RAM at 0x4000_0000 ---------------------------

const [ROOT, LEVEL2, LEVEL3, FIRST, SECOND] = [0x4000_0000, 0x4000_1000, 0x4000_2000, 0x4001_0000, 0x4001_1000];
const PAGE = 0x8000_0000; // the virtual address that it uses
const TABLE = 0b11n;
// A page: valid, inner shareable, accessed, read-only until hardware makes it writable (DBM), never executed at EL0.
const CLEAN = 0b11n | (0b11n << 8n) | (1n << 10n) | (1n << 7n) | (1n << 51n) | (1n << 54n);
const WRITABLE = 1n << 7n; // AP[2]: 1 is read-only

const cpu = new Cpu(0x4000_0000, 1 << 20);
cpu.store(ROOT + 8 * 2, BigInt(LEVEL2) | TABLE); // entry 2 of level 1: 0x8000_0000
cpu.store(ROOT + 8, 0x4000_0000n | 0b01n | (0b11n << 8n) | (1n << 10n)); // entry 1: a 1 GiB block, RAM at its own address
cpu.store(LEVEL2, BigInt(LEVEL3) | TABLE);
cpu.store(SECOND, 22n);
cpu.msr({
  ttbr0: ROOT,
  tcr: 25n | (1n << 8n) | (1n << 10n) | (3n << 12n) | (1n << 23n) | (2n << 32n) | (1n << 39n) | (1n << 40n), // HA, HD
  mair: 0xffn,
  sctlr: 1n,
});

try {
  cpu.load(PAGE);
} catch (error) {
  if (!(error instanceof DataAbort)) throw error;
  console.log(error.message); // translation fault, ESR_EL1 96000007
}
cpu.store(LEVEL3, BigInt(FIRST) | CLEAN); // the handler maps the page: an invalid entry needs no TLBI
console.log((cpu.load(LEVEL3) & WRITABLE) === 0n ? "dirty" : "clean"); // clean
cpu.store(PAGE, 11n);
console.log((cpu.load(LEVEL3) & WRITABLE) === 0n ? "dirty" : "clean"); // dirty

cpu.store(LEVEL3, 0n); // break
console.log(cpu.load(PAGE)); // 11n: the TLB still has the page
cpu.tlbi("VAE1IS", BigInt(PAGE) >> 12n);
cpu.dsb();
cpu.store(LEVEL3, BigInt(SECOND) | CLEAN); // make
console.log(cpu.load(PAGE)); // 22n
