// Two walkers side by side, and who goes next in the visitor's hand: scenarios of the explorer, on the real core or as protocols.

import type { ExploreBuild } from "../../explore/build.js";
import type { Scenario } from "../../explore/scenario.js";
import { CATCHES } from "../../explore/scenarios/catches.js";
import { FLAWED, SCENARIOS, scenario as scenarioNamed } from "../../explore/scenarios/index.js";
import { parseReplay, type Schedule } from "../../explore/schedule.js";
import { Stepper } from "../../explore/stepper.js";
import { el } from "../report/dom.js";
import { exploreBuild } from "./builds.js";
import type { Caught, Hunt } from "./hunt-worker.js";
import { laneName, laneOf, lanesOf, lineText, type Moves, stripOf, wordsOf } from "./lanes.js";

/** What is shown first: few words, and a flaw that everybody understands. */
const FIRST = "dirty-age-plain-store";
const NO_BUILD =
  "This scenario runs the real core, and its build for the explorer is not beside this page. In a checkout, npm run build:explore makes it.";

/** A replay string of a schedule on a weak memory. */
const WEAK = /^[^:]*:[^:]*\+/;
const ELSEWHERE = "This page steps neither whole VMs nor weak memories: granule explore --replay STRING shows them.";

/** A schedule to show. */
interface Wanted {
  readonly scenario: Scenario;
  readonly flaw?: string | undefined;
  readonly schedule?: Schedule | undefined;
  /** The moment; the last one, or the one that breaks a rule, if it is not said. */
  readonly at?: number | undefined;
  /** The build that the string was made with. */
  readonly hash?: string | undefined;
}

function group(label: string, all: readonly Scenario[]): HTMLElement {
  const options = all.map(({ name, title }) => el("option", { value: name }, `${name}: ${title}`));
  return el("optgroup", { label }, ...options);
}

function button(text: string, onclick: () => void): HTMLButtonElement {
  return el("button", { type: "button", onclick }, text);
}

/** Can the page step it? Not what is about a weak memory, nor whole VMs, whose build is large. */
function isStepped({ weak, build }: Scenario): boolean {
  return weak === undefined && build !== "vm";
}

