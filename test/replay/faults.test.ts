import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { ReplayOptions } from "../../bindings/replay/replay.js";
import { decodeSyndrome } from "../../bindings/replay/syndrome.js";
import { hadNoSlots, passed } from "../../bindings/report/replay.js";
import type { Entry } from "../../bindings/tables/entry.js";
import { type Manifest, parseManifest } from "../../bindings/trace/index.js";
import { esr, fault, line, marker, op, replayText, setRegion, tracePath } from "./support.js";

const HVA = 0xffff_8000_0000;
const RAM = 0x4000_0000;
const MIB2 = 2 << 20;
/** Status codes: translation, access flag and permission fault of level 3, permission fault of level 2. */
const TRANSLATION = 0x07;
const ACCESS = 0x0b;
const PERMISSION = 0x0f;
const PERMISSION_BLOCK = 0x0e;

const ram = setRegion(0, 0, RAM, 64 << 20, HVA);
const hex = (n: number) => `0x${n.toString(16)}`;
const unmapHost = (start: number, end: number, pid = 9) =>
  line("kvm_unmap_hva_range", `mmu notifier unmap range: ${hex(start)} -- ${hex(end)}`, pid);

async function serviced(text: string, options: ReplayOptions = {}) {
  let leaves: Entry[] = [];
  const report = await replayText(text, {
    ...options,
    onTable: (table) => {
      leaves = [...table.leaves()];
    },
  });
  const faults = report.service?.faults ?? {};
  return { report, faults, leaves: leaves.map((l) => ({ at: Number(l.address), level: l.level, prot: l.prot })) };
}

/** The manifest of a host with huge pages behind the guest's memory. */
const described: Manifest = {
  ...parseManifest(readFileSync(tracePath("A-6.12-4k-vhe-max/ipa52").replace(".trace.gz", ".manifest.json"), "utf8")),
  backing: [{ kind: "anonymous", hva: HVA, size: 64 << 20, hugePages: "advised" }],
  slotCalls: [],
  ipaBits: 40,
};

const thp: ReplayOptions = { backing: { hugetlb: 0, thp: true } };

describe("a syndrome", () => {
  it.each([
    [esr.write(0x07), "translation", 3, true, false],
    [esr.read(0x05), "translation", 1, false, false],
    [esr.exec(0x0e), "permission", 2, false, true],
    [esr.read(0x2b), "translation", -1, false, false],
    [esr.read(0x0b), "access flag", 3, false, false],
    [esr.read(0x10), "other", 0, false, false],
    // The upper half of the register (ISS2) says nothing of the kind of access.
    [2 ** 36 + esr.exec(0x0e), "permission", 2, false, true],
    // The guest's own table walk: a write only if it was denied by permissions.
    [esr.write(0x07) | 0x80, "translation", 3, false, false],
    [esr.read(0x0f) | 0x80, "permission", 3, true, false],
  ] as const)("0x%s is decoded [FLT-2]", (value, kind, level, write, exec) => {
    expect(decodeSyndrome(value)).toMatchObject({ kind, level, write, exec });
  });
});

