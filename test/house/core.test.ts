import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import binaryen from "binaryen";
import { describe, expect, it } from "vitest";
import { ROOT } from "./sources.js";
import { readModule, type WasmModule } from "./wasm.js";

/** The budget of the release core. */
const MAX_BYTES = 56_000;
const MAX_GZIP_BYTES = 21 * 1024;
/** The same of the judge's module. */
const MAX_JUDGE_BYTES = 30_000;
const MAX_JUDGE_GZIP_BYTES = 13 * 1024;
const SHARED_WITH_MAXIMUM = 3;

const releasePath = join(ROOT, "build/granule.wasm");

function core(name: string): Buffer<ArrayBuffer> {
  const path = join(ROOT, "build", name);
  if (!existsSync(path)) throw new Error(`${path} is missing: npm run build:core`);
  return readFileSync(path);
}

const release: WasmModule = readModule(core("granule.wasm"));
const debug: WasmModule = readModule(core("granule.debug.wasm"));

type Exports = Record<string, (...words: (number | bigint)[]) => number>;

function instance(bytes: Buffer<ArrayBuffer>, memory: WebAssembly.Memory): Exports {
  const nothing = (): number => 0;
  const imports = {
    env: { memory, base: 1024, abort: nothing },
    host: {
      hook: nothing,
      visit: nothing,
      forcePte: nothing,
      clock: nothing,
      breach: nothing,
      demand: nothing,
      point: nothing,
    },
  };
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), imports).exports as unknown as Exports;
}

describe("the release core", () => {
  it("has no data segment and no start function", () => {
    expect(release.sections).not.toContain("data");
    expect(release.sections).not.toContain("datacount");
    expect(release.sections).not.toContain("start");
  });

  it("is read by a scanner that sees what the debug core has", () => {
    expect(debug.customs).toEqual(expect.arrayContaining(["name", "sourceMappingURL"]));
    expect(debug.imports.map(({ name }) => name)).toEqual(expect.arrayContaining(["host.point", "host.demand"]));
  });

  it("has no table of functions: every call is direct", () => {
    expect(release.sections).not.toContain("element");
  });

  it("imports its memory, where in it the engine lies, and four functions of the host", () => {
    expect(release.imports.map(({ name }) => name).sort()).toEqual([
      "env.base",
      "env.memory",
      "host.clock",
      "host.forcePte",
      "host.hook",
      "host.visit",
    ]);
  });

  it("wants a shared memory of at least one page and at most 4 GiB", () => {
    const memory = release.imports.find(({ name }) => name === "env.memory");
    expect(memory).toMatchObject({ kind: "memory", flags: SHARED_WITH_MAXIMUM, initial: 1, maximum: 65536 });
  });

  it("exports functions only", () => {
    expect(release.exports.filter(({ kind }) => kind !== "function")).toEqual([]);
  });

  it("exports what the debug core does", () => {
    const names = ({ exports }: WasmModule) => exports.map(({ name }) => name).sort();
    expect(names(debug)).toEqual(names(release));
  });

  it("keeps no name and no address of a source map", () => {
    expect(release.customs).toEqual([]);
  });

  it("is as small as promised", () => {
    const bytes = statSync(releasePath).size;
    const zipped = gzipSync(core("granule.wasm"), { level: 9 }).length;
    console.log(`release core: ${bytes} bytes, ${zipped} gzipped`);
    expect(bytes).toBeLessThan(MAX_BYTES);
    expect(zipped).toBeLessThan(MAX_GZIP_BYTES);
  });
});

/** The other release modules, with their budgets. */
const OTHERS = [
  ["mmu.wasm", 23_500, 10.5 * 1024, []],
  ["vm.wasm", 100_000, 38 * 1024, ["hook", "forcePte", "clock"]],
] as const;

