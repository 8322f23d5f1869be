// What is seen of a schedule at one moment: each walker's steps, the words between them, and the order of all moves as a strip.

import type { SharedWord, Stepper } from "../../explore/stepper.js";
import type { TraceLine } from "../../explore/trace.js";
import { explain } from "../../report/explain.js";
import { el } from "../report/dom.js";

/** What a visitor does with a schedule. */
export interface Moves {
  step(walker: number): void;
  kill(walker: number): void;
  go(move: number): void;
  /** Shows a moment while the mouse is over it; undefined: it is over none any more. */
  look(move: number | undefined): void;
}

/** Name of a walker; the host stands behind them. */
export function laneName(stepper: Stepper, id: number): string {
  return id < stepper.scenario.walkers ? `walker ${id}` : "host";
}

/** Walkers that have something to show: the host only once it buries somebody. */
export function lanesOf(stepper: Stepper): number[] {
  const all = Array.from({ length: stepper.walkers }, (_, id) => id);
  return all.filter((id) => id < stepper.scenario.walkers || stepper.lines.some(({ walker }) => walker === id));
}

/** A move in one line. */
export function lineText({ does, at, before, after }: TraceLine): string {
  if (does === "dies") return `dies here ${at}`.trim();
  return `${does} ${at}: ${before === after ? before : `${before} → ${after}`}`;
}

function small(parts: readonly (string | undefined)[]): HTMLElement {
  return el("small", {}, parts.filter((part) => part !== undefined && part !== "").join("; "));
}

/** The moves of one walker, with their numbers among all moves. */
function stepsOf(stepper: Stepper, id: number, moves: Moves): HTMLElement {
  const bad = new Set(stepper.broken.map(({ move }) => move));
  let operation = "";
  const items = stepper.lines.flatMap((line, i) => {
    const n = i + 1;
    if (line.walker !== id) return [];
    const begins = line.operation === operation ? undefined : `begins: ${line.operation}`;
    operation = line.operation;
    const classes = [n === stepper.at ? "now" : n > stepper.at ? "later" : "", bad.has(n) ? "bad" : ""];
    const button = el("button", { type: "button", onclick: () => moves.go(n) }, lineText(line));
    const source = line.line === line.at ? undefined : line.line; // a protocol's accesses have no source but their words
    const detail = small([begins, source, line.holds === "" ? undefined : `holds ${line.holds}`]);
    return [
      el(
        "li",
        {
          value: n,
          class: classes.join(" ").trim() || undefined,
          "aria-current": n === stepper.at ? "step" : undefined,
        },
        button,
        detail,
      ),
    ];
  });
  const name = laneName(stepper, id);
  return items.length > 0
    ? el("ol", { class: "frames", tabindex: 0, "aria-label": `Moves of ${name}` }, ...items)
    : el("p", {}, "It has not moved yet.");
}

function stateOf(stepper: Stepper, id: number): HTMLElement {
  const next = stepper.next(id);
  if (next === undefined) {
    const results = stepper.results(id).join(", ");
    const text = stepper.isDead(id) ? "It has died." : `It has ended${results === "" ? "." : `, with ${results}.`}`;
    return el("p", { class: "next" }, text);
  }
  const { does, at, now, line, waits, operation } = next;
  const text = waits ? `waits until ${at} changes` : `next: ${does} ${at}`;
  return el("p", { class: "next" }, text, small([`now ${now}`, line === at ? undefined : line, operation]));
}

/** One walker: what it does next, and what it did. */
export function laneOf(stepper: Stepper, id: number, moves: Moves): HTMLElement {
  const name = laneName(stepper, id),
    holds = stepper.holds(id),
    can = stepper.canStep(id);
  const buttons = [el("button", { type: "button", disabled: !can, onclick: () => moves.step(id) }, `Step ${name}`)];
  if (stepper.scenario.mayDie && id < stepper.scenario.walkers && stepper.next(id) !== undefined)
    buttons.push(el("button", { type: "button", onclick: () => moves.kill(id) }, "Let it die here"));
  return el(
    "section",
    { class: `lane lane${id}`, "aria-label": name },
    el("h3", {}, name),
    stateOf(stepper, id),
    el("p", { class: "buttons" }, ...buttons),
    holds === "" ? undefined : el("p", {}, `It holds ${holds}.`),
    stepsOf(stepper, id, moves),
  );
}

function meaningOf({ value, level }: SharedWord): string {
  if (level === undefined) return "";
  if (value === 0n) return "nothing";
  return explain(value, { level })[0]?.brief ?? "";
}

/** A word, who is about to access it, what it holds, and what it held before the last move if that changed it. */
function wordRow(stepper: Stepper, word: SharedWord, had: bigint | undefined): HTMLElement {
  const { name, value } = word,
    changed = had !== undefined && had !== value;
  const who = lanesOf(stepper).filter((id) => stepper.next(id)?.at === name);
  const next = who.length === 0 ? undefined : `next: ${who.map((id) => laneName(stepper, id)).join(", ")}`;
  const was = changed ? `was 0x${had.toString(16)}` : undefined;
  return el(
    "tr",
    { class: changed ? "now" : undefined },
    el("th", { scope: "row" }, name, small([next])),
    el(
      "td",
      {},
      `0x${value.toString(16)}`,
      small([word.unlinked ? "its table is not linked any more" : meaningOf(word), was]),
    ),
  );
}

/** The words that walkers share: which of them the last move changed, and who is about to access which. */
export function wordsOf(stepper: Stepper, before: readonly SharedWord[]): HTMLElement {
  const had = new Map(before.map(({ name, value }) => [name, value]));
  const heads = ["word", "holds"].map((head) => el("th", { scope: "col" }, head));
  const rows = stepper.words().map((word) => wordRow(stepper, word, had.get(word.name)));
  const table = el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows));
  const label = stepper.scenario.needsCore ? "The table and the words between them" : "The words between them";
  return el(
    "section",
    { class: "between" },
    el("h3", {}, label),
    el("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": label }, table),
  );
}

/** All moves in their order, a row for each walker: point at one to see its moment, click to stay there. */
export function stripOf(stepper: Stepper, moves: Moves): HTMLElement {
  const bad = new Set(stepper.broken.map(({ move }) => move));
  const rows = lanesOf(stepper).map((id) =>
    el(
      "div",
      {},
      ...stepper.lines.map(({ walker }, i) => {
        const classes = ["cell", walker === id ? `lane${id}` : "", i + 1 === stepper.at ? "now" : ""];
        if (walker === id && bad.has(i + 1)) classes.push("bad");
        return el("span", { class: classes.join(" ").trim() });
      }),
    ),
  );
  const strip = el("div", { class: "strip", "aria-hidden": "true" }, ...rows);
  const moveAt = (event: Event): number => {
    const { left, width } = (rows[0] as HTMLElement).getBoundingClientRect();
    const share = ((event as PointerEvent).clientX - left) / width;
    return Math.max(1, Math.min(stepper.moves, Math.floor(share * stepper.moves) + 1));
  };
  strip.addEventListener("pointermove", (event) => moves.look(moveAt(event)));
  strip.addEventListener("pointerleave", () => moves.look(undefined));
  strip.addEventListener("click", (event) => moves.go(moveAt(event)));
  return strip;
}