describe("a translation fault", () => {
  it("maps the page, with the rights of the access", async () => {
    const text = ram + fault(RAM + 0x5000, esr.write(TRANSLATION)) + fault(RAM + 0x9000, esr.exec(TRANSLATION));
    const { faults, leaves } = await serviced(text);
    expect(faults).toEqual({ map: 2 });
    expect(leaves).toEqual([
      { at: RAM + 0x5000, level: 3, prot: 6 },
      { at: RAM + 0x9000, level: 3, prot: 7 },
    ]);
  });

  it("maps a block where the host has a huge page [FLT-33]", async () => {
    const { leaves } = await serviced(ram + fault(RAM + 0x305000, esr.write(TRANSLATION)), thp);
    expect(leaves).toEqual([{ at: RAM + MIB2, level: 2, prot: 6 }]);
  });

  it("maps a page where slot and host are not aligned alike [FLT-27]", async () => {
    const { leaves } = await serviced(
      setRegion(0, 0, RAM + 0x1000, 64 << 20, HVA) + fault(RAM + 0x305000, esr.write(TRANSLATION)),
      thp,
    );
    expect(leaves).toEqual([{ at: RAM + 0x305000, level: 3, prot: 6 }]);
  });

  it("maps 1 GiB of hugetlb [FLT-25]", async () => {
    const text = setRegion(0, 0, RAM, 2 ** 30, 0xffff_4000_0000) + fault(RAM + 0x305000, esr.write(0x05));
    const { leaves } = await serviced(text, { backing: { hugetlb: 2 ** 30, thp: false } });
    expect(leaves).toEqual([{ at: RAM, level: 1, prot: 6 }]);
  });

  const MIB = 1 << 20;
  const GIB = 2 ** 30;
  it.each([
    ["1 GiB of hugetlb in a slot that ends in it", 4096, GIB, GIB / 2, 0xffff_4000_0000, { at: RAM, level: 2 }],
    ["1 GiB of hugetlb aligned unlike the slot", 4096, GIB, GIB, 0xffff_4020_0000, { at: RAM, level: 2 }],
    ["2 MiB of hugetlb", 4096, 2 * MIB, GIB, 0xffff_4000_0000, { at: RAM, level: 2 }],
    ["1 GiB of hugetlb behind 16K pages", 16384, GIB, GIB, 0xffff_4000_0000, { at: RAM, level: 2 }],
    ["64 KiB of hugetlb", 4096, 65536, GIB, 0xffff_4000_0000, { at: RAM + 0x4000, level: 3 }],
  ] as const)("maps the largest entry that fits for %s", async (_what, granule, hugetlb, size, hva, leaf) => {
    const text = setRegion(0, 0, RAM, size, hva) + fault(RAM + 0x4000, esr.write(0x05));
    const { leaves } = await serviced(text, { backing: { hugetlb, thp: false }, geometry: { granule } });
    expect(leaves).toEqual([{ ...leaf, prot: 6 }]);
  });

  it("outside the slots is MMIO, as is a write to a read-only slot, but no read of it [FLT-6, FLT-8]", async () => {
    const text =
      setRegion(0, 2, RAM, MIB2, HVA) +
      fault(0x9000000, esr.read(0x05)) +
      fault(RAM, esr.write(TRANSLATION)) +
      fault(RAM, esr.read(TRANSLATION));
    const { faults, leaves } = await serviced(text);
    expect(faults).toEqual({ mmio: 2, map: 1 });
    expect(leaves).toEqual([{ at: RAM, level: 3, prot: 4 }]);
  });

  it("beyond the address space changes nothing [FLT-5]", async () => {
    const { faults, leaves } = await serviced(ram + fault(2 ** 40, esr.read(0x04)) + fault(2 ** 51, esr.write(0x04)));
    expect(faults).toEqual({ beyond: 2 });
    expect(leaves).toEqual([]);
  });
});

describe("a permission fault", () => {
  it("relaxes the leaf that the hardware found [FLT-20]", async () => {
    const text = ram + fault(RAM, esr.write(TRANSLATION)) + fault(RAM, esr.exec(PERMISSION));
    const { faults, leaves } = await serviced(text);
    expect(faults).toEqual({ map: 1, relax: 1 });
    expect(leaves).toEqual([{ at: RAM, level: 3, prot: 7 }]);
  });

  it("on a block while the slot logs maps one page, and the rest of the block is gone [FLT-41]", async () => {
    const text =
      ram +
      fault(RAM, esr.write(TRANSLATION)) +
      setRegion(0, 1, RAM, 64 << 20, HVA) +
      fault(RAM + 0x7000, esr.write(PERMISSION_BLOCK));
    const { report, leaves } = await serviced(text, thp);
    expect(leaves).toEqual([{ at: RAM + 0x7000, level: 3, prot: 6 }]);
    expect(report.counters.breaksValid).toBe(1);
    expect(report.dirty).toMatchObject({ marks: 1 });
  });
});