describe.each(OTHERS)("the release module %s", (name, maxBytes, maxZipped, host) => {
  const module = readModule(core(name));

  it("has no data segment, no start function and no table of functions", () => {
    for (const section of ["data", "datacount", "start", "element"]) expect(module.sections).not.toContain(section);
  });

  it("imports its memory and the host's functions for tables, exports functions only, and keeps no name", () => {
    expect(module.imports.find(({ kind }) => kind === "memory")).toEqual({
      name: "env.memory",
      kind: "memory",
      flags: SHARED_WITH_MAXIMUM,
      initial: 1,
      maximum: 65536,
    });
    const functions = module.imports.filter(({ kind }) => kind === "function").map((one) => one.name);
    expect(functions.sort()).toEqual(host.map((one) => `host.${one}`).sort());
    expect(module.exports.filter(({ kind }) => kind !== "function")).toEqual([]);
    expect(module.customs).toEqual([]);
  });

  it("is as small as promised", () => {
    const bytes = core(name);
    const zipped = gzipSync(bytes, { level: 9 }).length;
    console.log(`${name}: ${bytes.length} bytes, ${zipped} gzipped`);
    expect(bytes.length).toBeLessThan(maxBytes);
    expect(zipped).toBeLessThan(maxZipped);
  });
});

describe.each(["granule.wasm", "granule.debug.wasm"])("a second instance of %s", (name) => {
  it("on the same memory changes no byte, and sees the first one's engine", () => {
    const memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true });
    const bytes = core(name);
    const first = instance(bytes, memory);
    const arena = 1 << 20;
    expect(first.initialise?.(memory.buffer.byteLength - arena, arena, 0x8000_0000n, 4, 2, 0)).toBe(0);
    // Whatever the first one used must survive: also the words that stand for a page.
    const block = (first.takeBlock?.(0) ?? 0) >>> 0;
    expect(block).toBeGreaterThan(0);
    const words = new Uint32Array(memory.buffer);
    words[block / 4] = 0xdead_beef;
    const before = Uint8Array.from(new Uint8Array(memory.buffer));
    const second = instance(bytes, memory);
    expect(Buffer.compare(before, new Uint8Array(memory.buffer))).toBe(0);
    expect(second.attach?.(1, 1)).toBe(0);
    expect(second.pageReferences?.(block)).toBe(0);
  });
});

describe("the judge's module", () => {
  const audit: WasmModule = readModule(core("audit.wasm"));

  it("has no data segment, no start function and no table of functions", () => {
    for (const section of ["data", "datacount", "start", "element", "custom"]) {
      expect(audit.sections).not.toContain(section);
    }
  });

  it("imports its memory and nothing else", () => {
    expect(audit.imports).toEqual([
      { name: "env.memory", kind: "memory", flags: SHARED_WITH_MAXIMUM, initial: 1, maximum: 65536 },
    ]);
  });

  it("exports functions only", () => {
    expect(audit.exports.filter(({ kind }) => kind !== "function")).toEqual([]);
  });

  it("is as small as promised", () => {
    const bytes = core("audit.wasm");
    const zipped = gzipSync(bytes, { level: 9 }).length;
    console.log(`judge: ${bytes.length} bytes, ${zipped} gzipped`);
    expect(bytes.length).toBeLessThan(MAX_JUDGE_BYTES);
    expect(zipped).toBeLessThan(MAX_JUDGE_GZIP_BYTES);
  });
});

/** The functions of a module that sleep, as text. */
function sleepers(name: string): string[] {
  const module = binaryen.readBinary(core(name));
  const functions = module.emitText().split(/\n (?=\(func )/);
  module.dispose();
  return functions.filter((text) => text.includes("memory.atomic.wait"));
}

describe("a function that sleeps", () => {
  it.each(["granule.wasm", "vm.wasm"])("does nothing else in %s: V8 11.3 loses what it holds in registers", (name) => {
    expect(sleepers(name).map((text) => text.replace(/\s+/g, " "))).toEqual([
      expect.stringMatching(
        /^\(func \S+ \(param \$0 i32\) \(param \$1 i32\) \(drop \(memory\.atomic\.wait32 \(local\.get \$0\) \(local\.get \$1\) \(i64\.const \d+\) \) \) \)/,
      ),
    ]);
  });

  it.each(["audit.wasm", "mmu.wasm"])("is not in %s", (name) => {
    expect(sleepers(name)).toEqual([]);
  });
});
