// Makes the pictures of the documents again, from the report of a recorded boot: `npm run docs:pictures`. Needs `npm run build`, and Chromium.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const TRACE = join(ROOT, "test/replay/fixtures/J-boot-6.12-4k/Image612-v1-nothp-256m.trace.gz");
const main = join(ROOT, "dist/bindings/cli/main.js");
const folder = mkdtempSync(join(tmpdir(), "granule-pictures-"));
const report = join(folder, "boot.html");

/** Opens the table that maps the guest's memory, and one of its leaves. */
async function openTable(page) {
  await page.locator(".box.table").nth(2).click();
  await page.locator(".box.leaves").first().click();
}

/** The live page in the middle of a split: between the write and its TLBI. */
async function shootLive(browser) {
  const server = spawn(process.execPath, [main, "view"], { stdio: ["ignore", "pipe", "ignore"] });
  try {
    const [url] = await once(server.stdout.setEncoding("utf8"), "data");
    const page = await browser.newPage({ viewport: { width: 900, height: 800 }, colorScheme: "light" });
    await page.goto(url.trim());
    await page.waitForFunction(() => document.documentElement.dataset.ready === "yes");
    await page.getByRole("button", { name: /^TLBI IPAS2E1IS/ }).click();
    await page.getByRole("button", { name: "Step back" }).click();
    await page.getByRole("button", { name: "Access", exact: true }).click();
    await page.evaluate(() => scrollTo(0, 0));
    const top = await page.getByRole("heading", { name: "Step by step" }).boundingBox();
    await page.screenshot({
      path: join(ROOT, "docs/public/live.png"),
      clip: { x: 0, y: top.y - 16, width: 900, height: 808 },
      fullPage: true,
    });
  } finally {
    server.kill();
  }
}

try {
  execFileSync(process.execPath, [main, "report", TRACE, "--from", "ops", "--html", report], { stdio: "ignore" });
  const args = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"];
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
  const page = await browser.newPage({ viewport: { width: 900, height: 800 }, colorScheme: "light" });
  await page.goto(pathToFileURL(report).href);
  await page.waitForFunction(() => document.documentElement.dataset.ready === "yes");
  const shoot = (id, name) => page.locator(`#${id}`).screenshot({ path: join(ROOT, "docs/public", name) });
  await shoot("where-the-guest-stopped-and-when", "heatmap.png");
  await openTable(page);
  await shoot("the-table", "table.png");
  await shootLive(browser);
  await browser.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
