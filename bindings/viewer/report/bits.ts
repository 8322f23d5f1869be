import { explain, type Reading } from "../../report/explain.js";
import { digits, type Field, range } from "../../report/fields.js";
import type { TreeSection } from "../../report/story.js";
import { el } from "./dom.js";

function box(field: Field): HTMLElement {
  const { name, value, meaning } = field;
  const bits = [...digits({ ...field, wide: false })].map((bit) =>
    el("span", { class: bit === "1" ? "one" : "zero" }, bit),
  );
  return el(
    "div",
    { class: `field${name === "-" ? " unused" : ""}`, title: `${name}: ${meaning}`, "data-value": String(value) },
    el("small", {}, range(field)),
    el("div", { class: "digits" }, ...bits),
    el("b", {}, name),
  );
}

function rows(reading: Reading): HTMLElement {
  const named = reading.fields.filter(({ name, value }) => name !== "-" || value !== 0n);
  return el(
    "table",
    { class: "fields" },
    el("caption", {}, reading.summary),
    el(
      "thead",
      {},
      el("tr", {}, ...["bits", "field", "value", "meaning"].map((name) => el("th", { scope: "col" }, name))),
    ),
    el(
      "tbody",
      {},
      ...named.map((field) =>
        el("tr", {}, ...[range(field), field.name, digits(field), field.meaning].map((text) => el("td", {}, text))),
      ),
    ),
  );
}

/** What a descriptor of such a table says. */
export function readingOf(descriptor: bigint, level: number, format: TreeSection["format"]): Reading | undefined {
  const { stage, granule, lpa2, fwb, hvhe } = format;
  const known = stage === "2" ? { fwb } : { hvhe };
  return explain(descriptor, { stage, granule, lpa2, ...known, level })[0];
}

/** A descriptor, bit by bit, and what each field says. */
export function bitsOf(descriptor: bigint, level: number, format: TreeSection["format"]): HTMLElement {
  const reading = readingOf(descriptor, level, format);
  if (reading === undefined) return el("p", {}, "This has no meaning.");
  return el(
    "div",
    { class: "descriptor" },
    el("p", {}, "Descriptor ", el("code", {}, `0x${descriptor.toString(16).padStart(16, "0")}`)),
    el("div", { class: "bits", "aria-hidden": "true" }, ...reading.fields.map(box)),
    el(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Fields of the descriptor" },
      rows(reading),
    ),
    ...reading.notes.map((note) => el("p", { class: "note" }, note)),
  );
}
