// The sections of a story as elements: the same on a report's page and on the live one.

import type { Section, Story } from "../../report/story.js";
import { chartOf } from "./chart.js";
import { el, repaint } from "./dom.js";
import { heatmapOf } from "./heatmap.js";
import { stepsOf } from "./steps.js";
import { tableOf } from "./table.js";
import { treeOf } from "./tree.js";

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

/** The anchor of a heading. */
export function anchor(title: string): string {
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
export function themeButton(): HTMLElement {
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

/** All sections of a story. */
export function sectionsOf({ sections }: Story): HTMLElement[] {
  return sections.map(sectionOf);
}
