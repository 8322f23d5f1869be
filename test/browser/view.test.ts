// The live page in a real browser, served by `granule view`.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { granule } from "../cli/granule.js";
import { ROOT } from "../house/sources.js";
import { chromiumPath, launch, whySkipped } from "./chromium.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const TRACE = join(ROOT, "test/replay/fixtures/J-boot-6.12-4k/Image612-v1-thp-256m.trace.gz");

/** Serves the page while `work` runs; gives what `granule view` ended with. */
async function viewing(args: readonly string[], work: (url: string) => Promise<void>): Promise<number | null> {
  let done: Promise<void> = Promise.resolve();
  const { code } = await granule(["view", ...args], {
    onData: (text, child) => {
      done = work(text.trim()).finally(() => child.kill("SIGINT"));
    },
  });
  await done;
  return code;
}

describe.skipIf(chromiumPath === undefined)(`granule view in Chromium${whySkipped}`, () => {
  let browser: Browser;

  beforeAll(async () => {
    browser = await launch();
  });

  afterAll(() => browser?.close());

  async function open(
    url: string,
    width = 1100,
    theme: "light" | "dark" = "light",
  ): Promise<{ page: Page; said: string[] }> {
    const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme: theme });
    const said: string[] = [];
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(error.message));
    page.on(
      "request",
      (request) =>
        !request.url().startsWith(new URL(url).origin) &&
        !/^(?:blob|data):/.test(request.url()) &&
        said.push(request.url()),
    );
    await page.goto(url);
    await page.waitForFunction(() => document.documentElement.dataset.ready === "yes");
    return { page, said };
  }

  it("lets a visitor build a table, break it, read stale, share the state and open it again", async () => {
    const code = await viewing([], async (url) => {
      const { page, said } = await open(url);
      await page.getByRole("button", { name: "Empty table" }).click();
      const form = page.locator("form.form", { hasText: "Operation" });
      await form.getByLabel("IPA").fill("0x40000000");
      await form.getByLabel("size").fill("2M");
      await form.getByRole("button", { name: "Do it" }).click();
      expect(await page.locator(".box.leaves").allTextContents()).toEqual(["2 MiB rw-"]);
      const vcpu = page.locator("form.form", { hasText: "The vCPU" });
      await vcpu.getByRole("button", { name: "Access" }).click();
      await form.getByLabel("Operation").selectOption("unmap");
      await form.getByRole("button", { name: "Do it" }).click();
      expect(await page.locator(".box.leaves").count()).toBe(0);
      await page
        .getByRole("button", { name: /^TLBI IPAS2E1IS/ })
        .first()
        .click();
      await page.getByRole("button", { name: "Step back" }).click();
      await vcpu.getByRole("button", { name: "Access" }).click();
      expect(await page.locator(".stale").textContent()).toContain("stale: the tables say translation fault");
      await page.getByRole("button", { name: "Share as a link" }).click();
      const again = await open(page.url());
      expect(await again.page.locator(".stale").count()).toBe(1);
      expect(await again.page.locator(".operations li").count()).toBe(2);
      expect([...said, ...again.said]).toEqual([]);
      await again.page.close();
      await page.close();
    });
    expect(code).toBe(0);
  });

  it("takes a range that is dragged over into the form, scrubs through time, and shows a walk", async () => {
    await viewing([], async (url) => {
      const { page, said } = await open(url);
      const boxes = page.locator(".box.leaves");
      const [a, b] = [await boxes.nth(0).boundingBox(), await boxes.nth(1).boundingBox()];
      if (a === null || b === null) throw new Error("no boxes");
      await page.mouse.move(a.x + 5, a.y + 5);
      await page.mouse.down();
      await page.mouse.move(b.x + 5, b.y + 5);
      await page.mouse.up();
      const ipa = await page.locator("form.form", { hasText: "Operation" }).getByLabel("IPA").inputValue();
      const size = await page.locator("form.form", { hasText: "Operation" }).getByLabel("size").inputValue();
      expect([ipa, size]).toEqual(["0x40003000", "0x3fd000"]);
      await page.getByLabel("Moment").fill("0");
      expect(await page.locator(".says").textContent()).toBe("Before everything.");
      expect(await page.locator(".box.leaves").count()).toBe(0);
      await page.getByRole("button", { name: "To the end" }).click();
      await page.getByRole("button", { name: "Show the walk" }).click();
      expect(await page.locator("section", { hasText: "A vCPU" }).textContent()).toMatch(
        /level 3: .*4K page at 0x90000000.*Answer: 0x90003000|Answer: 0x90000000/,
      );
      expect(said).toEqual([]);
      await page.close();
    });
  });

  it("shows a dropped trace as its report, and says of another file what is wrong", async () => {
    await viewing([TRACE], async (url) => {
      const { page, said } = await open(url);
      await page.waitForSelector("#dropped h2");
      expect(await page.locator("#dropped h2").allTextContents()).toContain("Where the guest stopped, and when");
      await page
        .locator("input[type=file]")
        .setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("hello\n") });
      await page.waitForFunction(() =>
        document.querySelector("#dropped")?.textContent?.includes("notes.txt cannot be shown"),
      );
      await page.locator("input[type=file]").setInputFiles(TRACE);
      await page.waitForSelector("#dropped canvas");
      expect(said).toEqual([]);
      await page.close();
    });
  });

  it("has nothing that axe complains about, light or dark, wide or narrow", async () => {
    await viewing([], async (url) => {
      for (const theme of ["light", "dark"] as const)
        for (const width of [1100, 380]) {
          const { page } = await open(url, width, theme);
          await page.evaluate(AXE);
          const found = await page.evaluate(async () => {
            const { axe } = globalThis as unknown as {
              axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
            };
            return (await axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
          });
          expect(found).toEqual([]);
          expect(
            await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth),
          ).toBe(true);
          await page.close();
        }
    });
  });
});

describe("granule view", () => {
  it("serves the page and one file to this machine, and nothing else", async () => {
    const code = await viewing([TRACE], async (url) => {
      const at = (path: string) => fetch(new URL(path, url));
      expect(new URL(url).hostname).toBe("127.0.0.1");
      const page = await at("/");
      expect([page.status, page.headers.get("content-security-policy")]).toEqual([
        200,
        expect.stringContaining("default-src 'none'"),
      ]);
      const file = await at(`/${new URL(url).searchParams.get("file")}`);
      expect((await file.arrayBuffer()).byteLength).toBe(readFileSync(TRACE).length);
      for (const path of [
        "/nothing.js",
        "/..%2f..%2fpackage.json",
        "/%2e%2e/%2e%2e/package.json",
        "/assets",
        "/%00",
        "/%zz",
      ])
        expect([path, (await at(path)).status]).toEqual([path, 404]);
      expect((await fetch(url, { method: "POST" })).status).toBe(405);
    });
    expect(code).toBe(0);
  });

  it("refuses a file that is not there, two files, and a port that is none", async () => {
    expect((await granule(["view", "/nowhere/at.all"])).code).toBe(3);
    expect((await granule(["view", "a", "b"])).code).toBe(2);
    expect((await granule(["view", "--port", "70000"])).code).toBe(2);
  });
});
