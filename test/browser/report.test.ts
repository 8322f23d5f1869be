// The report of a boot in a real browser, as somebody opens it from a mail: from a file, without a network.

import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findManifest } from "../../bindings/replay/files.js";
import { replayTrace } from "../../bindings/replay/replay.js";
import { TraceStory } from "../../bindings/replay/story.js";
import { htmlReport, type Story } from "../../bindings/report/index.js";
import { comparisonStory, runStory, runWorkload } from "../../bindings/sim/index.js";
import { openFile } from "../../bindings/trace/node.js";
import { ROOT } from "../house/sources.js";
import { scratchFolder } from "../support/scratch.js";
import { chromiumPath, launch, whySkipped } from "./chromium.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const MIB = 1 << 20;

async function bootStory(): Promise<Story> {
  const path = join(ROOT, "test/replay/fixtures/J-boot-6.12-4k/Image612-v1-nothp-256m.trace.gz");
  const onlooker = new TraceStory();
  const manifest = await findManifest(path, undefined);
  const report = await replayTrace(openFile(path), {
    from: "ops",
    manifest,
    onlookers: [onlooker],
  });
  return onlooker.story(report);
}

/** Stories that show every kind of section. */
async function stories(): Promise<Record<string, Story>> {
  const measures = (cycles: number) => ({ cycles, faults: 2 * cycles });
  const steps: Story = {
    schemaVersion: 1,
    title: "Two walkers",
    summary: [],
    facts: [],
    sections: [
      {
        kind: "steps",
        title: "The schedule",
        lanes: ["walker 0", "walker 1"],
        steps: [
          { lane: 0, text: "reads the slot", detail: "0x0" },
          { lane: 1, text: "exchanges it", bad: true },
        ],
      },
    ],
  };
  return {
    boot: await bootStory(),
    run: runStory(runWorkload({ workload: "migration", memory: 16 * MIB, dirty: "dbm" })),
    comparison: comparisonStory("migration", [
      { varied: { dirty: "wp" }, measures: measures(9) },
      { varied: { dirty: "dbm" }, measures: measures(3) },
    ]),
    steps,
  };
}

/** What axe finds wrong, as lines. The page's policy lets only the debugger bring a script in. */
async function complaints(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() =>
    (
      globalThis as unknown as { axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }
    ).axe.run(),
  );
  return violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
}

describe.skipIf(chromiumPath === undefined)(`a report in Chromium${whySkipped}`, () => {
  const folder = scratchFolder();
  const urls: Record<string, string> = {};
  const sizes: Record<string, number> = {};
  let browser: Browser;

  beforeAll(async () => {
    for (const [name, story] of Object.entries(await stories())) {
      const html = await htmlReport(story);
      const path = join(folder, `${name}.html`);
      await writeFile(path, html);
      urls[name] = pathToFileURL(path).href;
      sizes[name] = html.length;
    }
    browser = await launch();
  });

  afterAll(async () => {
    await browser?.close();
  });

  /** The page of a story, and what it complained about or asked the network for. */
  async function open(
    name: string,
    width = 1200,
    theme: "light" | "dark" = "light",
  ): Promise<{ page: Page; said: string[] }> {
    const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme: theme });
    const said: string[] = [];
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(error.message));
    page.on("request", (request) => request.url() !== urls[name] && said.push(`asks for ${request.url()}`));
    await page.goto(urls[name] as string);
    await page.waitForFunction(() => document.documentElement.dataset.ready === "yes");
    return { page, said };
  }

  it.each(["boot", "run", "comparison", "steps"])(
    "shows %s in light and dark, wide and narrow, without a complaint of axe",
    async (name) => {
      for (const theme of ["light", "dark"] as const)
        for (const width of [1200, 380]) {
          const { page, said } = await open(name, width, theme);
          expect(await complaints(page)).toEqual([]);
          expect(
            await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth),
          ).toBe(true);
          expect(said).toEqual([]);
          await page.close();
        }
    },
  );

  it("is small in the mail and in memory", async () => {
    expect(sizes.boot).toBeLessThan(MIB);
    const { page } = await open("boot");
    const heap = await page.evaluate(
      () => (performance as unknown as { memory: { usedJSHeapSize: number } }).memory.usedJSHeapSize,
    );
    expect(heap).toBeLessThan(200 * MIB);
    await page.close();
  });

  it("goes from the start tables to a single descriptor, by keys alone", async () => {
    const { page, said } = await open("boot");
    const boxes = page.locator(".icicle .box");
    await boxes.first().focus();
    for (const key of ["ArrowDown", "ArrowDown", "Enter"]) await page.keyboard.press(key);
    expect(await page.locator(".path button").count()).toBeGreaterThan(1);
    await page.locator(".box.leaves").first().focus();
    await page.keyboard.press("Enter");
    expect(await page.locator(".detail .fields caption").textContent()).toMatch(/^A 4K page at 0x[0-9a-f]+: /);
    const before = await page.locator(".detail code").textContent();
    const pick = page.locator(".detail input");
    if ((await pick.count()) > 0) {
      await pick.fill("1");
      expect(await page.locator(".detail code").textContent()).not.toBe(before);
    }
    await page.locator(".icicle .box").first().focus();
    await page.keyboard.press("Escape");
    expect(said).toEqual([]);
    await page.close();
  });

  it("says what a cell of the heat-map stands for, and lists what every picture shows", async () => {
    const { page } = await open("boot");
    await page.locator("canvas[tabindex]").focus();
    await page.keyboard.press("ArrowUp");
    expect(await page.locator("output.says").textContent()).toMatch(
      /^0x[0-9a-f]+ to 0x[0-9a-f]+ .*: \d+ × nothing mapped$/,
    );
    for (const summary of await page.locator("details > summary").all()) await summary.click();
    await page.waitForFunction(() =>
      [...document.querySelectorAll("details")].every((one) => one.querySelectorAll("tbody tr").length > 0),
    );
    await page.close();
  });

  it("steps through a schedule, and begins where it goes wrong", async () => {
    const { page } = await open("steps");
    const says = page.locator("output.says");
    expect(await says.textContent()).toBe("Step 2 of 2: walker 1: exchanges it");
    await page.getByRole("button", { name: "Step back" }).click();
    expect(await says.textContent()).toBe("Step 1 of 2: walker 0: reads the slot");
    await page.close();
  });

  it("sorts a table, marks the best, and changes its colours at a click", async () => {
    const { page } = await open("comparison");
    expect(await page.locator("td.best").allTextContents()).toEqual(["3 ★", "6 ★"]);
    await page.getByRole("button", { name: "cycles" }).click();
    expect(await page.locator("tbody tr").first().textContent()).toContain("dbm");
    const colour = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await colour();
    await page.getByRole("button", { name: "Dark colours" }).click();
    expect(await colour()).not.toBe(light);
    await page.close();
  });
});
