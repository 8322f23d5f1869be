// VMIDs for more VMs than there are [VMID-1..10]: who gets which, that no two VMs have one at the same time, and that no TLB uses what it
// should have forgotten.

import { describe, expect, it } from "vitest";
import { createJudge } from "../../bindings/audit/index.js";
import { JournalKind } from "../../bindings/index.js";
import { tlbMessages } from "../../bindings/mmu/index.js";
import { createHost, type Host, type HostOptions, type Vm } from "../../bindings/vm/index.js";
import { Random } from "../support/random.js";
import { type Change, debugModule, flawed, itFlawed } from "./flawed.js";

const MIB = 2 ** 20;
const PAGE = 4096;
const DEBUG = debugModule();

function hostOf(vms: number, options: HostOptions = {}): { host: Host; all: Vm[] } {
  const host = createHost({ cpus: 2, vmidBits: 3, module: DEBUG, tlb: "tiny", ...options });
  const all = Array.from({ length: vms }, () => host.createVm({ checkTranslations: true, cpus: 2 }));
  for (const vm of all) vm.addSlot({ gpa: 0, size: 64 * PAGE, backing: "4k" });
  return { host, all };
}

const stale = (vms: readonly Vm[]) => vms.flatMap((vm) => vm.stats()).reduce((sum, cpu) => sum + cpu.stale, 0);

/** Generation and index of a VM's id, of three bits. */
const idOf = (vm: Vm | undefined) => [Math.floor((vm?.vmid ?? 0) / 8), (vm?.vmid ?? 0) % 8];

describe("a VMID", () => {
  it("is a generation and an index from 1 on, given out in order [VMID-1, VMID-2]", () => {
    const { host, all } = hostOf(3);
    expect(idOf(all[0])).toEqual([0, 0]);
    expect(all.map((vm) => host.load(0, vm, 0))).toEqual([1, 2, 3]);
    expect(all.map(idOf)).toEqual([
      [1, 1],
      [1, 2],
      [1, 3],
    ]);
    expect(all.map((vm) => host.load(1, vm, 1))).toEqual([1, 2, 3]);
  });

  it("is in VTTBR_EL2 when the vCPU enters, and in the entries of its TLB [VMID-3, VMID-9]", () => {
    const { host, all } = hostOf(2, { tlb: "cortex-a53" });
    for (const vm of all) vm.run(4, { gpa: 0, size: PAGE });
    const tags = new Set(host.tlbs[0]?.entries().map(({ vmid }) => vmid));
    expect(tags).toEqual(new Set([1, 2]));
  });

  it("that runs out begins a generation: whoever runs keeps the index, all TLBs are flushed [VMID-4, VMID-5, VMID-7]", () => {
    const { host, all } = hostOf(9);
    host.load(1, all[4] as Vm, 0); // index 1, and it stays loaded
    for (const i of [0, 1, 2, 3, 5, 6]) host.load(0, all[i] as Vm, 0);
    expect([host.stats().rollovers, all.slice(0, 7).map((vm) => vm.vmid % 8)]).toEqual([0, [2, 3, 4, 5, 1, 6, 7]]);
    all[6]?.runVcpu(0, 8, { gpa: 0, size: 8 * PAGE });
    const before = host.tlbs[0]?.entries().length ?? 0;
    host.load(0, all[7] as Vm, 0);
    expect([host.stats().rollovers, before > 0, host.tlbs[0]?.entries().length]).toEqual([1, true, 0]);
    expect(idOf(all[7])).toEqual([2, 2]); // 1 is kept
    all[4]?.runVcpu(0, 1, { gpa: 0, size: PAGE }); // it enters anew: same index, current generation
    expect(idOf(all[4])).toEqual([2, 1]);
    // Its old index 3 is free: it is taken again, whatever the cursor says.
    expect([host.load(0, all[1] as Vm, 0), idOf(all[1])]).toEqual([3, [2, 3]]);
    // 2 is taken: another one.
    expect([host.load(0, all[0] as Vm, 0), idOf(all[0])]).toEqual([4, [2, 4]]);
  });

  it("of a VM that does not run at a rollover is not kept [VMID-6]", () => {
    const { host, all } = hostOf(8);
    host.load(1, all[0] as Vm, 0);
    host.put(1);
    for (const vm of all) host.load(0, vm, 0);
    expect([host.stats().rollovers, idOf(all[7])]).toEqual([1, [2, 1]]);
  });

  it.each([[{ vmidBits: 2, cpus: 3 }], [{ vmidBits: 1 }], [{ vmidBits: 17 }]])(
    "is refused where there are not more of them than CPUs: %o [VMID-8]",
    (options) => {
      expect(() => createHost(options)).toThrow("vmidBits");
    },
  );

  it("outlives its VM until the next rollover: a VM that is destroyed flushes nothing [TLB-32]", () => {
    const { host, all } = hostOf(7);
    for (const vm of all) host.load(0, vm, 0);
    all[2]?.close();
    const next = host.createVm();
    expect([host.load(0, next, 0), host.stats().rollovers]).toEqual([1, 1]);
    host.close();
  });
});

