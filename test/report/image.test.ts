// An image holds the whole table: a walk that knows only image and manifest finds every leaf.

import { describe, expect, it } from "vitest";
import { decodeAddress } from "../../bindings/core/descriptor.js";
import { createEngine, GranuleError } from "../../bindings/index.js";
import { type TableImage, tableImage } from "../../bindings/report/image.js";

const SHIFTS = { "4K": 12, "16K": 14, "64K": 16 };

/** Descriptor of the leaf for `address`, by loads from the image alone. */
function walk({ manifest, image }: TableImage, address: bigint): bigint {
  const shift = SHIFTS[manifest.granule];
  const control = BigInt((manifest.vtcr ?? manifest.tcr) as string);
  const lpa2 = ((control >> 32n) & 1n) === 1n;
  const inputBits = 64 - Number(control & 63n);
  const levels = Math.ceil((inputBits - shift) / (shift - 3));
  let level = manifest.vtcr ? (shift === 12 ? 2 : 3) - Number((control >> 6n) & 3n) : 4 - levels;
  const root = BigInt((manifest.vttbr ?? manifest.ttbr0) as string);
  let table = (root & 0xffff_ffff_ffc0n) | (((root >> 2n) & 15n) << 48n);
  const words = new DataView(image.buffer, image.byteOffset, image.byteLength);
  for (let mask = (1n << BigInt(inputBits)) - 1n; ; level++) {
    const entry = BigInt((4 - level) * (shift - 3) + 3);
    const at = Number(table - BigInt(manifest.phys_base)) + Number((address & mask) >> entry) * 8;
    const descriptor = words.getBigUint64(at, true);
    if (level === 3 || (descriptor & 3n) !== 3n) return descriptor;
    table = decodeAddress(shift, lpa2, descriptor);
    mask = (1n << entry) - 1n;
  }
}

const CASES = [
  { granule: 4096, ipaBits: 40, lpa2: false, physBase: 0x8000_0000n },
  { granule: 4096, ipaBits: 52, lpa2: true, physBase: 0xa_0000_8000_0000n },
  { granule: 16384, ipaBits: 40, lpa2: false, physBase: 0x4020_0000n },
  { granule: 65536, ipaBits: 52, lpa2: false, physBase: 0xc_00f0_0000_0000n },
] as const;

describe("tableImage", () => {
  it.each(CASES)("of stage 2, $granule bytes, $ipaBits bits", ({ physBase, ...config }) => {
    using engine = createEngine({ physBase });
    const sizes = { ...config, paBits: config.ipaBits === 52 ? 52 : 48 };
    const table = engine.createStage2(sizes);
    const other = engine.createStage2(sizes);
    const addresses = Array.from({ length: 50 }, (_, i) => BigInt(i) * 0x1234_0000n);
    for (const address of addresses) {
      table.map(address, config.granule, address, "rw");
      other.map(address, config.granule, address, "x");
    }
    const made = tableImage(table);
    expect(made.pages).toBe(table.info().pages);
    for (const address of [...addresses, 0x7777_0000n])
      expect(walk(made, address)).toBe(table.leaf(address).descriptor);
    const used = made.image.reduce((n, byte) => n + (byte ? 1 : 0), 0);
    expect(used).toBeLessThan(made.pages * 2048);
  });

  it("of the hypervisor's own table", () => {
    using engine = createEngine();
    const hyp = engine.createHyp({ vaBits: 48 });
    hyp.map(0x7f00_0000_0000, 3 * 4096, 0x9000_0000, "rw");
    const made = tableImage(hyp);
    expect(made.manifest).toMatchObject({ stage: "hyp", granule: "4K", mode: "at", fwb: false, mair: "0x40044f0ff" });
    expect(walk(made, 0x7f00_0000_1000n)).toBe(hyp.leaf(0x7f00_0000_1000).descriptor);
  });

  it("refuses a destroyed table", () => {
    using engine = createEngine();
    const table = engine.createStage2();
    table.destroy();
    expect(() => tableImage(table)).toThrow(GranuleError);
  });
});
