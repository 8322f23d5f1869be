// Draws the machine of machine.ts and its buttons.

import { explain } from "granule/report";
import { Machine, NEW_PA, OLD_PA, PAGE, type Read, type StepKind } from "./machine.js";

const hex = (value: bigint) => `0x${value.toString(16)}`;

const WHAT: Readonly<Record<StepKind, readonly [title: string, text: string]>> = {
  break: [
    "Break",
    "The entry becomes invalid. It holds a marker that only software reads, so no other walker takes it.",
  ],
  "dsb-stores": ["Wait for the write", "Every CPU's table walker sees the write from here on."],
  "tlbi-ipa": [
    "Invalidate by guest address",
    "Asks all CPUs to forget what stage 2 said of this page. The TLBI has only been sent.",
  ],
  dsb: ["Wait for the TLBI", "The DSB returns when every CPU has done what was asked."],
  "tlbi-stage1": [
    "Invalidate stage 1 of the VMID",
    "A TLB may hold guest address to physical address as one entry. The TLBI by guest address does not reach such an entry, this one does.",
  ],
  isb: ["Synchronise this CPU", "Later instructions are fetched anew."],
  cache: [
    "Clean the new page",
    "Its contents reach memory before the guest can see them. Needed where caches are not coherent.",
  ],
  make: ["Make", "Now, and not before, the entry may point to the new page."],
};

/** What is said after a step. */
function consequence(kind: StepKind, last: Read, machine: Machine): string {
  if (machine.skipped.has(machine.done - 1)) return "Left out. Read the page and look at the judge.";
  if (machine.pending > 0)
    return "Sent, but not done: only a DSB says that it is. Until then a CPU may use what it holds.";
  if (kind === "break") return "The table is right from here on, but the TLB has not heard of it. Read the page.";
  if (kind === "dsb" && machine.entries().length > 0)
    return "The entries of stage 2 are gone. The combined entries are still there: read the page.";
  if (kind === "dsb") return "Nothing of the old page is left. A read is a fault now, and the hypervisor can serve it.";
  if (machine.finished && machine.skipped.size > 0) return "Done, but for what was left out. Read the page.";
  if (machine.finished) return "Done. Read the page: the walker finds the new one.";
  return last.stale ? "Reads still go to the old page." : "";
}

type Child = Node | string;

function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  name: string,
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...children);
  return made;
}

function button(text: string, onClick: () => void, enabled = true): HTMLButtonElement {
  const made = element("button", "", text);
  made.type = "button";
  made.disabled = !enabled;
  made.addEventListener("click", onClick);
  return made;
}

function table(head: readonly string[], rows: readonly (readonly string[])[], none: string): HTMLElement {
  if (rows.length === 0) return element("p", "quiet", none);
  const row = (tag: "th" | "td", cells: readonly string[]) =>
    element("tr", "", ...cells.map((cell) => element(tag, "", cell)));
  return element(
    "table",
    "",
    element("thead", "", row("th", head)),
    element("tbody", "", ...rows.map((cells) => row("td", cells))),
  );
}

function panel(title: string, ...children: Child[]): HTMLElement {
  return element("section", "panel", element("h3", "", title), ...children);
}

function readText({ pa, hit, stale }: Read): string {
  const how = hit ? "from the TLB" : "walked the table";
  if (pa === undefined) return `translation fault (${how})`;
  return `${hex(pa)}, ${how}${stale ? ": the OLD page, which may be somebody else's by now" : ""}`;
}

/** Puts the machine into `root`. Returns what takes it out again. */
export function start(root: HTMLElement): () => void {
  let machine = new Machine();
  let log: [when: string, read: Read][] = [];

  const read = () => {
    const step = machine.steps[machine.done - 1];
    const when = step === undefined ? "Before" : WHAT[step.kind][0];
    log = [...log.slice(-4), [when, machine.read()]];
    draw();
  };
  const next = (skip: boolean) => {
    machine.next(skip);
    draw();
  };
  const again = () => {
    machine.close();
    machine = new Machine();
    log = [["Before", machine.read()]];
    draw();
  };

  function stepList(): HTMLElement {
    const items = machine.steps.map(({ kind, instruction }, i) => {
      const state = machine.skipped.has(i) ? "skipped" : i < machine.done ? "done" : i === machine.done ? "next" : "";
      const [title, text] = WHAT[kind];
      const item = element("li", state, element("b", "", title), " ", element("code", "", instruction));
      if (i === machine.done) item.append(element("p", "", text));
      return item;
    });
    return element("ol", "steps", ...items);
  }

  function entryPanel(): HTMLElement {
    const { descriptor } = machine;
    const reading = explain(descriptor, { stage: "2", level: 3, fwb: true })[0];
    return panel(
      `Entry of ${hex(PAGE)}, level 3`,
      element("p", "", element("code", "", hex(descriptor))),
      element("p", "", reading?.summary ?? ""),
    );
  }

  function tlbPanel(): HTMLElement {
    const rows = machine
      .entries()
      .map(({ bank, kind, vmid, output }) => [
        bank,
        kind === "leaf" ? "both stages" : "stage 2",
        String(vmid),
        hex(output),
      ]);
    const { pending } = machine;
    const text = pending === 1 ? "1 TLBI waits for its DSB" : `${pending} TLBIs wait for their DSB`;
    const waiting = pending > 0 ? [element("p", "warn", text)] : [];
    return panel("What the TLB holds of it", table(["bank", "holds", "VMID", "PA"], rows, "Nothing."), ...waiting);
  }

  function guestPanel(): HTMLElement {
    const items = log.map(([when, one]) =>
      element("li", one.stale ? "warn" : "", element("span", "quiet", `${when}: `), readText(one)),
    );
    return panel("The guest reads", element("ul", "reads", ...items));
  }

  function judgePanel(): HTMLElement {
    const { violations } = machine;
    if (violations.length === 0)
      return panel(
        "The judge",
        element("p", "good", machine.finished ? "No rule was broken." : "No objection so far."),
      );
    return panel(
      "The judge",
      element("ul", "reads", ...violations.map(({ message }) => element("li", "warn", message))),
    );
  }

  function draw(): void {
    const step = machine.steps[machine.done - 1];
    const last = log.at(-1)?.[1];
    const buttons = element(
      "div",
      "buttons",
      button(machine.done === 0 ? "Begin: break" : "Next step", () => next(false), !machine.finished),
      button("Leave this step out", () => next(true), !machine.finished),
      button("Read the page", read),
      button("Start again", again),
    );
    const told =
      step === undefined || last === undefined
        ? `The guest's page ${hex(PAGE)} lies at ${hex(OLD_PA)} and has been read once. It is to move to ${hex(NEW_PA)}.`
        : consequence(step.kind, last, machine);
    const status = element("p", "told", told);
    status.setAttribute("role", "status");
    root.replaceChildren(
      buttons,
      status,
      element("div", "columns", stepList(), element("div", "", entryPanel(), tlbPanel(), guestPanel(), judgePanel())),
    );
  }

  log = [["Before", machine.read()]];
  draw();
  return () => machine.close();
}