/** Random vCPUs on random CPUs, without anything that happens in between; every load is followed by a few accesses. */
function crowd(module: Uint8Array<ArrayBuffer>, seed: number, adversarial: boolean) {
  const { host, all } = hostOf(20, { module, adversarial, seed, cpus: 3, tlb: "cortex-a53" });
  host.run(150, 24, { gpa: 0, size: 64 * PAGE, writes: 0.4 });
  const found = { stale: stale(all), rollovers: host.stats().rollovers };
  host.close();
  return found;
}

/** A VM runs on one CPU; others use up the VMIDs on another one; then its second vCPU runs there: are both under one VMID? */
function keepsIndex(module: Uint8Array<ArrayBuffer>): boolean {
  const { host, all } = hostOf(9, { module });
  const index = host.load(0, all[8] as Vm, 0);
  for (const vm of all.slice(0, 8)) host.load(1, vm, 0);
  expect(host.stats().rollovers).toBe(1);
  return host.load(1, all[8] as Vm, 1) === index;
}

describe("many VMs on few CPUs", () => {
  it("keep one VMID for all vCPUs of a VM over a rollover [VMID-4, VMID-7]", () => {
    expect(keepsIndex(DEBUG)).toBe(true);
  });

  it.each([false, true])("use no stale translation; adversarial TLBs: %s [VMID-8, PROP-10]", (adversarial) => {
    for (const seed of [1, 2]) {
      const { stale: found, rollovers } = crowd(DEBUG, seed, adversarial);
      expect([found, rollovers > 10], `seed ${seed}`).toEqual([0, true]);
    }
  });

  it("never run two of one index at a time [VMID-8, PROP-10]", () => {
    const { host, all } = hostOf(20, { cpus: 5 });
    const random = new Random(7);
    const on: (Vm | undefined)[] = [];
    const entered = new Map<Vm, number>();
    for (let i = 0; i < 3000; i++) {
      const cpu = random.below(5);
      const vm = all[random.below(all.length)] as Vm;
      for (const [other, there] of on.entries()) if (there === vm && other !== cpu) on[other] = undefined;
      for (const vcpu of [0, 1]) if (vcpu === 0) entered.set(vm, host.load(cpu, vm, vcpu));
      on[cpu] = vm;
      const running = on.filter((one) => one !== undefined);
      const indices = running.map((one) => entered.get(one));
      expect(new Set(indices).size).toBe(running.length);
    }
  });

  it("give up the stage-1 translations of another vCPU of the same VM [VMID-10, TLB-4]", () => {
    expect(guests(DEBUG)).toEqual({ stale: 0, contextFlushes: 80 });
  });
});

const TCR = 25n | (25n << 16n) | (2n << 30n) | (5n << 32n) | (1n << 23n); // 39 bits, 4K, upper half off
const S1_BLOCK = (1n << 10n) | (3n << 8n) | (1n << 11n) | 1n; // AF, inner shareable, not global

/** Two vCPUs of one VM take turns on one CPU: each has a stage 1 of its own, both use ASID 5. */
function guests(module: Uint8Array<ArrayBuffer>) {
  using host = createHost({ cpus: 1, module, adversarial: true });
  const { engine } = host;
  const tables = [0, 1].map(() => engine.takeBlock(PAGE));
  const at = (vcpu: number) => 0xf000_0000 + vcpu * PAGE;
  const vm = host.createVm({
    cpus: 2,
    checkTranslations: true,
    registers: (vcpu, { hcr = 0 }) => ({
      hcr: BigInt(hcr as bigint) & ~(1n << 12n), // without DC
      sctlr: 1n,
      tcr: TCR,
      mair: 0xffn,
      ttbr0: BigInt(at(vcpu)) | (5n << 48n),
    }),
  });
  tables.forEach((pointer, vcpu) => {
    // Virtual gigabyte 0 is guest gigabyte `vcpu`. The guest's table lies in memory that stage 2 maps.
    new BigUint64Array(engine.memory.buffer, pointer, 512).fill(0n).set([(BigInt(vcpu) << 30n) | S1_BLOCK]);
    vm.table.map(at(vcpu), PAGE, Number(engine.physBase) + pointer - engine.arenaPointer, "rw");
    vm.addSlot({ gpa: vcpu * 2 ** 30, size: MIB, backing: "4k" });
  });
  const work = { gpa: 0, size: 16 * PAGE, writes: 0.5 };
  for (let turn = 0; turn < 40; turn++) {
    for (const vcpu of [0, 1]) {
      host.load(0, vm, vcpu);
      vm.runVcpu(vcpu, 16, work);
    }
  }
  expect(vm.stats().map(({ aborts, stuck }) => aborts + stuck)).toEqual([0, 0]);
  return { stale: stale([vm]), contextFlushes: host.stats().contextFlushes };
}

/**
 * What the judge says of a random schedule: VMs run, are put, lose memory while they run or do not, go and come. Everything that is written to
 * VTTBR_EL2, and every ALLE1IS, is in the journal.
 */
