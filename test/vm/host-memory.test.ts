import { describe, expect, it } from "vitest";
import { MIB2, machine } from "./support.js";

describe("the host's memory", () => {
  const memory = (splitsHugeZero = true) => {
    const m = machine({ splitsHugeZero }).vm.host;
    m.define({ hva: 0x4000_0000, size: 8 * MIB2, hugetlb: 0, thp: true, fresh: true });
    return m;
  };
  const at = 0x4000_0000;

  it("is the zero page until it is written", () => {
    const m = memory();
    expect(m.touch(at, false)).toEqual({ size: MIB2, hugetlb: false, writable: false });
    expect(m.touch(at + MIB2, true)).toEqual({ size: MIB2, hugetlb: false, writable: true });
    expect(m.touch(at + MIB2, false)?.writable).toBe(true);
  });

  it("breaks the huge zero page up at a write, before Linux 6.13", () => {
    for (const splits of [true, false]) {
      const m = memory(splits);
      m.touch(at, false);
      expect(m.touch(at + 0x3000, true)).toMatchObject({ size: splits ? 4096 : MIB2, writable: true });
      expect(m.touch(at + 0x4000, false)).toMatchObject({ size: splits ? 4096 : MIB2, writable: !splits });
    }
  });

  it("is the VMM's own where it fills it: small pages, huge pages, and what was the zero page", () => {
    const m = memory(false);
    m.touch(at, false);
    m.fill(at, at + MIB2 + 0x1000);
    expect(m.touch(at + 0x5000, false)).toEqual({ size: MIB2, hugetlb: false, writable: true });
    expect(m.touch(at + MIB2 + 0x5000, false)).toEqual({ size: MIB2, hugetlb: false, writable: true });
    expect(m.touch(at + 2 * MIB2, false)?.writable).toBe(false);
    m.define({ hva: 0x1000, size: 0x4000, hugetlb: 0, thp: false, fresh: true });
    m.touch(0x2000, false);
    m.fill(0x2800, 0x3001);
    expect([0x1000, 0x2000, 0x3000, 0x4000].map((hva) => m.touch(hva, false)?.writable)).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });

  it("is filled not at all where the range is too large, or nobody has memory", () => {
    const m = memory();
    m.fill(0, 2 ** 49);
    m.fill(at - MIB2, at);
    expect(m.touch(at, false)?.writable).toBe(false);
  });

  it("has holes after munmap, and no writes after mprotect", () => {
    const m = memory();
    m.unmap(at, at + MIB2, false);
    expect(m.touch(at, false)).toBeUndefined();
    m.touch(at + MIB2, true);
    m.protect(at + MIB2, at + 2 * MIB2, false);
    expect(m.touch(at + MIB2, true)).toBeUndefined();
    expect(m.touch(at + MIB2, false)?.writable).toBe(false);
  });

  it("is copied on write after a fork, a page at a time while the child lives", () => {
    const m = memory();
    m.touch(at, true);
    m.touch(at + MIB2, true);
    m.fork();
    expect(m.touch(at, false)).toMatchObject({ size: MIB2, writable: false });
    expect(m.touch(at, true)).toMatchObject({ size: 4096, writable: true });
    m.forkGone();
    expect(m.touch(at + MIB2, true)).toMatchObject({ size: MIB2, writable: true });
  });

  it("of hugetlb is writable once it was written: by the guest, or by the VMM before", () => {
    const m = machine().vm.host;
    const area = { size: 8 * MIB2, hugetlb: MIB2, thp: false };
    m.define({ ...area, hva: at, fresh: true });
    m.define({ ...area, hva: at + 8 * MIB2, fresh: false });
    expect(m.touch(at, false)).toEqual({ size: MIB2, hugetlb: true, writable: false });
    expect(m.touch(at + MIB2, false, true)?.writable).toBe(true);
    expect(m.touch(at, true)?.writable).toBe(true);
    expect(m.touch(at + 0x5000, false)?.writable).toBe(true);
    expect(m.touch(at + 8 * MIB2, false)?.writable).toBe(true);
    m.discard(at, at + MIB2);
    expect(m.touch(at, false)?.writable).toBe(false);
  });

  it("that nobody described is of the default kind, beside what is known", () => {
    const { vm } = machine();
    const m = vm.host;
    m.define({ hva: at, size: MIB2, hugetlb: 0, thp: true, fresh: true });
    const slot = (id: number, hva: number, size: number) =>
      vm.setRegion({ slot: id, flags: 0, gpa: id << 30, size, hva });
    slot(0, at + MIB2, MIB2);
    slot(1, at - MIB2, MIB2);
    slot(2, at, 2 * MIB2);
    expect([at - MIB2, at, at + MIB2].map((hva) => m.touch(hva, true)?.size)).toEqual([4096, MIB2, 4096]);
    expect(m.touch(at + 2 * MIB2, true)).toBeUndefined();
  });

  it("is split by a change of a part, and not by one of the whole", () => {
    const m = memory();
    m.touch(at, true);
    m.touch(at + MIB2, true);
    m.splitPartly(at + MIB2 - 0x1000, at + 2 * MIB2);
    expect(m.touch(at, false)?.size).toBe(4096);
    expect(m.touch(at + MIB2, false)?.size).toBe(MIB2);
    m.splitPartly(at + MIB2, at + MIB2 + 1);
    expect(m.touch(at + MIB2, false)?.size).toBe(4096);
    // Nothing to split: nobody has touched it, and nothing is there.
    m.splitPartly(at + 2 * MIB2, at + 2 * MIB2 + 0x1000);
    expect(m.touch(at + 2 * MIB2, true)?.size).toBe(MIB2);
    m.splitPartly(0, 0x1000);
  });

  it("may become a huge page again: when given back, and by collapsing", () => {
    const m = memory();
    m.touch(at, true);
    m.discard(at + 0x1000, at + 0x2000);
    expect(m.touch(at, false)?.size).toBe(4096);
    m.discard(at, at + MIB2);
    expect(m.touch(at, true)?.size).toBe(MIB2);
    m.discard(at, at + 0x1000);
    m.collapse(at, at + MIB2);
    expect(m.touch(at + 0x5000, true)?.size).toBe(MIB2);
  });
});