describe("dirty logging", () => {
  const logged = setRegion(0, 1, RAM, 64 << 20, HVA);

  it("maps reads without write permission [FLT-30], and takes it from what was written when the bitmap is read", async () => {
    const read = marker("KVM_GET_DIRTY_LOG slot=0 [x]") + marker("KVM_GET_DIRTY_LOG slot=0 rc=0 dirty_pages=2");
    const text =
      logged +
      fault(RAM, esr.write(TRANSLATION)) +
      fault(RAM + 0x3000, esr.read(TRANSLATION)) +
      fault(RAM + 0x9000, esr.write(TRANSLATION)) +
      read;
    const { report, leaves } = await serviced(text);
    expect(leaves.map((l) => l.prot)).toEqual([4, 4, 4]);
    expect(report.dirty).toMatchObject({ reads: 1, equal: 1, pages: 2 });
  });

  it("gives the block back after logging, at the next hole [FLT-42]", async () => {
    const text =
      logged +
      fault(RAM, esr.write(TRANSLATION)) +
      setRegion(0, 0, RAM, 64 << 20, HVA) +
      fault(RAM + 0x3000, esr.write(TRANSLATION));
    const { leaves } = await serviced(text, thp);
    expect(leaves).toEqual([{ at: RAM, level: 2, prot: 6 }]);
  });
});