/** The part of the page, once somebody has asked for it. */
export class Walkers {
  readonly root: HTMLElement;
  readonly #share: (fragment: string) => void;
  #stepper: Stepper | undefined;
  #build: ExploreBuild | undefined;
  /** The moment that was chosen, while the mouse shows another one. */
  #stays: number | undefined;
  #hunter: Worker | undefined;
  readonly #scenarios = el(
    "select",
    { onchange: () => this.#choose() },
    group(
      "The real core",
      SCENARIOS.filter((one) => one.needsCore && isStepped(one)),
    ),
    group(
      "Protocols of the museum",
      SCENARIOS.filter((one) => !one.needsCore && isStepped(one)),
    ),
    group("Protocols with a flaw", FLAWED.filter(isStepped)),
  );
  readonly #flaws = el("select", { onchange: () => this.#choose() });
  readonly #flawLabel = el("label", {}, "with the flaw ", this.#flaws);
  readonly #string = el("input", { type: "text", size: 34, spellcheck: "false", autocomplete: "off" });
  readonly #title = el("p", { class: "note" });
  readonly #status = el("p", { role: "status" });
  readonly #broken = el("div", { role: "alert" });
  readonly #says = el("output", { class: "says" });
  readonly #slider = el("input", {
    type: "range",
    min: 0,
    "aria-label": "Moment of the schedule",
    oninput: () => this.#go(this.#slider.valueAsNumber),
  });
  readonly #strip = el("div");
  readonly #lanes = el("div", { class: "lanes" });
  readonly #hunt = button("Look for a schedule that breaks a rule", () => this.#lookForOne());
  readonly #moves: Moves = {
    step: (id) => this.#change((stepper) => stepper.step(id)),
    kill: (id) => this.#change((stepper) => stepper.kill(id)),
    go: (n) => this.#go(n),
    look: (n) => this.#look(n),
  };

  /** `share` is given the fragment of a link to what is shown. */
  constructor(share: (fragment: string) => void) {
    this.#share = share;
    const play = (event: Event) => {
      event.preventDefault();
      void this.open(this.#string.value);
    };
    const text = el("label", {}, "A replay string ", this.#string);
    this.root = el(
      "div",
      { class: "walkers" },
      el("form", { class: "form" }, el("label", {}, "Scenario ", this.#scenarios), this.#flawLabel),
      el("form", { class: "form", onsubmit: play }, text, el("button", {}, "Play it"), this.#hunt),
      this.#title,
      this.#status,
      this.#broken,
      this.#buttons(),
      this.#slider,
      this.#strip,
      this.#says,
      this.#lanes,
    );
    this.root.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Shows the first scenario. */
  begin(): Promise<void> {
    return this.#set({ scenario: scenarioNamed(FIRST) });
  }

  /** Shows a replay string, with `@` and a moment behind it or without. */
  async open(text: string): Promise<void> {
    try {
      if (WEAK.test(text)) throw new Error(ELSEWHERE);
      const [replay = "", moment] = text.trim().split("@");
      const { scenario, flaw, schedule, hash } = parseReplay(replay);
      const at = moment === undefined ? undefined : Number(moment);
      await this.#set({ scenario: scenarioNamed(scenario), flaw, schedule, at, hash });
    } catch (error) {
      this.#status.textContent = (error as Error).message;
    }
  }

  #buttons(): HTMLElement {
    const to = (text: string, where: (stepper: Stepper) => number) =>
      button(text, () => this.#stepper && this.#go(where(this.#stepper)));
    return el(
      "p",
      { class: "buttons" },
      to("To the start", () => 0),
      to("Step back", ({ at }) => at - 1),
      to("Step on", ({ at }) => at + 1),
      to("To the end", ({ moves }) => moves),
      button("Let them finish", () => this.#change((stepper) => stepper.finish())),
      button("Share this schedule as a link", () => this.#link()),
    );
  }

  #choose(): void {
    const scenario = scenarioNamed(this.#scenarios.value),
      flaw = this.#flaws.value;
    const isKnown = CATCHES[flaw]?.scenario === scenario.name;
    void this.#set({ scenario, flaw: isKnown ? flaw : undefined }).catch((error: unknown) => {
      this.#status.textContent = (error as Error).message;
    });
  }

  /** Throws where the scenario cannot be made. */
  async #set({ scenario, flaw, schedule, at, hash }: Wanted): Promise<void> {
    this.#stop();
    if (!isStepped(scenario)) throw new Error(ELSEWHERE);
    const name = flaw === undefined ? "engine" : "mutants";
    const build = scenario.needsCore ? await exploreBuild(name) : undefined;
    if (scenario.needsCore && build === undefined) throw new Error(NO_BUILD);
    const stepper = new Stepper(scenario, build, flaw);
    if (schedule !== undefined) stepper.play(schedule);
    this.#stepper = stepper;
    this.#build = build;
    this.#status.textContent =
      build !== undefined && hash !== undefined && hash !== "0" && hash !== build.hash
        ? "The string was made with another build of the core: its steps may be others here."
        : "";
    this.#describe(scenario, flaw);
    this.#go(at ?? stepper.broken[0]?.move ?? stepper.moves);
  }

  #describe({ name, title, cites = [], needsCore }: Scenario, flaw: string | undefined): void {
    this.#scenarios.value = name;
    this.#title.textContent = `${title}${cites.length > 0 ? ` [${cites.join(", ")}]` : ""}`;
    const flaws = Object.keys(CATCHES).filter((one) => CATCHES[one]?.scenario === name || one === flaw);
    this.#flawLabel.hidden = !needsCore || flaws.length === 0;
    this.#flaws.replaceChildren(
      el("option", { value: "" }, "none: as it ships"),
      ...flaws.map((one) => el("option", { value: one }, one)),
    );
    this.#flaws.value = flaw ?? "";
  }

  /** Does something to the schedule at the moment that was chosen. */
  #change(act: (stepper: Stepper) => void): void {
    const stepper = this.#stepper;
    if (stepper === undefined) return;
    if (this.#stays !== undefined) stepper.go(this.#stays);
    act(stepper);
    this.#go(stepper.at);
  }

  #go(n: number): void {
    this.#stays = undefined;
    this.#stepper?.go(n);
    this.#paint();
    this.#strip.replaceChildren(...(this.#stepper ? [stripOf(this.#stepper, this.#moves)] : []));
  }

  #look(n: number | undefined): void {
    const stepper = this.#stepper;
    if (stepper === undefined) return;
    if (n === undefined) {
      if (this.#stays !== undefined) this.#go(this.#stays);
      return;
    }
    this.#stays ??= stepper.at;
    if (n === stepper.at) return;
    stepper.go(n);
    this.#paint();
  }

  #paint(): void {
    const stepper = this.#stepper;
    if (stepper === undefined) return;
    const { at, moves, broken, lines } = stepper;
    const focused = document.activeElement?.textContent;
    stepper.go(at - 1);
    const before = stepper.words();
    stepper.go(at);
    const [first, ...others] = lanesOf(stepper).map((id) => laneOf(stepper, id, this.#moves));
    this.#lanes.replaceChildren(...(first ? [first] : []), wordsOf(stepper, before), ...others);
    for (const now of this.#lanes.querySelectorAll<HTMLElement>(".frames .now")) {
      const list = now.parentElement as HTMLElement;
      list.scrollTop = now.offsetTop - list.clientHeight / 2;
    }
    this.#slider.max = String(moves);
    this.#slider.value = String(at);
    const line = lines[at - 1];
    this.#says.textContent =
      line === undefined
        ? `Before the first of ${moves} moves.`
        : `Move ${at} of ${moves}: ${laneName(stepper, line.walker)}: ${lineText(line)}`;
    this.#broken.replaceChildren(
      ...broken.map(({ rule, move }) => {
        const show = button(`Broken at move ${move}: ${rule}`, () => this.#go(move));
        return el("p", { class: "broken" }, show);
      }),
      ...(stepper.hasEnded && broken.length === 0 ? [el("p", {}, "Everybody has ended, and no rule is broken.")] : []),
    );
    this.#focusAgain(focused);
  }

  /** The buttons were made anew: the one that had the focus gets it back. */
  #focusAgain(text: string | null | undefined): void {
    if (document.activeElement !== document.body || !text) return;
    const buttons = [...this.#lanes.querySelectorAll("button")];
    buttons.find((one) => one.textContent === text && !one.disabled)?.focus();
  }

  /** 0 and 1 move a walker, arrows go through the schedule. */
  #key(event: KeyboardEvent): void {
    if (event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement) return;
    const stepper = this.#stepper;
    if (stepper === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    const id = /^[0-7]$/.test(event.key) ? Number(event.key) : -1;
    const to = { ArrowLeft: stepper.at - 1, ArrowRight: stepper.at + 1, Home: 0, End: stepper.moves }[event.key];
    if (id >= 0 && id < stepper.walkers) this.#moves.step(id);
    else if (to !== undefined) this.#go(to);
    else return;
    event.preventDefault();
  }

  #link(): void {
    const stepper = this.#stepper;
    if (stepper === undefined) return;
    const text = `${stepper.replay}@${stepper.at}`;
    this.#string.value = text;
    this.#share(`x=${text}`);
    this.#status.textContent = "The link is in the address bar; the string is in the field above.";
  }

  /** Searches every interleaving in a worker until one breaks a rule. */
  #lookForOne(): void {
    if (this.#hunter !== undefined) {
      this.#stop();
      this.#status.textContent = "The search was ended.";
      return;
    }
    const stepper = this.#stepper;
    if (stepper === undefined) return;
    const worker = new Worker(new URL("./hunt-worker.ts", import.meta.url), { type: "module" });
    this.#hunter = worker;
    this.#hunt.textContent = "End the search";
    worker.addEventListener("message", ({ data }: MessageEvent<Caught>) => this.#caught(data));
    worker.addEventListener("error", ({ message }) => this.#caught({ error: message || "the worker cannot start" }));
    const flaw = this.#flaws.value || undefined;
    const hunt: Hunt = { scenario: stepper.scenario.name, flaw, build: this.#build };
    worker.postMessage(hunt);
  }

  #caught(caught: Caught): void {
    if ("states" in caught) {
      this.#status.textContent = `${caught.states.toLocaleString("en")} states were seen so far.`;
      return;
    }
    this.#stop();
    if ("replay" in caught) {
      this.#string.value = caught.replay;
      void this.open(caught.replay);
    } else if ("error" in caught) this.#status.textContent = caught.error;
    else
      this.#status.textContent = caught.complete
        ? `No schedule breaks a rule: all ${caught.seen.toLocaleString("en")} states were seen.`
        : `None was found in ${caught.seen.toLocaleString("en")} states, which are not all: granule explore sees more.`;
  }

  #stop(): void {
    this.#hunter?.terminate();
    this.#hunter = undefined;
    this.#hunt.textContent = "Look for a schedule that breaks a rule";
  }
}
