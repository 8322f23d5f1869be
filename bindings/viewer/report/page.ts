// The page of a report: reads the story that lies in it, and draws its sections.

import type { Section, Story } from "../../report/story.js";
import { chartOf } from "./chart.js";
import { el, repaint } from "./dom.js";
import { heatmapOf } from "./heatmap.js";
import { stepsOf } from "./steps.js";
import { tableOf } from "./table.js";
import { treeOf } from "./tree.js";

/** The story is JSON, gzipped, in base64. */
async function readStory(): Promise<Story> {
  const text = document.getElementById("story")?.textContent ?? "";
  const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text()) as Story;
}

function contentOf(section: Section): HTMLElement {
  switch (section.kind) {
    case "table":
      return tableOf(section);
    case "chart":
      return chartOf(section);
    case "heatmap":
      return heatmapOf(section);
    case "tree":
      return treeOf(section);
    case "steps":
      return stepsOf(section);
  }
}

function anchor(title: string): string {
  return title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
}

function sectionOf(section: Section): HTMLElement {
  const { title, note } = section;
  const heading = el("h2", {}, title);
  return el(
    "section",
    { id: anchor(title) },
    heading,
    note === undefined ? undefined : el("p", { class: "note" }, note),
    contentOf(section),
  );
}

/** Light, dark, or as the system has it. */
function themeButton(): HTMLElement {
  const root = document.documentElement;
  const isDark = () => {
    const chosen = root.dataset.theme;
    return chosen === undefined ? matchMedia("(prefers-color-scheme: dark)").matches : chosen === "dark";
  };
  const name = () => (isDark() ? "Light colours" : "Dark colours");
  const button = el("button", {
    type: "button",
    class: "theme",
    onclick: () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      button.textContent = name();
      repaint();
    },
  });
  button.textContent = name();
  return button;
}

async function show(): Promise<void> {
  const { sections } = await readStory();
  const links = sections.map(({ title }) => el("li", {}, el("a", { href: `#${anchor(title)}` }, title)));
  document.querySelector("header")?.append(themeButton(), el("nav", { "aria-label": "Parts" }, el("ul", {}, ...links)));
  document.querySelector("main")?.append(...sections.map(sectionOf));
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
