import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DirtyBitmap } from "../../bindings/vm/bitmap.js";
import { HostMemory } from "../../bindings/vm/host-memory.js";
import { LOG_DIRTY, MemorySlots, READ_ONLY } from "../../bindings/vm/slots.js";

const MIB2 = 2 << 20;

describe("memory slots", () => {
  const slots = () => new MemorySlots(4096, 2 ** 40);
  const first = { slot: 1, flags: 0, gpa: 0x4000_0000, size: MIB2, hva: 0x7000_0000 };

  it("are created, flagged, moved and deleted [DLG-1]", () => {
    const s = slots();
    expect(s.set(first).kind).toBe("create");
    expect(s.set(first).kind).toBe("none");
    expect(s.set({ ...first, flags: LOG_DIRTY }).after?.dirty?.pages).toBe(512);
    expect(s.set({ ...first, gpa: 0x8000_0000, flags: LOG_DIRTY }).kind).toBe("move");
    expect(s.find(0x4000_0000)).toBeUndefined();
    expect(s.find(0x801f_ffff)?.slot).toBe(1);
    expect(s.find(0x8020_0000)).toBeUndefined();
    expect(s.set({ ...first, size: 0 }).kind).toBe("delete");
    expect(s.all).toEqual([]);
  });

  it.each([
    ["a size that is no multiple of the page", { ...first, size: 100 }],
    ["an address that is not aligned", { ...first, gpa: 1 }],
    ["a host address that is not aligned", { ...first, hva: 1 }],
    ["a slot beyond the address space", { ...first, gpa: 2 ** 40 - 4096 }],
    ["another size of a slot that is there", { ...first, size: 2 * MIB2 }],
    ["another host address of it", { ...first, hva: 0 }],
    ["another READONLY flag of it", { ...first, flags: READ_ONLY }],
    ["one that overlaps", { ...first, slot: 2, gpa: 0x401f_f000 }],
    ["the end of one that is not there", { ...first, slot: 3, size: 0 }],
  ])("refuse %s, and keep what there is", (_, request) => {
    const s = slots();
    s.set(first);
    expect(s.set(request).kind).toBe("refused");
    expect(s.all).toMatchObject([first]);
  });

  it("are found whatever their number and order", () => {
    const s = new MemorySlots(4096, 2 ** 40);
    const order = Array.from({ length: 2000 }, (_, i) => (i * 1237) % 2000);
    for (const i of order) s.set({ slot: i, flags: 0, gpa: i * 8192, size: 4096, hva: i * 4096 });
    for (const i of order) if (i % 3 === 0) s.set({ slot: i, flags: 0, gpa: 0, size: 0, hva: 0 });
    const found = order.map((i) => [s.find(i * 8192 + 7)?.slot, s.find(i * 8192 + 4096)]);
    expect(found).toEqual(order.map((i) => [i % 3 === 0 ? undefined : i, undefined]));
    expect(s.all.every((slot, i) => i === 0 || (s.all[i - 1]?.gpa ?? 0) < slot.gpa)).toBe(true);
    expect(s.set({ slot: 32767, flags: 0, gpa: 0x4000_0000, size: 4096, hva: 0 }).kind).toBe("refused");
  });

  it("give the host ranges of a guest range, as far as it lies in slots", () => {
    const s = slots();
    s.set(first);
    s.set({ ...first, slot: 2, gpa: first.gpa + MIB2, hva: 0x1000_0000 });
    expect(s.toHost(first.gpa + MIB2 - 0x1000, 0x2000)).toEqual([
      { start: 0x7000_0000 + MIB2 - 0x1000, end: 0x7000_0000 + MIB2 },
      { start: 0x1000_0000, end: 0x1000_1000 },
    ]);
    expect(s.toHost(0, 0x1000)).toEqual([]);
    s.set({ ...first, size: 0 });
    expect([s.all.length, s.most]).toEqual([1, 2]);
  });

  it("keep their dirty log when they move, and begin a new one when logging is switched on again", () => {
    const s = slots();
    s.set({ ...first, flags: LOG_DIRTY }).after?.dirty?.mark(3);
    expect(s.set({ ...first, flags: LOG_DIRTY, gpa: 0x8000_0000 }).after?.dirty?.count()).toBe(1);
    s.set({ ...first, gpa: 0x8000_0000 });
    expect(s.set({ ...first, flags: LOG_DIRTY, gpa: 0x8000_0000 }).after?.dirty?.count()).toBe(0);
    s.set({ ...first, gpa: 0x8000_0000 });
    expect(s.set({ ...first, flags: LOG_DIRTY, gpa: 0x8000_0000 }, true).after?.dirty?.count()).toBe(512);
  });

  it("never log what is read-only [DLG-2]", () => {
    expect(slots().set({ ...first, flags: LOG_DIRTY | READ_ONLY }).after?.dirty).toBeUndefined();
  });
});

describe("a dirty bitmap", () => {
  it("clears whole words, and names the span from the lowest to the highest page of each [DLG-18]", () => {
    const b = new DirtyBitmap(1000);
    for (const page of [3, 60, 130, 999]) b.mark(page);
    const spans: number[][] = [];
    b.clear(0, 1000, (page, pages) => spans.push([page, pages]));
    expect(spans).toEqual([
      [3, 58],
      [130, 1],
      [999, 1],
    ]);
    expect(b.count()).toBe(0);
  });

  it("is the set of pages that were marked", () => {
    const page = fc.nat(9999);
    fc.assert(
      fc.property(fc.array(page), fc.boolean(), fc.nat(150), fc.nat(160), (pages, set, firstWord, words) => {
        const b = new DirtyBitmap(10_000, set);
        for (const p of pages) b.mark(p);
        const model = new Set(set ? Array.from({ length: 10_000 }, (_, i) => i) : pages);
        expect(b.count()).toBe(model.size);
        const covered = new Set<number>();
        b.clear(firstWord * 64, words * 64, (at, n) => {
          for (let i = at; i < at + n; i++) covered.add(i);
        });
        const inside = (p: number) => p >= firstWord * 64 && p < (firstWord + words) * 64;
        expect([...model].filter((p) => covered.has(p) !== inside(p))).toEqual([]);
        expect(b.count()).toBe([...model].filter((p) => !inside(p)).length);
      }),
      { numRuns: 30 },
    );
  });

  it("of a terabyte takes no memory until it is used", () => {
    const b = new DirtyBitmap(2 ** 28, true);
    expect(b.count()).toBe(2 ** 28);
    b.mark(7);
    expect(b.count()).toBe(2 ** 28);
  });
});

describe("the host's memory", () => {
  const memory = (splitsHugeZero = true) => {
    const m = new HostMemory({ granule: 4096, otherwise: { hugetlb: 0, thp: false }, splitsHugeZero });
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
    const m = new HostMemory({ granule: 4096, otherwise: { hugetlb: 0, thp: false }, splitsHugeZero: true });
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
    const m = new HostMemory({ granule: 4096, otherwise: { hugetlb: 0, thp: false }, splitsHugeZero: true });
    m.define({ hva: at, size: MIB2, hugetlb: 0, thp: true, fresh: true });
    m.assume(at + MIB2, MIB2);
    m.assume(at - MIB2, MIB2);
    m.assume(at, 2 * MIB2);
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
