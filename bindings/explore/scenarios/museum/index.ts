// The museum: races of page tables that people found, each as a protocol that keeps its rule and flaws that break it. docs/museum
// has a page for each.

import type { Scenario } from "../../scenario.js";
import { BARRIERS } from "./barriers.js";
import { DIRTY } from "./dirty.js";
import type { Exhibit } from "./exhibit.js";
import { FIXED } from "./fixed.js";
import { LOCKED_SLOTS } from "./locked.js";
import { MACHINE } from "./machine.js";
import { SECTIONS } from "./sections.js";
import { UNMAP } from "./unmap.js";

export const MUSEUM: readonly Exhibit[] = [
  ...UNMAP,
  ...LOCKED_SLOTS,
  ...BARRIERS,
  ...DIRTY,
  ...SECTIONS,
  ...FIXED,
  ...MACHINE,
];

/** The protocols of the museum as they should be. */
export const SOUND: readonly Scenario[] = MUSEUM.map(({ sound }) => sound);
