// A small application that uses the installed package, built with vite and with esbuild as their documentation says, served by a
// plain web server and by vite's own, and run in Chromium.

import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as esbuild from "esbuild";
import type { Browser, Page } from "playwright-core";
import { build, createServer } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../house/sources.js";
import { installInto } from "../package/packed.js";
import { scratchFolder } from "../support/scratch.js";
import { chromiumPath, launch, whySkipped } from "./chromium.js";
import { ISOLATION, serve } from "./server.js";

const APP = join(ROOT, "test/browser/app");

/** What the application tells when all is well. */
const RESULT = { done: [256, 256], leaves: 514, load: "80001234", store: "permission" };
const THREADS = { ...RESULT, isolated: true, mode: "threads", threads: true, reason: "" };
const COOPERATIVE = {
  ...RESULT,
  isolated: false,
  mode: "cooperative",
  threads: false,
  reason: expect.stringMatching(/Cross-Origin-Opener-Policy.*Cross-Origin-Embedder-Policy.*docs\/parallel\.md/),
};

describe.skipIf(chromiumPath === undefined)(`bundles in Chromium${whySkipped}`, () => {
  const folder = scratchFolder();
  let browser: Browser;
  let project = "";

  beforeAll(async () => {
    project = join(installInto(folder), "../..");
    cpSync(APP, project, { recursive: true });
    browser = await launch();
  });

  afterAll(async () => {
    await browser?.close();
  });

  /** Opens `url` in a fresh profile and hands the page on. */
  async function visit<T>(url: string, look: (page: Page) => Promise<T>): Promise<T> {
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      await page.goto(url);
      return await look(page);
    } finally {
      await context.close();
    }
  }

  /** What the application at `url` ends with: its value or its error. */
  const outcomeAt = (url: string): Promise<unknown> =>
    visit(url, async (page) => {
      await page.waitForFunction(() => "outcome" in globalThis);
      return page.evaluate(() => (globalThis as unknown as { outcome: Promise<object> }).outcome);
    });

  /** The built application in `folder`, from a server with the two headers or without them; `query` is the page's. */
  async function run(folder: string, isolated: boolean, { query = "", policy = "" } = {}): Promise<unknown> {
    const page = readFileSync(join(folder, "index.html"), "utf8");
    await using site = await serve(folder, page, isolated, policy || undefined);
    return await outcomeAt(site.url + query);
  }

  describe("vite build", () => {
    let folder = "";

    beforeAll(async () => {
      folder = join(project, "vite");
      const options = { outDir: folder, emptyOutDir: true };
      await build({ root: project, configFile: false, logLevel: "silent", build: options });
    });

    it("has threads on an isolated page", async () => {
      expect(await run(folder, true)).toEqual({ value: THREADS });
    });

    it("works without threads on any other page, and says which headers are missing", async () => {
      expect(await run(folder, false)).toEqual({ value: COOPERATIVE });
    });

    it("names the directive that a content security policy lacks for WebAssembly", async () => {
      expect(await run(folder, true, { policy: "script-src 'self'" })).toEqual({
        error: expect.stringMatching(
          /^GranuleError: EPERM: createEngine: .*Content-Security-Policy.*'wasm-unsafe-eval' in script-src/,
        ),
      });
      expect(await run(folder, true, { policy: "script-src 'self' 'wasm-unsafe-eval'" })).toEqual({ value: THREADS });
    });

    it("names the directive of a content security policy that forbids the workers", async () => {
      expect(await run(folder, true, { policy: "worker-src 'none'" })).toEqual({
        error: expect.stringMatching(/^GranuleError: EINVAL: createPool: a worker did not start: .*worker-src/),
      });
    });
  });

  describe("vite's development server", () => {
    it.each([true, false])("serves the application, isolated %s", async (isolated) => {
      const headers = isolated ? ISOLATION : {};
      const warnings: string[] = [];
      const server = await createServer({
        root: project,
        configFile: false,
        cacheDir: join(project, `cache-${isolated}`),
        server: { host: "127.0.0.1", port: 0, headers },
        customLogger: {
          hasWarned: false,
          info() {},
          warn: (message) => void warnings.push(message),
          warnOnce: (message) => void warnings.push(message),
          error: (message) => void warnings.push(message),
          clearScreen() {},
          hasErrorLogged: () => false,
        },
      });
      try {
        await server.listen();
        const outcome = await outcomeAt(server.resolvedUrls?.local[0] ?? "");
        expect({ outcome, warnings }).toEqual({ outcome: { value: isolated ? THREADS : COOPERATIVE }, warnings: [] });
      } finally {
        await server.close();
      }
    });
  });

  describe("esbuild", () => {
    /** Builds into `folder` as the command line would; what it warns of. */
    async function bundle(folder: string, options: esbuild.BuildOptions): Promise<string[]> {
      const common = {
        bundle: true,
        outdir: folder,
        absWorkingDir: project,
        logLevel: "silent",
        minify: true,
      } as const;
      const { warnings } = await esbuild.build({ ...common, ...options });
      cpSync(join(APP, "index.html"), join(folder, "index.html"));
      return warnings.map((warning) => warning.text);
    }

    /** The same page for a bundle: esbuild writes no HTML. */
    async function runBundle(folder: string, isolated: boolean, query = ""): Promise<unknown> {
      const page = readFileSync(join(folder, "index.html"), "utf8").replace("./main.ts", "./main.js");
      await using site = await serve(folder, page, isolated);
      return await outcomeAt(site.url + query);
    }

    it.each([true, false])("with the worker as second entry works, isolated %s", async (isolated) => {
      const folder = join(project, "esbuild");
      const entryPoints = { main: "main.ts", worker: "granule/worker" };
      expect(await bundle(folder, { entryPoints, format: "esm" })).toEqual([]);
      expect(await runBundle(folder, isolated)).toEqual({ value: isolated ? THREADS : COOPERATIVE });
    });

    it("as one classic script works with createWorker", async () => {
      const folder = join(project, "classic");
      const entryPoints = { main: "main.ts", "pool-worker": "granule/worker" };
      await bundle(folder, { entryPoints, format: "iife" });
      expect(await runBundle(folder, true, "?worker=pool-worker.js")).toEqual({ value: THREADS });
    });

    it("without the worker says what to do", async () => {
      const folder = join(project, "alone");
      await bundle(folder, { entryPoints: { main: "main.ts" }, format: "esm" });
      expect(await runBundle(folder, true)).toEqual({
        error: expect.stringMatching(
          /^GranuleError: EINVAL: createPool: .*did not load.*createWorker: docs\/parallel\.md/,
        ),
      });
    });
  });

  describe("examples/isolate.js", () => {
    it("isolates a page of a static host that sends no headers", async () => {
      const folder = join(project, "vite");
      cpSync(join(ROOT, "examples/isolate.js"), join(folder, "isolate.js"));
      const page = readFileSync(join(folder, "index.html"), "utf8");
      const first = page.replace("<head>", '<head><script src="isolate.js"></script>');
      await using site = await serve(folder, first, false);
      const outcome = await visit(site.url, async (tab) => {
        await tab.waitForFunction(() => crossOriginIsolated && "outcome" in globalThis);
        return tab.evaluate(() => (globalThis as unknown as { outcome: Promise<object> }).outcome);
      });
      expect(outcome).toEqual({ value: THREADS });
    });
  });
});
