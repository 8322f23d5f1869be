// The live page in a real browser, served by `granule view`.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { granule } from "../cli/granule.js";
import { ROOT } from "../house/sources.js";
import { scratchFolder } from "../support/scratch.js";
import { chromiumPath, launch, whySkipped } from "./chromium.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const TRACE = join(ROOT, "test/replay/fixtures/J-boot-6.12-4k/Image612-v1-thp-256m.trace.gz");

const scratch = scratchFolder();

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
      await page
        .getByLabel("An example")
        .selectOption({ label: "memory is taken away, and a TLB is stale until the TLBI" });
      expect(await page.locator(".says").textContent()).toBe("Before everything.");
      expect(await page.locator(".frames strong").allTextContents()).toEqual([
        "1. map 0x40000000 + 0x200000 → 0x80000000 rw",
        "2. unmap 0x40000000 + 0x200000",
      ]);
      await page.getByRole("button", { name: "To the end" }).click();
      expect(await page.locator(".stale").count()).toBe(3);
      expect(said).toEqual([]);
      await page.close();
    });
  });

  it("shows a dropped trace as its report, and says of another file what is wrong", async () => {
    await viewing([TRACE], async (url) => {
      const { page, said } = await open(url);
      await page.waitForSelector("#dropped h2");
      expect(await page.evaluate(() => scrollY)).toBeGreaterThan(500);
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

  it("shows an image that is dropped with its manifest, and translates addresses in it", async () => {
    const folder = join(scratch, "table");
    const specs = ["0x40000000:4M:0x80000000:rw", "0x9000000:4K:0x9000000:rwd"];
    expect((await granule(["make", ...specs, "--image", folder])).code).toBe(0);
    const check = async (page: Page) => {
      await page.waitForSelector("#dropped .icicle");
      await page.getByLabel("Translate an address in it").fill("0x40201234");
      await page.locator("#dropped").getByLabel("access").selectOption("x");
      await page.getByRole("button", { name: "Translate" }).click();
      const text = await page.locator("#dropped").textContent();
      expect(text).toMatch(
        /level 2: at 0x\w+ 0x400000802007d9: 2M block at 0x80200000: rw-.*permission fault, level 2/,
      );
    };
    await viewing([folder], async (url) => {
      const { page, said } = await open(url);
      await check(page);
      await page.reload();
      await page.waitForFunction(() => document.documentElement.dataset.ready === "yes");
      const files = ["manifest.json", "image.bin"].map((name) => [...readFileSync(join(folder, name))]);
      await page.evaluate(([manifest = [], image = []]) => {
        document.querySelector("#dropped")?.replaceChildren();
        const drop = new DataTransfer();
        drop.items.add(new File([Uint8Array.from(image)], "image.bin"));
        drop.items.add(new File([Uint8Array.from(manifest)], "manifest.json"));
        dispatchEvent(new DragEvent("drop", { dataTransfer: drop, cancelable: true }));
      }, files);
      await check(page);
      const dump = "test/trace/fixtures/pd64k-ipa48.scattered.cpu01.s2raw.gz";
      await page.locator("input[type=file]").setInputFiles(join(ROOT, dump));
      await page.getByText("Raw tables of a running kernel.").waitFor();
      expect(said).toEqual([]);
      await page.close();
    });
    expect((await granule(["view", scratch])).code).toBe(3);
  });

  it("steps two walkers of a protocol until a rule breaks, scrubs, shares the schedule and opens it again", async () => {
    await viewing([], async (url) => {
      const { page, said } = await open(url);
      const requests: string[] = [];
      page.on("request", (request) => requests.push(new URL(request.url()).pathname));
      await page.getByRole("button", { name: "Step two walkers" }).click();
      await page.getByLabel("Scenario").selectOption("dirty-age-plain-store");
      await page.getByRole("button", { name: "Step walker 1" }).click();
      const one = page.getByRole("button", { name: "Step walker 0" });
      while (await one.isEnabled()) await page.keyboard.press("0");
      expect(await page.locator(".lane0 .next").textContent()).toContain("It has ended");
      await page.getByRole("button", { name: "Step walker 1" }).click();
      expect(await page.locator(".broken").textContent()).toBe("Broken at move 8: a write is in no log");
      expect(await page.locator(".between tr.now").textContent()).toBe("entry0x5was 0xf");
      expect(await page.locator(".lane1 .bad").getAttribute("value")).toBe("8");
      const says = page.locator(".walkers .says");
      await page.getByLabel("Moment of the schedule").fill("1");
      expect(await says.textContent()).toBe("Move 1 of 8: walker 1: atomic load entry: 0x5");
      const strip = await page.locator(".strip").boundingBox();
      if (strip === null) throw new Error("no strip");
      await page.mouse.move(strip.x + strip.width * 0.7, strip.y + 4);
      expect(await says.textContent()).toContain("Move 6 of 8");
      await page.mouse.move(strip.x, strip.y - 200);
      expect(await says.textContent()).toContain("Move 1 of 8");
      await page.locator(".walkers").getByRole("button", { name: "Step on" }).click();
      await page.keyboard.press("ArrowRight");
      await page.getByRole("button", { name: "Share this schedule" }).click();
      expect(new URL(page.url()).hash).toBe("#x=x1:dirty-age-plain-store:0:1*1,0*6,1*1@3");
      const again = await open(page.url());
      expect(await again.page.locator(".walkers .says").textContent()).toContain("Move 3 of 8");
      expect(await again.page.evaluate(() => scrollY)).toBeGreaterThan(500);
      // Another way from there: what came after is forgotten, and nothing breaks.
      await again.page.getByRole("button", { name: "Step walker 1" }).click();
      await again.page.getByRole("button", { name: "Let them finish" }).click();
      expect(await again.page.locator(".walkers [role=alert]").textContent()).toContain("no rule is broken");
      expect(requests.filter((path) => path.includes("explore"))).toEqual([]);
      expect([...said, ...again.said]).toEqual([]);
      await again.page.close();
      await page.close();
    });
  });

  it("steps walkers of the real core, finds a schedule for a flaw, and says what is no schedule", async () => {
    await viewing([], async (url) => {
      const { page, said } = await open(`${url}#x=x1:fault-block:12345678:0*9,1*12,0*3`);
      expect(await page.locator(".walkers [role=status]").textContent()).toContain("another build of the core");
      expect(await page.locator(".walkers [role=alert]").textContent()).toContain("no rule is broken");
      expect(await page.locator(".between").textContent()).toMatch(/slot of 0x40000000 \(level 2\).*2M block at/);
      await page.getByLabel("Moment of the schedule").fill("18");
      expect(await page.locator(".lane1 .frames .now small").textContent()).toMatch(/\.ts:\d+.*holds/);
      await page.getByLabel("Scenario").selectOption("fault-fault-clean");
      await page.getByLabel("with the flaw").selectOption("locked-again");
      await page.getByRole("button", { name: "Look for a schedule" }).click();
      await page.waitForSelector(".broken");
      expect(await page.locator(".broken").textContent()).toMatch(/^Broken at move \d+: /);
      const text = page.getByLabel("A replay string");
      expect(await text.inputValue()).toMatch(/^x1:fault-fault-clean~locked-again:[0-9a-f]{8}:[\d*,]+$/);
      for (const [wrong, answer] of [
        ["x1:nothing:0:0*1", "there is no scenario nothing"],
        ["hello", "a replay string is x1:scenario:hash:turns"],
        ["x1:fault-fault~nothing:0:0*1", "this build has no flaw nothing"],
      ] as const) {
        await text.fill(wrong);
        await page.getByRole("button", { name: "Play it" }).click();
        await page.waitForFunction(
          (expected) => document.querySelector(".walkers [role=status]")?.textContent?.includes(expected),
          answer,
        );
      }
      expect(said).toEqual([]);
      await page.close();
    });
  });

  it("has nothing that axe complains about, light or dark, wide or narrow", async () => {
    await viewing([], async (url) => {
      for (const theme of ["light", "dark"] as const)
        for (const width of [1100, 380]) {
          const { page } = await open(`${url}#x=x1:fault-fault-clean:0:0*13,1*1@14`, width, theme);
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
