// The page of a report: reads the story that lies in it, and draws its sections.

import type { Story } from "../../report/story.js";
import { el, repaint } from "./dom.js";
import { anchor, sectionsOf, themeButton } from "./sections.js";

/** The story is JSON, gzipped, in base64. */
async function readStory(): Promise<Story> {
  const text = document.getElementById("story")?.textContent ?? "";
  const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text()) as Story;
}

async function show(): Promise<void> {
  const story = await readStory();
  const links = story.sections.map(({ title }) => el("li", {}, el("a", { href: `#${anchor(title)}` }, title)));
  document.querySelector("header")?.append(themeButton(), el("nav", { "aria-label": "Parts" }, el("ul", {}, ...links)));
  document.querySelector("main")?.append(...sectionsOf(story));
  repaint();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  let width = document.body.clientWidth;
  addEventListener("resize", () => {
    if (document.body.clientWidth === width) return;
    width = document.body.clientWidth;
    repaint();
  });
  document.documentElement.dataset.ready = "yes";
}

show().catch((error: unknown) => {
  document.querySelector("main")?.append(el("p", { role: "alert" }, `This report cannot be shown: ${String(error)}`));
});
