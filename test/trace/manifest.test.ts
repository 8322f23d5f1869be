import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ManifestError, parseManifest, readManifest } from "../../bindings/trace/index.js";

const textOf = (name: string): string =>
  readFileSync(new URL(`fixtures/${name}.manifest.json`, import.meta.url), "utf8");

describe("manifests", () => {
  it("of a scenario on the newest CPU", () => {
    const manifest = parseManifest(textOf("dhtlb1g-eager"));
    expect(manifest).toMatchObject({
      name: "H-6.12-4k-vhe-max-1g/dhtlb1g-eager",
      release: "6.12.95+deb12-arm64",
      version: [6, 12],
      numbering: "6.x",
      granule: 4096,
      vcpus: 1,
      ipaBits: 40,
      mode: "dirty1g",
      vmmCommand: undefined,
      eagerSplit: 2 ** 30,
      manualDirtyLog: 0,
      features: {
        fwb: true,
        rangeTlbi: true,
        rangeTlbiSeen: true,
        lpa2: true,
        vhe: true,
        hardwareDirty: true,
        ipaLimit: 52,
      },
    });
    expect(manifest.backing).toEqual([{ kind: "hugetlb", hva: 0xffff_0000_0000, size: 2 ** 30, pageSize: 2 ** 30 }]);
    expect(manifest.slotCalls.at(-1)).toMatchObject({ slot: 1, size: 0, rc: 0 });
  });

  it("of QEMU, which says less", () => {
    const manifest = parseManifest(textOf("mig-6.12-qemu"));
    expect(manifest).toMatchObject({ mode: undefined, ipaBits: undefined, backing: [] });
    expect(manifest.vmmCommand).toContain("-smp 1 -m 256");
    expect(manifest.slotCalls.some((call) => call.flags === 1 && call.errno === undefined)).toBe(true);
  });

  it("of 7.2, and of an nVHE host", () => {
    expect(parseManifest(textOf("unmap-7.2-4k")).numbering).toBe("7.x");
    const { features, backing } = parseManifest(textOf("unmap-6.12-nvhe"));
    expect(features).toMatchObject({ vhe: false, rangeTlbiSeen: false });
    expect(backing[0]).toMatchObject({ kind: "anonymous", hugePages: "advised" });
  });

  it("needs no trace, no IPA size and no errno; null is as good as nothing", () => {
    const { trace: _, ...json } = JSON.parse(textOf("dhtlb1g-eager"));
    for (const trace of [{}, { trace: null }]) {
      expect(parseManifest(JSON.stringify({ ...json, ...trace })).trace).toBeUndefined();
    }
    const [call] = json.memslots;
    const nulls = { ...json, ipa_bits: null, mode: null, memslots: [{ ...call, errno: null }] };
    const manifest = parseManifest(JSON.stringify(nulls));
    expect(manifest).toMatchObject({ ipaBits: undefined, mode: undefined });
    expect(manifest.slotCalls[0]?.errno).toBeUndefined();
    expect(() => parseManifest(JSON.stringify({ ...json, trace: 7 }))).toThrow("manifest trace");
  });

  it("of far more than a manifest's size is refused before it fills the memory", async () => {
    const bomb = gzipSync(`{"name":"x"${"\n".repeat(32 << 20)}}`);
    await expect(readManifest(bomb)).rejects.toMatchObject({ name: "TraceInputError" });
  });

  const changes: readonly [string, (json: Record<string, never>) => unknown][] = [
    ["name", (json) => ({ ...json, name: 3 })],
    ["host_kernel", (json) => ({ ...json, host_kernel: "Linux" })],
    ["stage2_granule", (json) => ({ ...json, stage2_granule: 8192 })],
    ["kvm_mode", (json) => ({ ...json, kvm_mode: "pKVM" })],
    ["kvm_dmesg", (json) => ({ ...json, kvm_dmesg: [1] })],
    ["events", (json) => ({ ...json, events: [] })],
    ["events.s2_map", (json) => ({ ...json, events: { s2_map: 0.5 } })],
    ["memslots", (json) => ({ ...json, memslots: {} })],
    ["memslots[0]", (json) => ({ ...json, memslots: [null] })],
    ["memslots[0].gpa", (json) => ({ ...json, memslots: [{ slot: 0, flags: "0x0", gpa: 4 }] })],
    ["backing[0]", (json) => ({ ...json, backing: ["file x"] })],
    ["vcpus", (json) => ({ ...json, vcpus: -1 })],
  ];

  it.each(changes)("a bad %s is named", (field, change) => {
    const json = change(JSON.parse(textOf("dhtlb1g-eager")));
    expect(() => parseManifest(JSON.stringify(json))).toThrow(
      expect.objectContaining({ name: "ManifestError", field }),
    );
  });

  it("any JSON gives a manifest or a ManifestError", () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        expect(() => parseManifest(text)).toThrow(ManifestError);
      }),
    );
  });
});
