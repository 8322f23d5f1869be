import { describe, expect, it } from "vitest";
import type { ReplayOptions } from "../../bindings/replay/replay.js";
import { decodeSyndrome } from "../../bindings/replay/syndrome.js";
import type { Entry } from "../../bindings/tables/entry.js";
import { esr, fault, line, marker, replayText, setRegion } from "./support.js";

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

const thp: ReplayOptions = { backing: { hugetlb: 0, thp: true } };

describe("a syndrome", () => {
  it.each([
    [esr.write(0x07), "translation", 3, true, false],
    [esr.read(0x05), "translation", 1, false, false],
    [esr.exec(0x0e), "permission", 2, false, true],
    [esr.read(0x2b), "translation", -1, false, false],
    [esr.read(0x0b), "access flag", 3, false, false],
    [esr.read(0x10), "other", 0, false, false],
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

  it("makes pages old, and an access fault makes one young again [NOT-8, FLT-10]", async () => {
    const age = line("kvm_age_hva", `mmu notifier age hva: ${hex(HVA)} -- ${hex(HVA + 0x2000)}`, 9);
    const young = fault(RAM, esr.read(ACCESS)) + line("kvm_access_fault", `IPA: ${RAM.toString(16)}`);
    const { faults, report } = await serviced(ram + fault(RAM, esr.write(TRANSLATION)) + age + young);
    expect(faults).toEqual({ map: 1, young: 1 });
    expect(report.operations.applied).toMatchObject({ test_clear_young: 1, mkyoung: 1 });
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
