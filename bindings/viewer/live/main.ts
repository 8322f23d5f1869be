// The page: a table that is made by hand, moment by moment, with a vCPU beside it.

import { GranuleError } from "../../index.js";
import { leafTable } from "../../report/leaf-runs.js";
import { snapshotOf, treeFormat } from "../../report/snapshot.js";
import type { Snapshot } from "../../report/story.js";
import { el, folded, repaint } from "../report/dom.js";
import { size } from "../report/numbers.js";
import { anchor, sectionsOf, themeButton } from "../report/sections.js";
import { TreePicture } from "../report/tree.js";
import { type Dropped, readDropped } from "./drop.js";
import { filesOf } from "./files.js";
import { Film } from "./film.js";
import { accessForm, operationForm, shapeForm, walkForm } from "./forms.js";
import { linkOf, scenarioOf, scheduleOf } from "./link.js";
import { type Access, EXAMPLES, FIRST, type Operation, operationText, type Scenario, type Shape } from "./scenario.js";
import type { Walkers } from "./walkers.js";
import { answerText, entryName, frameText, GLOSSARY, hex, VERBS, walkOf } from "./words.js";

/** Most steps in the list at once, around the one that is shown. */
const LISTED = 60;

/** The page's state and its parts. Whatever changes the scenario makes a new film; whatever moves in time shows a moment. */
class Page {
  #scenario: Scenario = FIRST;
  #film = new Film(FIRST);
  #at = 0;
  #picture: TreePicture | undefined;
  readonly #table = el("div");
  readonly #steps = el("ol", { class: "frames", tabindex: 0, "aria-label": "Steps" });
  readonly #operations = el("ol", { class: "operations" });
  readonly #vcpu = el("div", { "aria-live": "polite" });
  readonly #walk = el("div", { "aria-live": "polite" });
  readonly #says = el("output", { class: "says", role: "status" });
  readonly #slider = el("input", {
    type: "range",
    min: 0,
    "aria-label": "Moment",
    oninput: () => this.#go(this.#slider.valueAsNumber),
  });
  readonly #dropped = el("div", { id: "dropped" });
  readonly #walkersPlace = el("div");
  #walkers: Promise<Walkers> | undefined;
  readonly #shape = el("div");
  readonly #form = operationForm((one) => this.#do(one));
  readonly #access = accessForm(
    (ipa, kind) => this.#look(ipa, kind),
    (ipa, kind) => this.#explain(ipa, kind),
  );

  /** Puts the parts in place. */
  build(main: HTMLElement): void {
    main.append(
      part(
        "The table",
        "Each box is as wide as the memory that it covers. Drag from one box to another to take their range into the form below.",
        this.#examples(),
        this.#shape,
        this.#table,
      ),
      part("What is done", undefined, this.#form.root, this.#operations, this.#links()),
      part(
        "Step by step",
        "Every write, barrier and TLBI of the operations, in order. Go to any moment: the table, the TLB and the vCPU are as they were then.",
        this.#buttons(),
        this.#slider,
        this.#says,
        this.#steps,
      ),
      part(
        "A vCPU",
        "An access goes to the TLB first. Let the vCPU read before a step, go past it, and see whether its TLB is stale.",
        this.#access,
        this.#vcpu,
        this.#walk,
      ),
      part(
        "Two walkers",
        "Two CPUs change one table at once, or run a small protocol. You say who makes the next access to a word that they share, see both and the words between them, and whether a rule breaks.",
        this.#walkersPlace,
      ),
      part(
        "A file of yours",
        "Drop a trace, a raw table (.s2raw), ptdump text, an operations file, or an image (the folder, or image.bin with its manifest.json) anywhere on this page, or choose it. It is read here; nothing leaves the page.",
        this.#chooser(),
        this.#dropped,
      ),
    );
    this.#walkersPlace.append(this.#askForWalkers());
    addEventListener("hashchange", () => this.#open());
  }

  /** Walkers side by side: their code is loaded when somebody asks for them. */
  #askForWalkers(): HTMLElement {
    const begin = async () => (await this.#loadWalkers()).begin();
    return el("p", {}, el("button", { type: "button", onclick: () => void begin() }, "Step two walkers"));
  }

  #loadWalkers(): Promise<Walkers> {
    this.#walkers ??= import("./walkers.js").then(({ Walkers: Part }) => {
      const walkers = new Part((fragment) => history.replaceState(null, "", `#${fragment}`));
      this.#walkersPlace.replaceChildren(walkers.root);
      return walkers;
    });
    return this.#walkers;
  }

  /** Shows the schedule of a link. */
  async #openSchedule(text: string): Promise<void> {
    const walkers = await this.#loadWalkers();
    await walkers.open(text);
    this.#walkersPlace.scrollIntoView();
  }

  /** Shows the scenario or the schedule of the link, or the first scenario. */
  async #open(): Promise<void> {
    const schedule = scheduleOf(location.hash);
    const linked = await scenarioOf(location.hash);
    if (location.hash.startsWith("#s=") && linked === undefined)
      this.#say("This link holds nothing that can be shown.");
    this.#set(linked ?? this.#scenario, Number.POSITIVE_INFINITY);
    if (schedule !== undefined) await this.#openSchedule(schedule);
  }

  async start(): Promise<void> {
    await this.#open();
    const files = new URLSearchParams(location.search).getAll("file");
    if (files.length > 0) await this.#fetch(files);
    document.documentElement.dataset.ready = "yes";
  }

  #say(text: string): void {
    this.#says.textContent = text;
  }

  /** Takes another scenario, and goes to one of its moments. */
  #set(scenario: Scenario, at: number): boolean {
    let film: Film;
    try {
      film = new Film(scenario);
    } catch (error) {
      if (!(error instanceof GranuleError || error instanceof RangeError)) throw error;
      this.#say(error.message);
      return false;
    }
    this.#film.close();
    this.#film = film;
    const isSameShape =
      this.#picture !== undefined && JSON.stringify(scenario.shape) === JSON.stringify(this.#scenario.shape);
    this.#scenario = scenario;
    if (!isSameShape) this.#newPicture();
    this.#slider.max = String(film.frames.length);
    this.#list();
    this.#go(Math.min(at, film.frames.length));
    return true;
  }

  #newPicture(): void {
    const picture = new TreePicture(treeFormat(this.#film.table), this.#snapshot());
    picture.onDrag = (from, to) => this.#form.setRange(from, to - from);
    this.#picture = picture;
    this.#table.replaceChildren(picture.root);
    this.#shape.replaceChildren(
      shapeForm(this.#scenario.shape, (shape: Shape) =>
        this.#set({ ...this.#scenario, shape }, Number.POSITIVE_INFINITY),
      ),
    );
    repaint();
  }

  #snapshot(): Snapshot {
    const { leaves, tables } = this.#film.moment(this.#at);
    const { granule } = this.#scenario.shape;
    return snapshotOf(leafTable(leaves, treeFormat(this.#film.table)), granule, "", tables);
  }

  #do(one: Operation): void {
    const { operations } = this.#scenario;
    if (this.#set({ ...this.#scenario, operations: [...operations, one] }, Number.POSITIVE_INFINITY)) this.#share();
  }

  #undo(index: number): void {
    const operations = this.#scenario.operations.filter((_, i) => i !== index);
    const accesses = this.#scenario.accesses.flatMap((access): Access[] => {
      if (access.operation === index) return [{ ...access, record: 0 }];
      return [access.operation > index ? { ...access, operation: access.operation - 1 } : access];
    });
    if (this.#set({ ...this.#scenario, operations, accesses }, Number.POSITIVE_INFINITY)) this.#share();
  }

  #look(ipa: number, kind: Access["kind"]): void {
    const access = { ipa, kind, ...this.#film.placeAt(this.#at) };
    const next = this.#at + 1;
    if (this.#set({ ...this.#scenario, accesses: [...this.#scenario.accesses, access] }, next)) this.#share();
  }

  #explain(ipa: number, kind: Access["kind"]): void {
    this.#film.moment(this.#at);
    this.#walk.replaceChildren(...walkOf(ipa, this.#film.walk(ipa, kind), this.#scenario.shape));
  }

  /** Shows the moment after `n` frames. */
  #go(n: number): void {
    this.#at = Math.max(0, Math.min(n, this.#film.frames.length));
    this.#slider.value = String(this.#at);
    const moment = this.#film.moment(this.#at);
    this.#picture?.show(this.#snapshot());
    const frame = this.#film.frames[this.#at - 1];
    const { shape } = this.#scenario;
    this.#say(
      frame === undefined
        ? "Before everything."
        : `Step ${this.#at} of ${this.#film.frames.length}: ${frameText(frame, shape)}. ${moment.tables} table pages are linked.`,
    );
    this.#listSteps();
    this.#showVcpu(moment);
    this.#walk.replaceChildren();
  }

  #showVcpu({ tlb, seen }: ReturnType<Film["moment"]>): void {
    const answers = seen.map(({ access, seen: answer, fresh, stale }) =>
      el(
        "li",
        { class: stale ? "stale" : undefined },
        `${VERBS[access.kind]} ${hex(access.ipa)}: ${answerText(answer)}`,
        stale ? el("strong", {}, ` stale: the tables say ${answerText(fresh)}`) : undefined,
      ),
    );
    const entries = tlb.map(({ kind, address, size: bytes, output }) =>
      el("li", {}, `${entryName(kind)} ${hex(address)}, ${size(Number(bytes))} → ${hex(output)}`),
    );
    this.#vcpu.replaceChildren(
      el("h3", {}, "What it got"),
      answers.length > 0 ? el("ol", {}, ...answers) : el("p", {}, "It has not accessed anything yet."),
      el("h3", {}, "What its TLB holds now"),
      entries.length > 0 ? el("ul", {}, ...entries) : el("p", {}, "Nothing."),
    );
  }

  #listSteps(): void {
    const { frames } = this.#film;
    const first = Math.max(0, Math.min(this.#at - LISTED / 2, frames.length - LISTED));
    const shown = frames.slice(first, first + LISTED);
    this.#steps.start = first + 1;
    this.#steps.replaceChildren(
      ...shown.map((frame, i) => {
        const n = first + i + 1;
        const begins = i === 0 || shown[i - 1]?.operation !== frame.operation;
        const one = begins ? this.#scenario.operations[frame.operation] : undefined;
        const button = el(
          "button",
          { type: "button", onclick: () => this.#go(n) },
          frameText(frame, this.#scenario.shape),
        );
        return el(
          "li",
          {
            class: n === this.#at ? "now" : n > this.#at ? "later" : undefined,
            "aria-current": n === this.#at ? "step" : undefined,
          },
          one === undefined ? undefined : el("strong", {}, `${frame.operation + 1}. ${operationText(one)}`),
          button,
        );
      }),
    );
    const now = this.#steps.querySelector<HTMLElement>(".now");
    if (now) this.#steps.scrollTop = now.offsetTop - this.#steps.clientHeight / 2;
  }

  #list(): void {
    const { operations } = this.#scenario;
    const lastFrame = (i: number) => this.#film.frames.findLastIndex(({ operation }) => operation <= i) + 1;
    this.#operations.replaceChildren(
      ...operations.map((one, i) => {
        const outcome = this.#film.outcomes[i];
        return el(
          "li",
          {},
          el("button", { type: "button", onclick: () => this.#go(lastFrame(i)) }, operationText(one)),
          " ",
          el(
            "button",
            { type: "button", "aria-label": `take back: ${operationText(one)}`, onclick: () => this.#undo(i) },
            "take back",
          ),
          outcome === undefined ? undefined : el("small", {}, outcome),
        );
      }),
    );
  }

  #buttons(): HTMLElement {
    const move = (text: string, to: () => number) =>
      el("button", { type: "button", onclick: () => this.#go(to()) }, text);
    return el(
      "p",
      { class: "buttons" },
      move("To the start", () => 0),
      move("Step back", () => this.#at - 1),
      move("Step on", () => this.#at + 1),
      move("To the end", () => this.#film.frames.length),
    );
  }

  /** Scenarios to begin with. */
  #examples(): HTMLElement {
    const names = Object.keys(EXAMPLES);
    const choice = el(
      "select",
      { onchange: () => this.#begin(EXAMPLES[choice.value]) },
      el("option", { value: "" }, "choose one"),
      ...names.map((name) => el("option", { value: name }, name)),
    );
    return el("form", { class: "form" }, el("label", {}, "An example ", choice));
  }

  #begin(example: Scenario | undefined): void {
    if (example !== undefined && this.#set(example, 0)) void this.#share();
  }

  #links(): HTMLElement {
    const copy = async () => {
      await this.#share();
      await navigator.clipboard?.writeText(location.href).catch(() => undefined);
      this.#say(`The link is in the address bar, ${location.href.length} characters; nothing left this page.`);
    };
    const clear = () => this.#set({ ...this.#scenario, operations: [], accesses: [] }, 0) && this.#share();
    return el(
      "p",
      { class: "buttons" },
      el("button", { type: "button", onclick: () => void copy() }, "Share as a link"),
      el("button", { type: "button", onclick: () => void clear() }, "Empty table"),
    );
  }

  async #share(): Promise<void> {
    history.replaceState(null, "", `#${await linkOf(this.#scenario)}`);
  }

  #chooser(): HTMLElement {
    const input = el("input", {
      type: "file",
      multiple: true,
      onchange: () => input.files?.length && void this.#read([...input.files]),
    });
    const stop = (event: Event) => event.preventDefault();
    addEventListener("dragover", stop);
    addEventListener("drop", (event) => {
      stop(event);
      const files = event.dataTransfer && filesOf(event.dataTransfer);
      void files?.then((all) => this.#read(all));
    });
    return el("label", {}, "Choose a file: ", input);
  }

  async #fetch(urls: readonly string[]): Promise<void> {
    const files: File[] = [];
    for (const url of urls) {
      const answer = await fetch(url);
      if (!answer.ok || new URL(answer.url).origin !== location.origin) return this.#say(`${url} is not here.`);
      files.push(new File([await answer.blob()], decodeURIComponent(url.split("/").at(-1) ?? url)));
    }
    await this.#read(files);
  }

  async #read(files: readonly File[]): Promise<void> {
    const name = files.map((file) => file.name).join(", ");
    const status = el("p", { role: "status" }, `Reading ${name}.`);
    this.#dropped.replaceChildren(status);
    this.#dropped.closest("section")?.scrollIntoView();
    try {
      const dropped = await readDropped(files, (events) => {
        status.textContent = `${events.toLocaleString("en")} events of ${name}.`;
      });
      this.#dropped.replaceChildren(...droppedParts(dropped));
      repaint();
    } catch (error) {
      status.textContent = `${name} cannot be shown: ${(error as Error).message}`;
    }
  }
}

/** What a dropped file is in sentences, the walk of an address in it, its pictures. */
function droppedParts({ story, memory }: Dropped): HTMLElement[] {
  const summary = [el("h3", {}, story.title), ...story.summary.map((sentence) => el("p", {}, sentence))];
  if (memory === undefined) return [...summary, ...sectionsOf(story)];
  const place = el("div", { "aria-live": "polite" });
  const form = walkForm("Translate an address in it", (address, kind) =>
    place.replaceChildren(...walkOf(address, memory.walk(BigInt(address), kind), memory.rules)),
  );
  return [...summary, form, place, ...sectionsOf(story)];
}

function part(title: string, note: string | undefined, ...children: HTMLElement[]): HTMLElement {
  return el(
    "section",
    { id: anchor(title) },
    el("h2", {}, title),
    note === undefined ? undefined : el("p", { class: "note" }, note),
    ...children,
  );
}

/** The parts of the page, to jump to: a fragment of a link is a state, so these are buttons. */
function contents(main: HTMLElement): HTMLElement {
  const parts = [...main.querySelectorAll<HTMLElement>(":scope > section")];
  const buttons = parts.map((one) =>
    el("button", { type: "button", onclick: () => one.scrollIntoView() }, one.querySelector("h2")?.textContent ?? ""),
  );
  return el("nav", { class: "buttons", "aria-label": "Parts" }, ...buttons);
}

/** What the words of the page mean. */
function glossary(): HTMLElement {
  const pairs = GLOSSARY.flatMap(([word, meaning]) => [el("dt", {}, word), el("dd", {}, meaning)]);
  return folded("The words of this page", () => el("dl", {}, ...pairs));
}

const page = new Page();
const main = document.querySelector("main") as HTMLElement;
page.build(main);
document.querySelector("header")?.append(themeButton(), contents(main), glossary());
void page.start();
let width = document.body.clientWidth;
addEventListener("resize", () => {
  if (document.body.clientWidth === width) return;
  width = document.body.clientWidth;
  repaint();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
