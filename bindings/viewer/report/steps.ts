import type { StepsSection } from "../../report/story.js";
import { el, onRepaint } from "./dom.js";

/** Steps of several actors, a column each; the buttons and the arrow keys go from one to the next. */
export function stepsOf({ title, lanes, steps }: StepsSection): HTMLElement {
  const rows = steps.map(({ lane, text, detail, bad }, i) =>
    el(
      "tr",
      { class: bad ? "bad" : undefined },
      el("th", { scope: "row" }, String(i + 1)),
      ...lanes.map((_, column) =>
        column === lane ? el("td", {}, text, detail === undefined ? undefined : el("small", {}, detail)) : el("td"),
      ),
    ),
  );
  let at = -1;
  const says = el("output", { class: "says" });
  const go = (to: number) => {
    if (to < 0 || to >= rows.length) return;
    rows[at]?.classList.remove("now");
    at = to;
    const row = rows[at];
    row?.classList.add("now");
    row?.scrollIntoView({ block: "nearest" });
    const step = steps[at];
    says.textContent = step ? `Step ${at + 1} of ${steps.length}: ${lanes[step.lane] ?? ""}: ${step.text}` : "";
  };
  const worst = steps.findIndex(({ bad }) => bad);
  go(Math.max(0, worst));
  const table = el(
    "table",
    { class: "steps" },
    el("caption", {}, title),
    el("thead", {}, el("tr", {}, ...["step", ...lanes].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...rows),
  );
  const scroll = el("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": title }, table);
  onRepaint(() => {
    const row = rows[at];
    if (row) scroll.scrollTop = row.offsetTop - scroll.clientHeight / 2;
  });
  scroll.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    go(at + step);
  });
  return el(
    "div",
    {},
    el(
      "p",
      { class: "buttons" },
      button("Step back", () => go(at - 1)),
      button("Step on", () => go(at + 1)),
    ),
    says,
    scroll,
  );
}

function button(text: string, onclick: () => void): HTMLElement {
  return el("button", { type: "button", onclick }, text);
}
