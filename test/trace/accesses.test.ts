import { readFileSync } from "node:fs";
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import {
  type AccessOptions,
  formatOf,
  readAccesses,
  sniff,
  TraceInputError,
  TraceSyntaxError,
} from "../../bindings/trace/index.js";

const FOLDER = new URL("fixtures/accesses/", import.meta.url);
const file = (name: string): Buffer => readFileSync(new URL(name, FOLDER));
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const KINDS = ["r", "w", "x"];

/** All rows, as `kind address+size thread`. */
async function rowsOf(source: Uint8Array | readonly Uint8Array[], options: AccessOptions = {}) {
  const reader = readAccesses(source, options);
  const rows: string[] = [];
  for await (const { length, addresses, kinds, sizes, threads } of reader) {
    for (let i = 0; i < length; i++)
      rows.push(`${KINDS[kinds[i] as number]} ${(addresses[i] as number).toString(16)}+${sizes[i]} ${threads[i]}`);
  }
  return { rows, reader };
}

/** One record of ChampSim. */
function record(
  ip: bigint,
  loads: readonly bigint[] = [],
  stores: readonly bigint[] = [],
  branch = 0,
  taken = 0,
): Uint8Array {
  const view = new DataView(new ArrayBuffer(64));
  view.setBigUint64(0, ip, true);
  view.setUint8(8, branch);
  view.setUint8(9, taken);
  view.setUint8(12, 26); // a register
  stores.forEach((address, i) => {
    view.setBigUint64(16 + 8 * i, address, true);
  });
  loads.forEach((address, i) => {
    view.setBigUint64(32 + 8 * i, address, true);
  });
  return new Uint8Array(view.buffer);
}
const CHAMPSIM = [
  record(0x40_1000n),
  record(0x40_1004n, [0x7fff_1234_5678n, 0x60_0008n], [0x60_1000n]),
  record(0x40_1008n, [], [], 1, 1),
  record(0xffff_ffff_ff60_0000n),
];
const champsim = (): Uint8Array => new Uint8Array(Buffer.concat(CHAMPSIM));

describe("memory accesses of lackey", () => {
  it("are loads, stores, fetches, and both for a modify", async () => {
    const text =
      "==7== Lackey, an example Valgrind tool\nI  0401ab70,3\n L 1fff000500,8\n S 1fff000688,4\n M 04a17de0,8\n";
    const { rows, reader } = await rowsOf(bytes(text));
    expect(rows).toEqual(["x 401ab70+3 0", "r 1fff000500+8 0", "w 1fff000688+4 0", "r 4a17de0+8 0", "w 4a17de0+8 0"]);
    expect([reader.format, reader.isPhysical]).toEqual(["lackey", false]);
    expect(reader.stats).toEqual({ records: 5, accesses: 5, ignored: 1, malformed: 0, threads: 1 });
  });

  it("of a real run are as many as its text says", async () => {
    const packed = file("true.lackey.txt.gz");
    const lines = gunzipSync(packed).toString().trimEnd().split("\n");
    const count = (form: RegExp) => lines.filter((line) => form.test(line)).length;
    const { rows, reader } = await rowsOf(packed);
    const modifies = count(/^ M /);
    expect(reader.stats).toMatchObject({ records: 40_000, malformed: 0, accesses: rows.length });
    expect(rows.filter((row) => row.startsWith("x"))).toHaveLength(count(/^I {2}/));
    expect(rows.filter((row) => row.startsWith("r"))).toHaveLength(count(/^ L /) + modifies);
    expect(rows.filter((row) => row.startsWith("w"))).toHaveLength(count(/^ S /) + modifies);
    expect(rows.length).toBeGreaterThan(39_000);
  });

  it("are the same however the bytes come", async () => {
    const whole = bytes("I  0401ab70,3\n L 1fff000500,8\n S 1fff000688,4");
    const one = (await rowsOf(whole)).rows;
    const pieces = Array.from({ length: Math.ceil(whole.length / 5) }, (_, i) => whole.slice(5 * i, 5 * i + 5));
    expect((await rowsOf(pieces, { format: "lackey" })).rows).toEqual(one);
    expect((await rowsOf(pieces)).rows).toEqual(one);
    expect((await rowsOf(gzipSync(whole))).rows).toEqual(one);
  });

  it.each(["hello", "I  xyz,3", " L 1000", " L 1000,0", " L 1000,70000", " L 12345678123456789,8", "I 1000,3"])(
    "end with the number of a line such as %j, unless the reader is lenient",
    async (line) => {
      const text = bytes(`I  1000,3\n${line}\n L 2000,8\n`);
      const error = await rowsOf(text).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(TraceSyntaxError);
      expect((error as Error).message).toMatch(/^line 2: expected `I {2}ADDRESS,SIZE`/);
      const { rows, reader } = await rowsOf(text, { lenient: true });
      expect([rows, reader.stats.malformed]).toEqual([["x 1000+3 0", "r 2000+8 0"], 1]);
    },
  );

  it("above 2^53 stay in their page", async () => {
    const { rows } = await rowsOf(bytes(" L ffffffffffffffff,1\n L ffff800000001abc,8\n L 001fffffffffffff,1\n"));
    expect(rows).toEqual(["r fffffffffffff800+1 0", "r ffff800000001800+8 0", "r 1fffffffffffff+1 0"]);
  });
});

