// The pages of examples/, in Chromium, against the installed package.

import { cpSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../house/sources.js";
import { installInto } from "../package/packed.js";
import { scratchFolder } from "../support/scratch.js";
import { chromiumPath, launch, whySkipped } from "./chromium.js";
import { serve } from "./server.js";

describe.skipIf(chromiumPath === undefined)(`pages of examples/${whySkipped}`, () => {
  const folder = scratchFolder();
  let project = "";
  let browser: Browser;

  beforeAll(async () => {
    project = join(installInto(folder), "../..");
    cpSync(join(ROOT, "examples"), join(project, "examples"), { recursive: true });
    browser = await launch();
  });

  afterAll(async () => {
    await browser?.close();
  });

  it("draw-table draws every entry in use", async () => {
    await using site = await serve(project, "", false);
    const tab = await browser.newPage();
    const failures: string[] = [];
    tab.on("pageerror", (error) => failures.push(String(error)));
    await tab.goto(`${site.url}examples/draw-table/index.html`);
    await tab.waitForFunction(() => document.querySelector("output")?.value !== "");
    const count = (selector: string) => tab.locator(`svg ${selector}`).count();
    const drawn = {
      said: await tab.locator("output").textContent(),
      pages: await count("rect.page"),
      tables: await count("rect.table"),
      writable: await count("rect.writable"),
      readonly: await count("rect.readonly"),
      devices: await count("rect.device"),
    };
    // 128 MiB in blocks, but for three that a balloon took and one that is 512 pages, half of them read-only.
    expect({ failures, missing: site.missing, drawn }).toEqual({
      failures: [],
      missing: [],
      drawn: {
        said: `${4 + 60 + 512 + 1} entries in 5 table pages`,
        pages: 5,
        tables: 4,
        writable: 60 + 256,
        readonly: 256,
        devices: 1,
      },
    });
    await tab.close();
  });
});
