// Elements of the page. Nothing here takes markup: text is text.

type Child = Node | string | undefined;
type Props = Readonly<Record<string, string | number | boolean | ((event: Event) => void) | undefined>>;

/** An element: `on...` properties are listeners, `class` and others attributes; false and undefined leave an attribute out. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child): child is Node | string => child !== undefined));
  return element;
}

/** A list of buttons of which one is chosen: `choose` is called with its index, at once for the first. */
export function choices(
  legend: string,
  names: readonly string[],
  at: number,
  choose: (i: number) => void,
): HTMLElement {
  const name = `choice-${Math.random().toString(36).slice(2)}`;
  const labels = names.map((text, i) => {
    const input = el("input", { type: "radio", name, value: i, onchange: () => choose(i) });
    input.checked = i === at;
    return el("label", {}, input, text);
  });
  choose(at);
  return el("fieldset", { class: "choices" }, el("legend", {}, legend), ...labels);
}

/** Something that is closed at first, and made only when it is opened. */
export function folded(title: string, make: () => HTMLElement): HTMLElement {
  const details = el("details", {}, el("summary", {}, title));
  details.addEventListener("toggle", () => details.childElementCount < 2 && details.append(make()));
  return details;
}

/** A colour of the style sheet as it is now, light or dark, for a canvas; `alpha` from 0 to 1. */
export function colour(name: string, alpha = 1): string {
  // The property itself holds both colours: only where it is used does it become one of them.
  const probe = document.documentElement.appendChild(el("i", { hidden: true }));
  probe.style.color = `var(--${name})`;
  const { color } = getComputedStyle(probe);
  probe.remove();
  const [r, g, b] = color.match(/\d+/g) ?? [];
  return `rgb(${r} ${g} ${b} / ${alpha})`;
}

const repaints: (() => void)[] = [];

/** Calls `paint` now, whenever light and dark change, and whenever the window's width changes. */
export function onRepaint(paint: () => void): void {
  repaints.push(paint);
}

/** Paints again what depends on colours or width. */
export function repaint(): void {
  for (const paint of repaints) paint();
}