function judged(module: Uint8Array<ArrayBuffer>, seed: number): { verdict: string; rollovers: number } {
  const { host, all } = hostOf(9, { module, seed, journalRecords: 1 << 16, cpus: 3 });
  const judge = createJudge();
  const watch = judge.watch(host.engine);
  for (const vm of all) watch.adopt(vm.table);
  const random = new Random(seed);
  const steps: ((i: number) => void)[] = [
    (i) => all[i]?.changeHost("discard", 0, random.below(64) * PAGE),
    (i) => {
      all[i]?.close();
      all[i] = host.createVm({ cpus: 2 });
      all[i].addSlot({ gpa: 0, size: 64 * PAGE, backing: "4k" });
    },
    () => host.put(random.below(3)),
  ];
  for (let turn = 0; turn < 150; turn++) {
    host.run(1, 8, { gpa: 0, size: 64 * PAGE, writes: 0.4 });
    if (random.oneIn(3)) random.pick(steps)(random.below(all.length));
    watch.drain();
  }
  const { rollovers } = host.stats();
  host.close();
  return { verdict: judge.finish().violations[0]?.kind ?? "ok", rollovers };
}

describe("the journal of a host", () => {
  it("says which CPU walks which table under which VMID, and when all TLBs are flushed [VMID-5, VMID-9]", () => {
    const { host, all } = hostOf(8, { journalRecords: 1 << 12 });
    const { journal } = host.engine;
    journal.start([JournalKind.VTTBR, JournalKind.TLBI_ALL]);
    host.load(1, all[0] as Vm, 0);
    host.put(1);
    const handles = all.map(({ table }) => table.handle);
    expect(journal.read().map(({ kind, table, level, a }) => [kind, table, level, a])).toEqual([
      [JournalKind.VTTBR, handles[0], 1, 1n],
      [JournalKind.VTTBR, 0, 1, 0n],
    ]);
    journal.clear();
    for (const vm of all) host.load(0, vm, 0);
    const records = journal.read();
    const kinds = records.map(({ kind }) => kind);
    const said = records.flatMap((record) => tlbMessages(record, (all[0] as Vm).table));
    expect(said).toEqual([{ form: "ALLE1IS", operand: 0n, lpa2: false }]);
    expect(kinds.filter((kind) => kind === JournalKind.TLBI_ALL)).toHaveLength(1);
    expect(kinds.indexOf(JournalKind.TLBI_ALL)).toBe(kinds.length - 2); // before the eighth VM enters, and after the seventh was put
    host.close();
  });

  it("is accepted by the judge [VMID-5, VMID-8, PROP-10]", () => {
    for (const seed of [1, 2, 3]) {
      const { verdict, rollovers } = judged(DEBUG, seed);
      expect([verdict, rollovers > 5], `seed ${seed}`).toEqual(["ok", true]);
    }
  });
});

const FLAWS: [string, string, Change[], ("translations" | "judge" | "index")[]][] = [
  ["nothing is flushed at a rollover", "vm/vmid.ts", [["  hearAll(s.listeners);\n", ""]], ["translations", "judge"]],
  [
    "nothing is kept at a rollover",
    "vm/vmid.ts",
    [["testAndSet(s, indexOf(s, id));\n    publish(reservedWord(s, cpu), id);", "publish(reservedWord(s, cpu), 0);"]],
    ["judge"],
  ],
  [
    "the generation is not compared",
    "vm/vmid.ts",
    [
      [
        'return (id ^ observe(changetype<usize>(s) + offsetof<Vmids>("generation"))) >> s.bits === 0;',
        "return id !== 0;",
      ],
    ],
    ["translations", "judge"],
  ],
  [
    "an index that is kept is not looked for",
    "vm/vmid.ts",
    [["if (moveReserved(s, id, fresh) || !testAndSet", "if (!testAndSet"]],
    ["index"],
  ],
  [
    "an index that is taken is taken again",
    "vm/vmid.ts",
    [["|| !testAndSet(s, indexOf(s, id))) return fresh", "|| testAndSet(s, indexOf(s, id)) || true) return fresh"]],
    ["translations", "judge"],
  ],
];

describe("a broken allocator is noticed when", () => {
  itFlawed.each(FLAWS)("%s [VMID-4, VMID-5, VMID-8]", { timeout: 240_000 }, async (_, file, changes, by) => {
    const module = await flawed(file, changes);
    if (by.includes("translations")) expect(crowd(module, 1, true).stale).toBeGreaterThan(0);
    if (by.includes("index")) expect(keepsIndex(module)).toBe(false);
    if (by.includes("judge")) expect([1, 2, 3].map((seed) => judged(module, seed).verdict)).toContain("vmid");
  });

  itFlawed("a CPU keeps the translations of another vCPU of the VM [VMID-10]", async () => {
    const module = await flawed("sim/processors.ts", [["    forgetContext(s, i, vmidOf(vmidsOf(s), vmOf(m)));\n", ""]]);
    expect(guests(module).stale).toBeGreaterThan(0);
  });
});