describe("memory accesses of drmemtrace's view tool", () => {
  it("are fetches, loads and stores of threads; markers, prefetches and what was not fetched are none", async () => {
    const { rows, reader } = await rowsOf(file("threads.drmemtrace.txt"));
    expect(rows).toEqual([
      "x 404a7e+5 0",
      "r 7fdf64e2adc8+8 0",
      "x 404a83+7 0",
      "w 7fdf64e2b002+8 0",
      "x 404a8a+2 0",
      "r 601000+1 0",
      "w 602000+1 0",
      "r 601001+1 0",
      "w 602001+1 0",
      "x 404b00+2 1",
      "x 404b04+4 1",
      "w 602ffc+8 1",
    ]);
    expect(reader.format).toBe("drmemtrace");
    expect(reader.stats).toMatchObject({ records: 30, accesses: 12, malformed: 0, threads: 2 });
  });

  it("may name threads with a workload", async () => {
    const text = "  10  2: W0.T292 write 8 byte(s) @ 0x2345 by PC 0x6789\n  11  3: W1.T292 ifetch 4 byte(s) @ 0x6789\n";
    expect((await rowsOf(bytes(text))).rows).toEqual(["w 2345+8 0", "x 6789+4 1"]);
  });

  it("end with the number of a line that is none", async () => {
    const text = "  10  2: 292 write 8 byte(s) @ 0x2345 by PC 0x6789\nSegmentation fault\n";
    await expect(rowsOf(bytes(text))).rejects.toThrow(/^line 2: expected a record of drmemtrace's view tool/);
  });
});

describe("memory accesses in CSV", () => {
  it("have a header that says where each column is, and guest physical addresses", async () => {
    const text = "# a comment\ntime,vcpu,kind,gpa\n0.5,0,r,0x40000000\n0.6,1,WRITE,1073745920\r\n\n0.7,1,x,0x1000\n";
    const { rows, reader } = await rowsOf(bytes(text));
    expect(rows).toEqual(["r 40000000+1 0", "w 40001000+1 1", "x 1000+1 1"]);
    expect([reader.format, reader.isPhysical, reader.stats.threads]).toEqual(["csv", true, 2]);
  });

  it("need no more than kind and gpa, in any order, and may have a size", async () => {
    expect((await rowsOf(bytes("gpa,size,kind\n0x1ffc,8,w\n"))).rows).toEqual(["w 1ffc+8 0"]);
  });

  it.each(["0,0,r", "0,0,q,0x1000", "0,0,r,0x", "0,0,r,-1", "0,64,r,0", "0,0,r,0x10000000000000", "0,0,r,12ab"])(
    "end with the number of a row such as %s",
    async (row) => {
      await expect(rowsOf(bytes(`time,vcpu,kind,gpa\n${row}\n`))).rejects.toThrow(
        /^line 2: expected a row of the header's/,
      );
    },
  );

  it("are asked for a header", async () => {
    await expect(rowsOf(bytes("0,0,r,0x1000\n"), { format: "csv" })).rejects.toThrow(/^line 1: expected a header row/);
  });
});

describe("memory accesses of ChampSim", () => {
  const expected = [
    "x 401000+1 0",
    "x 401004+1 0",
    "r 7fff12345678+1 0",
    "r 600008+1 0",
    "w 601000+1 0",
    "x 401008+1 0",
    "x ffffffffff600000+1 0",
  ];

  it("are a fetch, the loads and the stores of each record", async () => {
    const { rows, reader } = await rowsOf(champsim());
    expect(rows).toEqual(expected);
    expect([reader.format, reader.stats.records]).toEqual(["champsim", 4]);
  });

  it.each([1, 7, 63, 64, 65, 100])("are the same in chunks of %d bytes, and packed", async (size) => {
    const whole = champsim();
    const chunks = Array.from({ length: Math.ceil(whole.length / size) }, (_, i) =>
      whole.slice(size * i, size * (i + 1)),
    );
    expect((await rowsOf(chunks, { format: "champsim" })).rows).toEqual(expected);
    expect((await rowsOf(gzipSync(whole))).rows).toEqual(expected);
  });

  it("that end in the middle of a record are refused", async () => {
    await expect(rowsOf(champsim().slice(0, 100))).rejects.toThrow(
      "ends in the middle of record 2, after 36 bytes of 64",
    );
  });
});

describe("what an input is", () => {
  it.each([
    ["text", bytes("kvmt-7 [000] ..... 1.5: kvm_access_fault: IPA: 420b6000\n")],
    ["text", bytes("")],
    ["text", bytes("a, b, kinds\n")],
    ["lackey", bytes("==12== Lackey, an example\n==12== Command: true\n")],
    ["lackey", bytes(" S 1fff000688,8\n")],
    ["drmemtrace", file("threads.drmemtrace.txt")],
    ["csv", bytes("vcpu,kind,gpa\n")],
    ["champsim", champsim()],
    ["binary", new Uint8Array(64)],
    ["binary", Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 2, ...new Uint8Array(55))],
    ["trace.dat", Uint8Array.of(0x17, 8, 0x44, ...bytes("tracing"))],
    ["perf.data", bytes("PERFILE2")],
    ["xz", Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0)],
    ["zstd", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd)],
  ] as const)("%s, is told by its first bytes", (format, head) => {
    expect(formatOf(head)).toBe(format);
  });

  it("is told without losing a byte", async () => {
    const packed = file("true.lackey.txt.gz");
    const { format, source } = await sniff([packed.subarray(0, 1), packed.subarray(1)]);
    const chunks: Uint8Array[] = [];
    for await (const chunk of source) chunks.push(chunk);
    expect(format).toBe("lackey");
    expect(Buffer.concat(chunks).equals(gunzipSync(packed))).toBe(true);
  });

  it.each([
    [Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0), "packed by xz: unpack it first"],
    [Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd), "packed by zstd"],
    [bytes("one line of text\n"), "these are no memory accesses"],
  ])("is refused with what to do: %o", async (input, words) => {
    const error = await rowsOf(input).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(TraceInputError);
    expect((error as Error).message).toContain(words);
  });
});
