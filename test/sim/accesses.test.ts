import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type AccessConfig, type AccessReport, runAccesses } from "../../bindings/sim/index.js";
import { readAccesses } from "../../bindings/trace/index.js";

const FOLDER = new URL("../trace/fixtures/accesses/", import.meta.url);
const lackey = readFileSync(new URL("true.lackey.txt.gz", FOLDER));
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const run = (source: Uint8Array | AsyncIterable<Uint8Array>, config: AccessConfig = {}): Promise<AccessReport> =>
  runAccesses(readAccesses(source), config);

/** The accesses of the real trace as its text has them, an access in two pages as two: page and kind. */
function modelOf(granule: number): { page: number; store: boolean; fetch: boolean }[] {
  const lines = gunzipSync(lackey)
    .toString()
    .matchAll(/^(I {2}| [LSM] )([0-9a-f]+),(\d+)$/gm);
  return [...lines].flatMap(([, what = "", address = "", size = ""]) => {
    const first = Number.parseInt(address, 16);
    const pages = [...new Set([first, first + Number(size) - 1].map((at) => Math.floor(at / granule)))];
    const kinds = what === " M " ? [" L ", " S "] : [what];
    return kinds.flatMap((kind) => pages.map((page) => ({ page, store: kind === " S ", fetch: kind === "I  " })));
  });
}

describe("recorded accesses", () => {
  it.each([4096, 16384, 65536] as const)(
    "of a real program touch, fault and write what its text says, in pages of %d",
    async (granule) => {
      const model = modelOf(granule);
      const pages = new Set(model.map(({ page }) => page));
      const { accesses, faults, tlb, table, dirty, trace } = await run(lackey, { granule, backing: "4k" });
      expect([accesses, trace.pages, faults.translation, table.leaves]).toEqual([
        model.length,
        pages.size,
        pages.size,
        pages.size,
      ]);
      expect(trace.written).toBe(new Set(model.filter(({ store }) => store).map(({ page }) => page)).size);
      expect(dirty.written).toBe(model.filter(({ store }) => store).length);
      expect(tlb.hits + tlb.misses).toBe(accesses + faults.translation + faults.permission);
      expect([faults.exits, faults.aborts, faults.access]).toEqual([0, 0, 0]);
      // A page that was read first is mapped read-only, for it is the zero page; a fetch needs execution.
      const state = new Map<number, string>();
      let denied = 0;
      for (const { page, store, fetch } of model) {
        const had = state.get(page);
        if (had === undefined) state.set(page, fetch ? "rwx" : store ? "rw" : "r");
        else if (store && !had.includes("w")) {
          denied++;
          state.set(page, "rw");
        } else if (fetch && !had.includes("x")) {
          denied++;
          state.set(page, "rwx");
        }
      }
      expect(faults.permission).toBe(denied);
    },
  );

  it("report the pages that were stored to between two reads of the log, however they are logged", async () => {
    const every = 5000;
    const model = modelOf(4096);
    const rounds: number[] = [];
    for (let i = 0; i < model.length; i += every) {
      rounds.push(
        new Set(
          model
            .slice(i, i + every)
            .filter(({ store }) => store)
            .map(({ page }) => page),
        ).size,
      );
    }
    for (const dirty of ["wp", "eager", "ring", "dbm"] as const) {
      for (const adversarial of [false, true]) {
        const report = await run(lackey, { dirty, every, adversarial, tlb: "tiny", seed: 5 });
        expect(report.dirty).toMatchObject({ rounds, unlogged: 0 });
      }
    }
  });

  it("depend on the trace and the settings alone", async () => {
    const config = { adversarial: true, tlb: "cortex-a53", every: 777, dirty: "dbm", seed: 9 } as const;
    const [a, b] = [await run(lackey, config), await run(lackey, config)].map(({ seconds: _, ...rest }) => rest);
    expect(a).toEqual(b);
    expect(a?.config).toMatchObject({ seed: 9, every: 777, granule: 4096, vcpus: 1 });
  });

  it("of several threads run on vCPUs of their own, as far as there are so many", async () => {
    const text = readFileSync(new URL("threads.drmemtrace.txt", FOLDER));
    // Pages 404, 7fdf64e2a, 7fdf64e2b, 601, 602, and 603 of the store in two pages.
    for (const vcpus of [1, 2]) {
      const { accesses, faults, trace } = await run(text, { vcpus, backing: "4k" });
      expect([accesses, faults.translation, trace.pages, trace.crossing, trace.written]).toEqual([13, 6, 6, 1, 3]);
    }
  });

  it("in CSV have guest addresses: memory is where they go, or where the slots are", async () => {
    const text = bytes("vcpu,kind,gpa\n0,w,0x40000000\n1,r,0x40000ff8\n0,w,0x9000000\n0,w,0x12345678000\n");
    const all = await run(text, { vcpus: 2, backing: "4k" });
    // 0x12345678000 is beyond the 40 bits of the guest's addresses.
    expect([all.faults.translation, all.faults.aborts, all.faults.exits, all.table.leaves]).toEqual([3, 1, 0, 2]);
    const some = await run(text, { vcpus: 2, ranges: [{ gpa: 0x4000_0000, size: 2 << 20 }] });
    expect([some.faults.exits, some.faults.aborts, some.table.leaves, some.trace.pages]).toEqual([1, 1, 1, 0]);
  });

  it("need memory for the pages that they touch, and none for their number", async () => {
    async function* loop(times: number): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < times; i++) yield bytes(" S 1fff000688,8\n L 04a17de0,8\n".repeat(1000));
    }
    const [short, long] = [await run(loop(1)), await run(loop(100))];
    expect(long.accesses).toBe(100 * short.accesses);
    expect(long.table).toEqual(short.table);
    expect(long.trace.pages).toBe(2);
  });

  it.each([
    [{ every: -1 }, "every is -1"],
    [{ every: 1.5 }, "every is 1.5"],
    [{ dirty: "hdbs", every: 1 }, 'dirty is "hdbs"'],
    [{ granule: 8192 }, "granule is 8192"],
    [{ writes: 0.5 }, "unknown option writes"],
    [{ ranges: [{ gpa: 1, size: 4096 }] }, "EINVAL"],
  ])("are refused for %o", async (config, words) => {
    await expect(run(lackey, config as AccessConfig)).rejects.toThrow(words);
  });
});