describe("the host", () => {
  it("unmaps what it invalidates, in every slot of the page [NOT-2, NOT-6]", async () => {
    const text =
      ram +
      setRegion(1, 0, 0x8000_0000, MIB2, HVA) +
      fault(RAM + 0x1000, esr.write(TRANSLATION)) +
      fault(0x8000_1000, esr.write(TRANSLATION)) +
      fault(RAM + 0x3000, esr.write(TRANSLATION)) +
      unmapHost(HVA + 0x1800, HVA + 0x1801) +
      unmapHost(0x1000, 0x2000);
    const { report, leaves } = await serviced(text);
    expect(leaves.map((l) => l.at)).toEqual([RAM + 0x3000]);
    expect(report.service?.notifiers).toEqual({ met: 1, elsewhere: 1 });
  });

  it("that invalidates the page from within its fault makes it retry [FLT-24]", async () => {
    const text =
      ram +
      fault(RAM, esr.write(PERMISSION), 7) +
      unmapHost(HVA, HVA + 0x1000, 7) +
      fault(RAM, esr.write(TRANSLATION), 7);
    const { faults, leaves } = await serviced(text);
    expect(faults).toEqual({ retried: 1, map: 1 });
    expect(leaves).toEqual([{ at: RAM, level: 3, prot: 6 }]);
  });

  it("that invalidates another page within a fault does not make it retry [FLT-24]", async () => {
    const at = RAM + 0x5000;
    const own = (page: number) =>
      ram + fault(at, esr.write(TRANSLATION), 7) + unmapHost(HVA + page, HVA + page + 0x1000, 7);
    expect((await serviced(own(0x5000))).faults).toEqual({ retried: 1 });
    expect((await serviced(own(0x6000))).faults).toEqual({ map: 1 });
  });

  it("that replaces a page maps the new one read-only, where there is a table for it [NOT-11]", async () => {
    const spte = line("kvm_set_spte_hva", `mmu notifier set pte hva: ${hex(HVA + 0x3000)}`, 9);
    const addresses: bigint[] = [];
    const onTable: ReplayOptions["onTable"] = (table) => addresses.push(...[...table.leaves()].map((l) => l.pa));
    await replayText(ram + fault(RAM, esr.write(TRANSLATION)) + spte, { onTable });
    expect(addresses).toEqual([2n ** 40n + BigInt(RAM), 2n ** 40n + BigInt(RAM) + 0x3000n]);
    const { leaves } = await serviced(ram + fault(RAM, esr.write(TRANSLATION)) + spte);
    expect(leaves.map((l) => l.prot)).toEqual([6, 4]);
  });

  it("discards what an madvise gives back, and nothing else", async () => {
    const use = ram + fault(RAM, esr.write(TRANSLATION)) + unmapHost(HVA, HVA + MIB2);
    const again = fault(RAM + 0x3000, esr.read(TRANSLATION));
    const prot = async (how: string) => {
      const text = `${use}${marker(`madvise ${how} hva=${hex(HVA)} len=${hex(MIB2)}`)}${again}`;
      return (await serviced(text, thp)).leaves[0]?.prot;
    };
    // What was given back is the zero page when it is read; what was kept has been written.
    expect([await prot("MADV_DONTNEED"), await prot("DONTNEED"), await prot("WILLNEED")]).toEqual([4, 4, 6]);
  });

  it.each([
    [6, 12, 3],
    [6, 13, 2],
    [7, 0, 2],
  ])("of Linux %d.%d maps at level %d what is written to the huge zero page", async (major, minor, level) => {
    const manifest = { ...described, version: [major, minor] as const };
    const zero = ram + fault(RAM, esr.read(TRANSLATION)) + fault(RAM, esr.write(PERMISSION_BLOCK));
    const text = zero + unmapHost(HVA, HVA + MIB2) + fault(RAM, esr.write(TRANSLATION));
    expect((await serviced(text, { manifest })).leaves.map((l) => l.level)).toEqual([level]);
  });

  it("has no huge pages in the upper half that the VMM excepts", async () => {
    const upper = RAM + (32 << 20);
    const except = marker("madvise NOHUGEPAGE upper half");
    const text = ram + except + fault(RAM, esr.write(TRANSLATION)) + fault(upper, esr.write(TRANSLATION));
    expect((await serviced(text, { manifest: described })).leaves).toEqual([
      { at: RAM, level: 2, prot: 6 },
      { at: upper, level: 3, prot: 6 },
    ]);
  });

  it("makes pages old, and an access fault makes one young again [NOT-8, FLT-10]", async () => {
    const age = line("kvm_age_hva", `mmu notifier age hva: ${hex(HVA)} -- ${hex(HVA + 0x2000)}`, 9);
    const young = fault(RAM, esr.read(ACCESS)) + line("kvm_access_fault", `IPA: ${RAM.toString(16)}`);
    const { faults, report } = await serviced(ram + fault(RAM, esr.write(TRANSLATION)) + age + young);
    expect(faults).toEqual({ map: 1, young: 1 });
    expect(report.operations.applied).toMatchObject({ test_clear_young: 1, mkyoung: 1 });
  });
});

describe("a notifier smaller than the huge page behind it", () => {
  const touched = ram + fault(RAM, esr.write(TRANSLATION));

  it("means that the host split that page: the next fault maps a page", async () => {
    const text = touched + unmapHost(HVA + 0x5000, HVA + 0x8000) + fault(RAM + 0x5000, esr.write(TRANSLATION));
    expect(
      (await serviced(text + unmapHost(HVA, HVA + 0x1000) + fault(RAM, esr.write(TRANSLATION)), thp)).leaves,
    ).toEqual([
      { at: RAM, level: 3, prot: 6 },
      { at: RAM + 0x5000, level: 3, prot: 6 },
    ]);
  });

  it("leaves whole the pages that it covers, and those beside it", async () => {
    const text =
      touched +
      fault(RAM + MIB2, esr.write(TRANSLATION)) +
      unmapHost(HVA + MIB2 - 0x1000, HVA + 2 * MIB2) +
      fault(RAM + MIB2 + 0x3000, esr.write(TRANSLATION)) +
      fault(RAM + 0x1ff000, esr.write(TRANSLATION));
    const { leaves } = await serviced(text, thp);
    expect(leaves.filter((l) => l.at >= RAM + MIB2)).toEqual([{ at: RAM + MIB2, level: 2, prot: 6 }]);
    expect(leaves.filter((l) => l.at < RAM + MIB2)).toEqual([{ at: RAM + 0x1ff000, level: 3, prot: 6 }]);
  });

  it("from within the fault splits it, too", async () => {
    const text =
      touched +
      fault(RAM, esr.write(PERMISSION_BLOCK), 7) +
      unmapHost(HVA, HVA + 0x1000, 7) +
      fault(RAM, esr.write(TRANSLATION), 7);
    const { faults, leaves } = await serviced(text, thp);
    expect(faults).toEqual({ map: 2, retried: 1 });
    expect(leaves).toEqual([{ at: RAM, level: 3, prot: 6 }]);
  });

  it("splits nothing where nobody had touched the memory", async () => {
    const text = ram + unmapHost(HVA, HVA + 0x1000) + fault(RAM, esr.write(TRANSLATION));
    expect((await serviced(text, { manifest: described })).leaves).toMatchObject([{ at: RAM, level: 2 }]);
  });
});

