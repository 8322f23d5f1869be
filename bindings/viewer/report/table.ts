import type { TableSection } from "../../report/story.js";
import { el } from "./dom.js";
import { cellText } from "./numbers.js";

/** The best number of a column; undefined where none is marked. */
function bestOf({ columns, rows }: TableSection, i: number): number | undefined {
  const { best } = columns[i] ?? {};
  const numbers = rows.map((row) => row[i]).filter((cell): cell is number => typeof cell === "number");
  if (best === undefined || numbers.length < 2) return undefined;
  return best === "least" ? Math.min(...numbers) : Math.max(...numbers);
}

/** A section of rows and columns. A click on a heading sorts. */
export function tableOf(section: TableSection, caption = section.title): HTMLElement {
  const { columns, rows } = section;
  const best = columns.map((_, i) => bestOf(section, i));
  const body = el("tbody");
  const fill = (order: readonly TableSection["rows"][number][]) => {
    body.replaceChildren(
      ...order.map((row) =>
        el(
          "tr",
          {},
          ...row.map((cell, i) => {
            const isNumber = typeof cell === "number";
            const isBest = isNumber && cell === best[i];
            const text = cellText(cell, columns[i]?.unit);
            return el(
              "td",
              { class: `${isNumber ? "number" : ""}${isBest ? " best" : ""}` },
              isBest ? `${text} ★` : text,
            );
          }),
        ),
      ),
    );
  };
  fill(rows);
  const heads = columns.map(({ name }, i) => headOf(name, i, rows, fill));
  const table = el(
    "table",
    {},
    el("caption", { class: "heard" }, caption),
    el("thead", {}, el("tr", {}, ...heads)),
    body,
  );
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, table);
}

function headOf(
  name: string,
  i: number,
  rows: TableSection["rows"],
  fill: (order: TableSection["rows"]) => void,
): HTMLElement {
  let descending = true;
  const head = el("th", { scope: "col" });
  const sort = () => {
    descending = !descending;
    const sign = descending ? -1 : 1;
    fill([...rows].sort((a, b) => sign * compare(a[i], b[i])));
    for (const other of head.parentElement?.children ?? []) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  };
  head.append(el("button", { type: "button", class: "sort", onclick: sort }, name));
  return head;
}

function compare(a: string | number | undefined, b: string | number | undefined): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}
