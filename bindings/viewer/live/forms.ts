// The forms of the page. What is typed is checked here; what it means is the engine's business.

import { el } from "../report/dom.js";
import type { Access, Operation, Shape } from "./scenario.js";

const UNITS: Readonly<Record<string, number>> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** `0x1000`, `64K`, `2M`; undefined for anything else. */
export function parseNumber(text: string): number | undefined {
  const [, digits = "", unit = ""] = /^(0x[0-9a-f]+|\d+)([kmgt]?)$/i.exec(text.trim()) ?? [];
  const n = Number(digits) * (UNITS[unit.toLowerCase()] ?? Number.NaN);
  return digits !== "" && Number.isSafeInteger(n) ? n : undefined;
}

function select<T extends string>(
  label: string,
  values: readonly T[],
  words: Readonly<Record<string, string>> = {},
): { root: HTMLElement; value: () => T; input: HTMLSelectElement } {
  const input = el("select", {}, ...values.map((value) => el("option", { value }, words[value] ?? value)));
  return { root: el("label", {}, `${label} `, input), value: () => input.value as T, input };
}

/** A field for an address or a size. */
function number(
  label: string,
  value: string,
): { root: HTMLElement; input: HTMLInputElement; value: () => number | undefined } {
  const input = el("input", { type: "text", value, size: 14, spellcheck: "false", autocomplete: "off" });
  const read = (): number | undefined => {
    const n = parseNumber(input.value);
    input.setCustomValidity(n === undefined ? "a number such as 0x40000000, 4096 or 2M" : "");
    input.reportValidity();
    return n;
  };
  return { root: el("label", {}, `${label} `, input), input, value: read };
}

const OPERATIONS = ["map", "unmap", "wrprotect", "split", "age", "relax"] as const;
/** What the operations are for, since their names are the kernel's. */
const MEANINGS: Readonly<Record<string, string>> = {
  map: "map: give memory",
  unmap: "unmap: take it away",
  wrprotect: "wrprotect: forbid writes",
  split: "split: a block into pages",
  age: "age: was it accessed?",
  relax: "relax: allow more",
  r: "reads",
  w: "writes",
  x: "fetches",
};

/** The form of one operation. */
export interface OperationForm {
  readonly root: HTMLElement;
  setRange(from: number, size: number): void;
}

export function operationForm(done: (one: Operation) => void): OperationForm {
  const op = select("Operation", OPERATIONS, MEANINGS);
  const ipa = number("IPA", "0x40000000"),
    size = number("size", "2M"),
    pa = number("PA", "0x80000000");
  const prot = select("rights", ["rw", "r", "rwx", "rx", "x", "w"]);
  const adapt = () => {
    size.root.hidden = op.value() === "relax";
    pa.root.hidden = op.value() !== "map";
    prot.root.hidden = op.value() !== "map" && op.value() !== "relax";
  };
  op.input.addEventListener("change", adapt);
  adapt();
  const submit = (event: Event) => {
    event.preventDefault();
    const one = read(op.value(), ipa.value, size.value, pa.value, prot.value());
    if (one !== undefined) done(one);
  };
  const button = el("button", {}, "Do it");
  const root = el(
    "form",
    { class: "form", onsubmit: submit },
    op.root,
    ipa.root,
    size.root,
    pa.root,
    prot.root,
    button,
  );
  return {
    root,
    setRange(from, bytes) {
      ipa.input.value = `0x${from.toString(16)}`;
      size.input.value = `0x${bytes.toString(16)}`;
    },
  };
}

type Read = () => number | undefined;

function read(op: Operation["op"], ipaOf: Read, sizeOf: Read, paOf: Read, prot: string): Operation | undefined {
  const ipa = ipaOf();
  if (ipa === undefined) return undefined;
  if (op === "relax") return { op, ipa, prot };
  const size = sizeOf();
  if (size === undefined) return undefined;
  if (op !== "map") return { op, ipa, size };
  const pa = paOf();
  return pa === undefined ? undefined : { op, ipa, size, pa, prot };
}

/** A form for the vCPU: let it access an address, or only show the walk. */
export function accessForm(
  access: (ipa: number, kind: Access["kind"]) => void,
  walk: (ipa: number, kind: Access["kind"]) => void,
): HTMLElement {
  const kind = select("The vCPU", ["r", "w", "x"], MEANINGS);
  const ipa = number("IPA", "0x40003000");
  const then = (act: typeof access) => () => {
    const at = ipa.value();
    if (at !== undefined) act(at, kind.value());
  };
  const submit = (event: Event) => {
    event.preventDefault();
    then(access)();
  };
  return el(
    "form",
    { class: "form", onsubmit: submit },
    kind.root,
    ipa.root,
    el("button", {}, "Access"),
    el("button", { type: "button", onclick: then(walk) }, "Show the walk"),
  );
}

/** A form that asks for the walk of an address. */
export function walkForm(label: string, walk: (address: number, kind: Access["kind"]) => void): HTMLElement {
  const kind = select("access", ["r", "w", "x"], MEANINGS),
    address = number(label, "0x40000000");
  const submit = (event: Event) => {
    event.preventDefault();
    const at = address.value();
    if (at !== undefined) walk(at, kind.value());
  };
  return el("form", { class: "form", onsubmit: submit }, address.root, kind.root, el("button", {}, "Translate"));
}

const GRANULES = { "4K": 4096, "16K": 16384, "64K": 65536 } as const;

/** The form of the table's shape. Another shape begins with the same operations. */
export function shapeForm(shape: Shape, change: (shape: Shape) => void): HTMLElement {
  const granule = select("Pages of", ["4K", "16K", "64K"]);
  const bits = select("IPA bits", ["32", "36", "40", "42", "44", "48", "52"]);
  const lpa2 = el("input", { type: "checkbox" });
  granule.input.value = `${shape.granule / 1024}K`;
  bits.input.value = String(shape.ipaBits);
  lpa2.checked = shape.lpa2;
  const changed = () =>
    change({
      granule: GRANULES[granule.value()],
      ipaBits: Number(bits.value()),
      lpa2: lpa2.checked && granule.value() !== "64K",
    });
  for (const input of [granule.input, bits.input, lpa2]) input.addEventListener("change", changed);
  return el("form", { class: "form" }, granule.root, bits.root, el("label", {}, lpa2, " LPA2"));
}