describe("a fork", () => {
  it("makes a write copy one page while the child lives, and the whole block after it has gone", async () => {
    const use = ram + fault(RAM, esr.write(TRANSLATION)) + marker("fork");
    const later = unmapHost(HVA, HVA + MIB2) + fault(RAM + 0x3000, esr.write(TRANSLATION));
    expect((await serviced(use + later, thp)).leaves).toEqual([{ at: RAM + 0x3000, level: 3, prot: 6 }]);
    const gone = await serviced(use + marker("fork child gone") + later, thp);
    expect(gone.leaves).toEqual([{ at: RAM, level: 2, prot: 6 }]);
  });
});

describe("the kernel's own operations", () => {
  const write = (at: number) => fault(at, esr.write(TRANSLATION));
  const mapped = (at: number, size = 0x1000, ret = 0) => op.map(16, at, size, 0x9000_0000) + op.mapped(ret);
  const agreement = async (text: string, options: ReplayOptions = {}) => {
    const { report } = await serviced(text, options);
    return { ...report.service?.agreement, passed: passed(report) };
  };

  it("that answered with EAGAIN agree with a retry here", async () => {
    const text = ram + write(RAM) + mapped(RAM, 0x1000, -11) + write(RAM) + mapped(RAM);
    expect(await agreement(text)).toMatchObject({ compared: 2, agreed: 2, differing: {}, passed: true });
  });

  it("that were done where we retry do not", async () => {
    const text = ram + write(RAM) + mapped(RAM) + write(RAM) + mapped(RAM);
    const differing = { "retried here, serviced there": 1 };
    expect(await agreement(text)).toMatchObject({ compared: 2, agreed: 1, differing, passed: false });
  });

  it("may name any address in the leaf, and no other", async () => {
    const at = (ipa: number) => ram + write(RAM + MIB2) + mapped(ipa, MIB2);
    expect(await agreement(at(RAM + MIB2 + 0x5000), thp)).toMatchObject({ compared: 1, agreed: 1 });
    const differing = { "another address there": 1 };
    expect(await agreement(at(RAM), thp)).toMatchObject({ compared: 1, agreed: 0, differing });
  });

  it("that all differ from ours are no pass", async () => {
    const text = ram + write(RAM) + mapped(RAM, 0x20_0000);
    expect(await agreement(text)).toMatchObject({ compared: 1, agreed: 0, passed: false });
  });

  it("unmap where no notifier was recorded", async () => {
    const text = ram + write(RAM + 0x1000) + write(RAM + 0x3000) + op.unmap(16, RAM + 0x1000, 0x1000, 9);
    expect((await serviced(text)).leaves.map((l) => l.at)).toEqual([RAM + 0x3000]);
    // With notifiers there is nothing left for them to do.
    const elsewhere = ram + unmapHost(0x1000, 0x2000) + write(RAM) + op.unmap(16, RAM, 0x1000, 9);
    expect((await serviced(elsewhere)).leaves.map((l) => l.at)).toEqual([RAM]);
  });
});

