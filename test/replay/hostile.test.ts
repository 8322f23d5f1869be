import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayTrace } from "../../bindings/replay/replay.js";
import { readManifest } from "../../bindings/trace/index.js";
import { esr, fault, line, marker, op, replayText, setRegion, tracePath } from "./support.js";

const address = fc.oneof(
  fc.nat(1 << 30),
  fc.constantFrom(0, 0xfff, 0x1000, 2 ** 40 - 4096, 2 ** 40, 2 ** 48, 2 ** 52 - 1, 2 ** 52 - 4096),
  fc.integer({ min: 0, max: 2 ** 52 - 1 }),
);
const pid = fc.constantFrom(7, 8);
const pgt = fc.constantFrom(0x10, 0x20);
const code = fc.nat(0x3f);

const anyOperation = fc.oneof(
  fc
    .tuple(pgt, address, address, address, fc.nat(0xff), pid)
    .map(([g, a, s, p, prot, who]) => op.map(g, a, s, p, prot, who)),
  fc.tuple(fc.constantFrom(0, -11, -12, 99), pid).map(([ret, who]) => op.mapped(ret, who)),
  fc.tuple(pgt, address, address).map(([g, a, s]) => op.unmap(g, a, s)),
  pgt.map((g) => op.destroy(g)),
  fc
    .tuple(fc.constantFrom("s2_wrprotect", "s2_flush", "s2_split", "s2_destroy_range"), pgt, address, address)
    .map(([name, g, a, s]) =>
      line(name, `(f+0x0/0x1) pgt=0x${g.toString(16)} ipa=0x${a.toString(16)} size=0x${s.toString(16)}`),
    ),
  fc
    .tuple(pgt, address)
    .map(([g, a]) => line("s2_mkyoung", `(f+0x0/0x1) pgt=0x${g.toString(16)} ipa=0x${a.toString(16)}`)),
);

const anyEvent = fc.oneof(
  fc
    .tuple(address, code, fc.constantFrom(esr.read, esr.write, esr.exec), pid)
    .map(([a, c, e, who]) => fault(a - (a % 4096), e(c), who)),
  fc
    .tuple(fc.nat(3), fc.nat(3), address, address, address, fc.constantFrom(0, 0, 0, -1))
    .map(([slot, flags, g, s, h, rc]) => setRegion(slot, flags, g - (g % 4096), s - (s % 4096), h - (h % 4096), rc)),
  fc
    .tuple(address, address, pid)
    .map(([a, b, who]) =>
      line("kvm_unmap_hva_range", `mmu notifier unmap range: 0x${a.toString(16)} -- 0x${b.toString(16)}`, who),
    ),
  fc
    .tuple(address, address)
    .map(([a, b]) => line("kvm_age_hva", `mmu notifier age hva: 0x${a.toString(16)} -- 0x${b.toString(16)}`)),
  address.map((a) => line("kvm_set_spte_hva", `mmu notifier set pte hva: 0x${a.toString(16)}`)),
  fc
    .tuple(fc.nat(3), address, address)
    .map(([s, a, b]) => marker(`KVM_CLEAR_DIRTY_LOG slot=${s} first_page=${a % 100000} num_pages=${b % 1000000} [x]`)),
  fc.nat(3).map((s) => marker(`KVM_GET_DIRTY_LOG slot=${s} [x]`)),
  fc
    .tuple(fc.constantFrom("madvise DONTNEED", "munmap", "munmap+mmap MAP_FIXED", "mprotect RO"), address, address)
    .map(([call, a, b]) => marker(`${call} hva=0x${a.toString(16)} len=0x${b.toString(16)}`)),
  fc
    .constantFrom("fork", "fork child gone", "monitor: x", "KVM_ENABLE_CAP EAGER_SPLIT_CHUNK_SIZE=4096 rc=0")
    .map(marker),
);

describe("any sequence of lines", () => {
  it("of operations ends in a report", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyOperation, { maxLength: 60 }), async (lines) => {
        const report = await replayText(lines.join(""), { from: "ops", lenient: true, arenaBytes: 8 << 20 });
        expect(report.events).toBe(lines.length);
      }),
      { numRuns: 150 },
    );
  });

  it("of faults, slots and notifications ends in a report", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyEvent, { maxLength: 60 }), fc.boolean(), async (lines, thp) => {
        const report = await replayText(lines.join(""), { arenaBytes: 8 << 20, backing: { hugetlb: 0, thp } });
        expect(report.trace.malformed).toBe(0);
      }),
      { numRuns: 150 },
    );
  });
});

describe("a real trace with damage", () => {
  const text = gunzipSync(readFileSync(tracePath("F-7.2custom-4k-vhe-max/pd-unmap"))).toString();
  const manifest = readFileSync(tracePath("F-7.2custom-4k-vhe-max/pd-unmap").replace(".trace.gz", ".manifest.json"));

  it.each(["ops", "faults"] as const)("is replayed leniently from %s, whatever was changed", async (from) => {
    const known = await readManifest(manifest);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(text.length - 1), fc.nat(127)), { maxLength: 200 }),
        async (changes) => {
          const bytes = new TextEncoder().encode(text);
          for (const [at, byte] of changes) bytes[at] = byte;
          const report = await replayTrace(bytes, { from, manifest: known, lenient: true, arenaBytes: 16 << 20 });
          expect(report.events).toBeGreaterThan(0);
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe("an arena that is spent", () => {
  it("fails operations, not the replay", async () => {
    let text = "";
    for (let i = 0; i < 600; i++) text += op.map(16, i * 2 ** 30, 4096, 0) + op.mapped();
    const report = await replayText(text, { from: "ops", arenaBytes: 1 << 20 });
    expect(Object.keys(report.operations.failed)).toEqual(["map -12"]);
  });
});
