// Debian's Chromium, driven by playwright-core; nothing is downloaded.

import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const PLACES = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Path of the browser, undefined where there is none. */
export const chromiumPath: string | undefined = PLACES.find((path) => path !== undefined && existsSync(path));

/** Says in the title of a suite why it does nothing. */
export const whySkipped =
  chromiumPath === undefined ? " (skipped: no Chromium; apt-get install chromium, or set CHROMIUM)" : "";

/** Starts it headless; containers have neither its sandbox nor much shared memory. */
export function launch(): Promise<Browser> {
  if (chromiumPath === undefined) throw new Error("no Chromium");
  const args = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"];
  return chromium.launch({ executablePath: chromiumPath, headless: true, args });
}