describe("memory slots that nobody tells of", () => {
  const write = (at: number, pid = 7) => fault(at, esr.write(TRANSLATION), pid);

  it("leave every fault to a device, which is no pass", async () => {
    const { report, faults } = await serviced(write(RAM));
    expect(faults).toEqual({ mmio: 1 });
    expect(report.service?.slots).toEqual({ known: 0, guessed: false });
    expect([hadNoSlots(report), passed(report)]).toEqual([true, false]);
  });

  it("are guessed where the kernel's own maps show memory", async () => {
    const device = write(0x900_0000) + line("kvm_mmio", "mmio write len 1 gpa 0x9000000 val 0x0");
    const text =
      device +
      write(RAM + 0x205000) +
      op.map(16, RAM + MIB2, MIB2, 0x9000_0000) +
      op.mapped() +
      write(RAM + 0x405000) +
      op.map(16, RAM + 0x405000, 0x1000, 0x9000_0000) +
      op.mapped() +
      write(RAM + 0x406000) +
      line("kvm_mmio", "mmio write len 1 gpa 0x40406000 val 0x0");
    const { report, faults, leaves } = await serviced(text);
    expect(faults).toEqual({ mmio: 2, map: 2 });
    expect(report.service).toMatchObject({ slots: { known: 2, guessed: true }, agreement: { compared: 2, agreed: 2 } });
    expect(leaves).toEqual([
      { at: RAM + MIB2, level: 2, prot: 6 },
      { at: RAM + 0x405000, level: 3, prot: 6 },
    ]);
    expect(passed(report)).toBe(true);
  });

  it("are not guessed where a marker tells of slots", async () => {
    const told = setRegion(5, 0, RAM, 64 << 20, HVA);
    const text = told + write(0x8000_0000) + op.map(16, 0x8000_0000, 0x1000, 0x9000_0000) + op.mapped();
    const { report, faults } = await serviced(text);
    expect(faults).toEqual({ mmio: 1 });
    expect(report.service?.slots).toEqual({ known: 1, guessed: false });
  });

  it("are believed where they are told of, whatever event follows a fault", async () => {
    const text = ram + write(RAM) + line("kvm_mmio", "mmio write len 1 gpa 0x40000000 val 0x0");
    expect((await serviced(text)).faults).toEqual({ map: 1 });
  });
});

describe("a slot", () => {
  it("that is deleted or moved leaves nothing behind", async () => {
    const used = ram + fault(RAM, esr.write(TRANSLATION));
    expect((await serviced(used + setRegion(0, 0, 0, 0, 0))).leaves).toEqual([]);
    expect((await serviced(used + setRegion(0, 0, 0x8000_0000, 64 << 20, HVA))).leaves).toEqual([]);
  });

  it("that KVM refused is none", async () => {
    const { faults } = await serviced(setRegion(0, 0, RAM, MIB2, HVA, -1) + fault(RAM, esr.write(TRANSLATION)));
    expect(faults).toEqual({ mmio: 1 });
  });

  it("may come from the caller", async () => {
    const slots = [{ slot: 0, flags: 0, gpa: RAM, size: MIB2, hva: HVA }];
    const { faults } = await serviced(fault(RAM, esr.write(TRANSLATION)), { slots });
    expect(faults).toEqual({ map: 1 });
  });
});

describe("table pages", () => {
  it("come from the vCPU's cache, which is topped up before each fault [MC-6]", async () => {
    let text = ram;
    for (let i = 0; i < 300; i++) text += fault(RAM + i * 4096 * 37, esr.write(TRANSLATION), 7 + (i % 4));
    const { report, faults } = await serviced(text);
    expect(faults).toEqual({ map: 300 });
    expect(report.operations.failed).toEqual({});
    expect(report.table.leaves).toEqual({ 3: 300 });
  });
});
