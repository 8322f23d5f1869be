// What bundlers make of the installed package: what an application carries, and a pool in a bundle for Node. Bundles for browsers
// are run in test/browser.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import * as esbuild from "esbuild";
import { build } from "vite";
import { beforeAll, describe, expect, it } from "vitest";
import { text } from "../house/sources.js";
import { scratchFolder } from "../support/scratch.js";
import { installInto } from "./packed.js";

const folder = scratchFolder();
let project = "";

beforeAll(() => {
  project = join(installInto(folder), "../..");
});

/** The end of a core's text, which is in a bundle if the core is. */
function endOf(module: string): string {
  const [, base64 = ""] = /BYTES = "([^"]+)"/.exec(text(`dist/bindings/core/bytes.${module}.generated.js`)) ?? [];
  expect(base64.length).toBeGreaterThan(10_000);
  return base64.slice(-2000);
}

/** Cores that a bundle carries. */
const coresIn = (bundle: string): string[] =>
  ["granule", "granule.debug", "mmu", "audit"].filter((module) => bundle.includes(endOf(module)));

const ENGINE_ONLY = `import { createEngine } from "granule"; console.log(createEngine().createStage2().leaf(0).kind);`;
const WITH_MMU = `import { createMmu } from "granule/mmu"; ${ENGINE_ONLY} console.log(createMmu);`;

async function withEsbuild(code: string): Promise<{ bundle: string; modules: string[] }> {
  const { metafile, outputFiles } = await esbuild.build({
    stdin: { contents: code, resolveDir: project },
    bundle: true,
    format: "esm",
    minify: true,
    write: false,
    metafile: true,
  });
  const inputs = Object.entries(Object.values(metafile.outputs)[0]?.inputs ?? {});
  const carried = inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  const modules = carried.map(([path]) => path.replace(/^.*dist\/bindings\//, ""));
  return { bundle: outputFiles[0]?.text ?? "", modules };
}

/** The files of vite's build, as text. */
async function withVite(code: string): Promise<string[]> {
  const entry = join(project, "entry.js");
  writeFileSync(entry, code);
  const options = { write: false, rollupOptions: { input: entry } };
  const built = await build({ root: project, configFile: false, logLevel: "silent", build: options });
  const outputs = [built].flat().flatMap((one) => ("output" in one ? one.output : []));
  return outputs.map((one) => (one.type === "chunk" ? one.code : String(one.source)));
}

describe("an application that imports createEngine only", () => {
  it("carries neither the hardware's walker nor the judge nor the pool, with esbuild", async () => {
    const { bundle, modules } = await withEsbuild(ENGINE_ONLY);
    expect(modules).toContain("core/bytes.granule.generated.js");
    expect(modules.filter((name) => /^(?:mmu|audit|workers|trace|report)\/|mmu|audit|debug/.test(name))).toEqual([]);
    expect(coresIn(bundle)).toEqual(["granule"]);
    console.log(`createEngine alone, bundled: ${bundle.length} bytes`);
  });

  it("carries none of them with vite, and no script of a worker", async () => {
    const files = await withVite(ENGINE_ONLY);
    expect(files.map(coresIn)).toEqual([["granule"]]);
  });
});

describe("an application that imports createEngine and createMmu", () => {
  it("carries these two cores", async () => {
    expect(coresIn((await withEsbuild(WITH_MMU)).bundle)).toEqual(["granule", "mmu"]);
    expect((await withVite(WITH_MMU)).map(coresIn)).toEqual([["granule", "mmu"]]);
  });
});

describe("a worker's own script that imports granule/worker", () => {
  it("keeps it, though nothing of it is named", async () => {
    const code = 'import "granule/worker"; console.log("and more");';
    expect((await withEsbuild(code)).modules).toContain("workers/worker.js");
    expect((await withVite(code)).join("\n")).toContain("DedicatedWorkerGlobalScope");
  });
});

describe("a bundle for Node", () => {
  const POOL = `
    import { createEngine, createPool } from "granule";
    const engine = createEngine({ walkers: 2 });
    const pool = await createPool(engine, { size: 1 });
    const batch = engine.createBatch(1);
    const table = engine.createStage2();
    batch.map(table, 0x20_0000, 2 << 20, 0x4000_0000, "rw", { shared: true, cache: "own" });
    console.log(pool.mode, await pool.run(batch), table.leaf(0x20_0000).kind);
    await pool.close();`;

  it("has threads, with the worker as second entry", async () => {
    writeFileSync(join(project, "pool.mjs"), POOL);
    const outdir = join(project, "node");
    const entryPoints = { main: "pool.mjs", worker: "granule/worker" };
    const options = { bundle: true, platform: "node", format: "esm", logLevel: "silent" } as const;
    const { warnings } = await esbuild.build({ entryPoints, outdir, absWorkingDir: project, ...options });
    expect(warnings).toEqual([]);
    writeFileSync(join(outdir, "package.json"), '{"type":"module"}');
    const run = execFileSync(process.execPath, [join(outdir, "main.js")], { encoding: "utf8", cwd: "/" });
    expect(run).toBe("threads 1 block\n");
  });
});
