import { execFileSync } from "node:child_process";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { entryPoints } from "../house/public.js";
import { packInto } from "../package/packed.js";
import { scratchFolder } from "../support/scratch.js";
import { chromiumPath, launch, whySkipped } from "./chromium.js";
import { serve } from "./server.js";

/** Where the unpacked package stands on the site, as its own exports map says. */
const names = entryPoints().filter(({ name }) => !name.endsWith("/node"));
const imports = Object.fromEntries(
  names.map(({ name, source }) => [name, `/package/dist/${source.replace(/\.ts$/, ".js")}`]),
);

/** A page that runs a module and leaves its result, or its error, in a global. */
function page(code: string): string {
  return `<!doctype html><title>granule</title>
<script type="importmap">${JSON.stringify({ imports })}</script>
<script type="module">
async function run() { ${code} }
globalThis.outcome = run().then((value) => ({ value }), (error) => ({ error: String(error?.stack ?? error) }));
</script>`;
}

const MAP_ALL = `
  const { createEngine, GranuleError } = await import("granule");
  const answers = [];
  for (const granule of [4096, 16384, 65536]) {
    const engine = createEngine({ arenaBytes: 16 << 20 });
    const table = engine.createStage2({ granule, ipaBits: 40 });
    table.map(0x4000_0000, 2 * granule, 0x8_0000_0000, "rw");
    table.unmap(0x4000_0000 + granule, granule);
    const leaf = table.leaf(0x4000_0000);
    let code = "none";
    try { table.map(0, granule, 1n << 60n, "rw"); } catch (error) { code = error instanceof GranuleError ? error.code : String(error); }
    answers.push([granule, leaf.kind, leaf.level, String(leaf.pa), table.leaf(0x4000_0000 + granule).kind, code]);
    table.close();
    engine.close();
  }
  return { isolated: crossOriginIsolated, buffers: typeof SharedArrayBuffer, answers };`;

const ANSWERS = [4096, 16384, 65536].map((granule) => [granule, "page", 3, String(0x8_0000_0000), "hole", "ERANGE"]);

const SLIM = `
  const { createEngine, loadEngine } = await import("granule/slim");
  const url = "/package/dist/granule.wasm";
  const module = await WebAssembly.compileStreaming(fetch(url));
  const kinds = [];
  for (const engine of [await loadEngine(url), createEngine(module), createEngine(await (await fetch(url)).arrayBuffer())]) {
    const table = engine.createStage2();
    table.map(0x1000, 0x1000, 0x9000, "r");
    kinds.push(table.leaf(0x1000).kind);
    engine.close();
  }
  const lost = await loadEngine("/nowhere.wasm").catch((error) => error.code);
  return [...kinds, lost];`;

const WORKER = `
  const { createEngine } = await import("granule");
  const main = createEngine().createStage2();
  main.map(0, 4096, 0, "r");
  const source = 'import { createEngine } from "' + location.origin + '/package/dist/bindings/index.js";' +
    'const table = createEngine().createStage2(); table.map(0, 4096, 0, "r"); postMessage(table.leaf(0).kind);';
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module" });
  const kind = await new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
  return [main.leaf(0).kind, kind];`;

/** Two workers fault on one table while the main thread, which may not sleep, keeps taking its lock for writing. */
const POOL = `
  const { createEngine, createPool, capabilities } = await import("granule");
  const engine = createEngine({ arenaBytes: 16 << 20, walkers: 3 });
  const table = engine.createStage2();
  const pool = await createPool(engine, { size: 2 });
  const n = 4096;
  const shares = [0, 1].map((worker) => {
    const columns = engine.createColumns(n);
    for (let i = 0; i < n; i++) {
      columns.addresses[i] = BigInt(worker * n + i) << 12n;
      columns.values[i] = BigInt(worker * n + i) << 12n;
    }
    return columns;
  });
  let running = 2;
  const jobs = shares.map((columns, worker) => pool.mapColumns(table, columns, n, "rw", { worker }).then(() => running--));
  let turns = 0;
  for (; running > 0 || turns < 50; turns++) {
    table.wrprotect(0, 32 << 20);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  await Promise.all(jobs);
  for (const { addresses, values } of shares) {
    for (let i = 0; i < n; i++) if (table.leaf(addresses[i]).kind === "hole") table.map(addresses[i], 4096, values[i], "rw");
  }
  const { mode } = pool;
  await pool.close();
  const leaves = table.countLeaves();
  table.close();
  const { threads, reason, sleeps } = capabilities();
  return { mode, leaves, threads, reason: reason ?? "", sleeps, attached: engine.walkers().map((w) => w.attached) };`;

describe.skipIf(chromiumPath === undefined)(`the packed package in Chromium${whySkipped}`, () => {
  const folder = scratchFolder();
  let browser: Browser;

  beforeAll(async () => {
    execFileSync("tar", ["-xzf", packInto(folder), "-C", folder]);
    browser = await launch();
  });

  afterAll(async () => {
    await browser?.close();
  });

  async function run(code: string, isolated = false, policy?: string): Promise<unknown> {
    await using site = await serve(folder, page(code), isolated, policy);
    const context = await browser.newContext();
    try {
      const tab = await context.newPage();
      const failures: string[] = [];
      tab.on("pageerror", (error) => failures.push(String(error)));
      await tab.goto(site.url);
      await tab.waitForFunction(() => "outcome" in globalThis);
      const outcome = await tab.evaluate(() => (globalThis as unknown as { outcome: Promise<object> }).outcome);
      expect({ failures, missing: site.missing.filter((path) => path !== "/nowhere.wasm"), outcome }).toEqual({
        failures: [],
        missing: [],
        outcome: { value: expect.anything() },
      });
      return (outcome as { value: unknown }).value;
    } finally {
      await context.close();
    }
  }

  it("works on any page, with nothing set up", async () => {
    expect(await run(MAP_ALL)).toEqual({ isolated: false, buffers: "undefined", answers: ANSWERS });
  });

  it("works on a cross-origin isolated page", async () => {
    expect(await run(MAP_ALL, true)).toEqual({ isolated: true, buffers: "function", answers: ANSWERS });
  });

  it("has a pool of module workers on a cross-origin isolated page", async () => {
    expect(await run(POOL, true)).toEqual({
      mode: "threads",
      leaves: 8192,
      threads: true,
      reason: "",
      sleeps: false,
      attached: [true, false, false],
    });
  });

  it("has a cooperative pool on any other page, and says why", async () => {
    expect(await run(POOL)).toEqual({
      mode: "cooperative",
      leaves: 8192,
      threads: false,
      reason: expect.stringContaining("not cross-origin isolated"),
      sleeps: false,
      attached: [true, false, false],
    });
  });

  it("works in a worker", async () => {
    expect(await run(WORKER)).toEqual(["page", "page"]);
  });

  it("needs nothing from a content security policy that Wasm itself does not need", async () => {
    const policy = "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'";
    expect(await run(MAP_ALL, false, policy)).toMatchObject({ answers: ANSWERS });
  });

  it.each([false, true])("takes a fetched core in granule/slim, isolated %s", async (isolated) => {
    expect(await run(SLIM, isolated)).toEqual(["page", "page", "page", "EINVAL"]);
  });

  it("checks preconditions in granule/debug", async () => {
    const code = MAP_ALL.replace('import("granule")', 'import("granule/debug")');
    expect(await run(code)).toMatchObject({ answers: ANSWERS });
  });

  it.each(names)("loads $name", async ({ name }) => {
    expect(await run(`return Object.keys(await import("${name}")).length;`)).toBeGreaterThan(0);
  });
});
