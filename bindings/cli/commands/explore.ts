import { readFile, writeFile } from "node:fs/promises";
import { deserialize, serialize } from "node:v8";
import {
  type ExploreBuild,
  type ExploreResult,
  type ExploreViolation,
  explore as exploreScenario,
  type LeftSearch,
  parseReplay,
  replay,
  SCENARIOS,
  type Scenario,
  type WeakModel,
} from "../../explore/index.js";
import { type BuildName, loadBuild } from "../../explore/node.js";
import { CATCHES } from "../../explore/scenarios/catches.js";
import { FLAWED } from "../../explore/scenarios/index.js";
import type { Story } from "../../report/story.js";
import {
  booleanOption,
  type Command,
  type CommandArgs,
  type CommandIo,
  Exit,
  InputError,
  Interrupted,
  integerOption,
  stringOption,
  UsageError,
  writeJson,
} from "../command.js";
import { HTML_OPTION, htmlTarget, writeHtml } from "../html.js";
import { writeLitmus } from "../litmus-folder.js";

/** Nothing was found, and not everything was seen. */
const INCOMPLETE = 4;
const MOST = Number.MAX_SAFE_INTEGER;

interface Settings {
  readonly bound: number | undefined;
  readonly limit: number | undefined;
  readonly seconds: number | undefined;
  readonly seed: number | undefined;
  readonly deaths: "atomics" | "writes" | undefined;
  readonly races: boolean;
  readonly reduce: boolean;
  readonly weak: WeakModel | undefined;
}

/** What is said of one flaw. */
interface Mutant {
  readonly name: string;
  readonly caught: boolean;
  readonly scenario: string | null;
  readonly replay: string | null;
}

function weakOf(args: CommandArgs): WeakModel | undefined {
  const orders = booleanOption(args, "orders"),
    weak = orders || booleanOption(args, "weak");
  const other =
    ["deaths", "reduce"].find((name) => booleanOption(args, name)) ??
    ["save", "resume"].find((name) => name in args.options);
  if (weak && other !== undefined) throw new UsageError(`--${other} goes without --weak and --orders`);
  return orders ? "orders" : weak ? "plain" : undefined;
}

function settingsOf(args: CommandArgs): Settings {
  const reduce = booleanOption(args, "reduce");
  if (reduce && (args.options.bound !== undefined || booleanOption(args, "deaths"))) {
    throw new UsageError("--reduce goes with neither --bound nor --deaths: both need every state");
  }
  return {
    reduce,
    bound: integerOption(args, "bound", 0, 1000),
    limit: integerOption(args, "limit", 1, MOST),
    seconds: integerOption(args, "seconds", 1, MOST),
    seed: integerOption(args, "seed", 0, MOST),
    deaths: booleanOption(args, "deaths") ? "atomics" : undefined,
    races: booleanOption(args, "races"),
    weak: weakOf(args),
  };
}

const builds = new Map<BuildName, ExploreBuild>();

function load(name: BuildName): ExploreBuild {
  try {
    const build = builds.get(name) ?? loadBuild(name);
    builds.set(name, build);
    return build;
  } catch (error) {
    throw new InputError(`build/explore: ${(error as Error).message}`);
  }
}

/** The build that a scenario runs on; undefined for a protocol. */
function buildOf({ needsCore, build = "engine" }: Scenario, flawed = false): ExploreBuild | undefined {
  if (!needsCore) return undefined;
  return load(flawed ? (build === "vm" ? "vm-mutants" : "mutants") : build);
}

function chosen(names: readonly string[]): readonly Scenario[] {
  if (names.length === 0) throw new UsageError("SCENARIO is missing: a name of --list, or all");
  if (names.includes("all")) return SCENARIOS;
  return names.map((name) => {
    const found = [...SCENARIOS, ...FLAWED].find((scenario) => scenario.name === name);
    if (found === undefined) throw new UsageError(`there is no scenario ${name}: --list names them`);
    return found;
  });
}

/** A big number in a few digits. */
function short(n: bigint): string {
  const digits = n.toString();
  return digits.length <= 7 ? digits : `${digits[0]}.${digits.slice(1, 3)}e${digits.length - 1}`;
}

function lineOf(result: ExploreResult, io: CommandIo): string {
  const { name, states, transitions, schedules, complete, races, deaths, outcomes, violations } = result;
  const bad = violations.length > 0,
    verdict = bad
      ? io.style("red", "violation")
      : complete
        ? io.style("green", "ok")
        : io.style("yellow", "incomplete");
  const parts = [
    `${states} states, ${transitions} steps`,
    ...(schedules === null ? [] : [`${short(schedules)} schedules`]),
    `${outcomes.length} outcomes`,
    ...(races > 0 ? [`${races} races`] : []),
    ...(deaths > 0 ? [`${deaths} deaths`] : []),
  ];
  const found = violations.map(({ rule, replay: text }: ExploreViolation) => `    ${rule}\n    ${text}\n`);
  return `${name}: ${verdict}: ${parts.join(", ")}\n${found.join("")}`;
}

function jsonOf({ meetings: _, milliseconds: __, bytes: ___, schedules, ...rest }: ExploreResult): object {
  return { ...rest, schedules: schedules?.toString() ?? null };
}

/** What --save wrote into `path`. */
async function readLeft(path: string): Promise<LeftSearch> {
  let left: Partial<LeftSearch> | undefined;
  try {
    left = deserialize(await readFile(path)) as Partial<LeftSearch> | undefined;
  } catch (error) {
    throw new InputError(`${path}: ${(error as Error).message}`);
  }
  if (left?.search === undefined) throw new InputError(`${path}: no search that --save has written`);
  return left as LeftSearch;
}

/** A search in parts: where it goes on, and what is left of it. */
interface Parts {
  readonly resume?: LeftSearch;
  readonly onLeft?: (left: LeftSearch) => void;
}

/** The search of one scenario, by --resume and --save; `left` gets what there is to save. */
async function partsOf(args: CommandArgs, left: LeftSearch[]): Promise<Parts> {
  const from = stringOption(args, "resume"),
    to = stringOption(args, "save");
  if (from === undefined && to === undefined) return {};
  if (args.operands.length !== 1 || args.operands[0] === "all" || booleanOption(args, "reduce")) {
    throw new UsageError("--resume and --save go with one SCENARIO, and not with --reduce");
  }
  return {
    ...(from === undefined ? {} : { resume: await readLeft(from) }),
    ...(to === undefined ? {} : { onLeft: (one: LeftSearch) => left.push(one) }),
  };
}

/** Explores `scenario`, from where --resume says, and writes what is left of it to --save. */
async function exploreOne(scenario: Scenario, build: ExploreBuild | undefined, args: CommandArgs, io: CommandIo) {
  const left: LeftSearch[] = [],
    parts = await partsOf(args, left);
  if (parts.resume !== undefined && parts.resume.scenario !== scenario.name) {
    throw new UsageError(`--resume: that search is of ${parts.resume.scenario}, not of ${scenario.name}`);
  }
  if (scenario.needsCore && parts.resume !== undefined && parts.resume.hash !== build?.hash) {
    throw new UsageError("--resume: that search is of another build of the core");
  }
  if (
    parts.resume !== undefined &&
    parts.resume.search.bound !== (settingsOf(args).bound ?? Number.POSITIVE_INFINITY)
  ) {
    throw new UsageError("--resume: that search has another bound");
  }
  const progress = (states: number) => io.progress({ name: scenario.name, done: states, unit: "states" });
  const result = await exploreScenario(scenario, { ...settingsOf(args), ...parts, build, signal: io.signal, progress });
  const path = stringOption(args, "save");
  if (path !== undefined && left[0] !== undefined) await writeFile(path, serialize(left[0]));
  return result;
}

async function exploreAll(args: CommandArgs, io: CommandIo): Promise<ExploreResult[]> {
  const results: ExploreResult[] = [],
    scenarios = chosen(args.operands);
  for (const scenario of scenarios) {
    const result = await exploreOne(scenario, buildOf(scenario), args, io);
    io.progress(undefined);
    if (io.signal.aborted) throw new Interrupted();
    results.push(result);
    if (!args.json) await io.out(lineOf(result, io));
  }
  return results;
}

/** The first scenario that finds the flaw, of those that are known to. */
async function catchFlaw(flaw: string, args: CommandArgs, io: CommandIo, progress: () => void): Promise<Mutant> {
  const known = CATCHES[flaw],
    settings = settingsOf(args);
  const scenarios = SCENARIOS.filter((scenario) =>
    known === undefined ? buildOf(scenario, true)?.flaws.includes(flaw) : scenario.name === known.scenario,
  );
  for (const scenario of scenarios) {
    const deaths = known?.deaths ? ("atomics" as const) : settings.deaths;
    const { violations } = await exploreScenario(scenario, {
      ...settings,
      bound: settings.bound ?? known?.bound,
      deaths,
      reduce: settings.reduce && deaths === undefined,
      races: known?.races ?? settings.races,
      flaw,
      build: buildOf(scenario, true),
      signal: io.signal,
      first: true,
      progress,
    });
    if (io.signal.aborted) throw new Interrupted();
    const [first] = violations;
    if (first !== undefined) return { name: flaw, caught: true, scenario: scenario.name, replay: first.replay };
  }
  return { name: flaw, caught: false, scenario: null, replay: null };
}

/** A protocol of the museum with its flaw. */
async function catchProtocol(
  scenario: Scenario,
  args: CommandArgs,
  io: CommandIo,
  progress: () => void,
): Promise<Mutant> {
  const settings = settingsOf(args),
    weak = settings.weak ?? scenario.weak;
  const { violations } = await exploreScenario(scenario, {
    ...settings,
    weak,
    signal: io.signal,
    first: true,
    progress,
  });
  if (io.signal.aborted) throw new Interrupted();
  const [first] = violations,
    { name } = scenario;
  return { name, caught: first !== undefined, scenario: name, replay: first?.replay ?? null };
}

/** How each flaw of this name is looked for, or all. */
function flawsOf(name: string, args: CommandArgs, io: CommandIo): ((progress: () => void) => Promise<Mutant>)[] {
  const protocols = FLAWED.filter((scenario) => name === "all" || scenario.name === name),
    ofProtocols = protocols.map((scenario) => (tell: () => void) => catchProtocol(scenario, args, io, tell));
  if (name !== "all" && protocols.length > 0) return ofProtocols;
  const known = [...load("mutants").flaws, ...load("vm-mutants").flaws];
  if (name !== "all" && !known.includes(name)) {
    throw new UsageError(`there is no mutant ${name}: ${known.join(" ")}, or a protocol of --list with a flaw`);
  }
  const flaws = name === "all" ? known : [name];
  return [...flaws.map((flaw) => (tell: () => void) => catchFlaw(flaw, args, io, tell)), ...ofProtocols];
}

async function exploreFlaws(name: string, args: CommandArgs, io: CommandIo): Promise<Mutant[]> {
  const mutants: Mutant[] = [];
  const looks = flawsOf(name, args, io);
  for (const [done, look] of looks.entries()) {
    const tell = () => io.progress({ done, unit: "flaws", share: done / looks.length });
    tell();
    const mutant = await look(tell),
      flaw = mutant.name;
    mutants.push(mutant);
    if (args.json) continue;
    const verdict = mutant.caught ? io.style("green", "caught") : io.style("red", "not caught");
    await io.out(`${flaw}: ${verdict}${mutant.replay === null ? "" : ` by ${mutant.replay}`}\n`);
  }
  io.progress(undefined);
  return mutants;
}

async function list(args: CommandArgs, io: CommandIo): Promise<number> {
  const described = ({ name, title, walkers }: Scenario) => ({ name, title, walkers });
  if (args.json) {
    await writeJson(io, {
      schemaVersion: 1,
      scenarios: SCENARIOS.map(described),
      flawed: FLAWED.map(described),
    });
    return Exit.OK;
  }
  for (const { name, title } of SCENARIOS) await io.out(`${name.padEnd(32)} ${title}\n`);
  await io.out("\nWith a flaw, not among all:\n");
  for (const { name, title } of FLAWED) await io.out(`${name.padEnd(32)} ${title}\n`);
  return Exit.OK;
}

function textOf(does: string, access: string): string {
  return does === "dies" ? "dies here" : does === "fence" ? does : access;
}

/** A schedule step by step, a column for each walker. */
function scheduleStory(text: string, { scenario, rules, lines }: ReturnType<typeof replay>): Story {
  const host = lines.some(({ walker }) => walker >= scenario.walkers);
  const lanes = Array.from({ length: scenario.walkers }, (_, i) => `walker ${i}`);
  const steps = lines.map(({ walker, does, at, before, after, line, holds, operation, stale }, i) => ({
    lane: Math.min(walker, scenario.walkers),
    text: textOf(does, `${does} ${at}: ${stale ?? (before === after ? before : `${before} → ${after}`)}`),
    detail: [operation, line, holds === "" ? "" : `holds ${holds}`].filter((one) => one !== "").join("; "),
    bad: rules.length > 0 && i === lines.length - 1,
  }));
  return {
    schemaVersion: 1,
    title: scenario.name,
    summary: [scenario.title, ...(rules.length > 0 ? rules.map((rule) => `Broken: ${rule}.`) : ["No rule is broken."])],
    facts: [["replay", text]],
    sections: [{ kind: "steps", title: "The schedule", lanes: [...lanes, ...(host ? ["host"] : [])], steps }],
  };
}

async function replayOne(text: string, args: CommandArgs, io: CommandIo): Promise<number> {
  let played: ReturnType<typeof replay>;
  try {
    const { scenario, flaw } = parseReplay(text),
      needs = SCENARIOS.find(({ name }) => name === scenario),
      build = needs && buildOf(needs, flaw !== undefined);
    played = replay(text, [...SCENARIOS, ...FLAWED], build);
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new UsageError((error as Error).message);
  }
  const { rules, lines, sameBuild } = played;
  const html = await htmlTarget(args, []);
  if (html !== undefined) await writeHtml(html, scheduleStory(text, played), io);
  if (!sameBuild) io.note("granule: the string was made with another build of the core: its steps may be others here");
  if (args.json) await writeJson(io, { schemaVersion: 1, scenario: played.scenario.name, rules, sameBuild, lines });
  else await io.out(`${played.text}\n${rules.join("\n") || "no rule is broken"}\n`);
  return rules.length === 0 ? Exit.OK : Exit.FINDING;
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  if (booleanOption(args, "list")) return list(args, io);
  const text = stringOption(args, "replay");
  if (text === undefined && args.options.html !== undefined) throw new UsageError("--html goes with --replay STRING");
  if (text !== undefined) return replayOne(text, args, io);
  const folder = stringOption(args, "litmus");
  if (folder !== undefined) return writeLitmus(folder, chosen(args.operands), io);
  const flaw = stringOption(args, "mutant"),
    mutants = flaw === undefined ? [] : await exploreFlaws(flaw, args, io);
  const results = flaw !== undefined && args.operands.length === 0 ? [] : await exploreAll(args, io);
  if (args.json) await writeJson(io, { schemaVersion: 1, scenarios: results.map(jsonOf), mutants });
  if (results.some(({ violations }) => violations.length > 0) || mutants.some(({ caught }) => !caught))
    return Exit.FINDING;
  return results.every(({ complete }) => complete) ? Exit.OK : INCOMPLETE;
}

/** `granule explore [SCENARIO...|all]`. */
export const explore: Command = {
  name: "explore",
  usage: "SCENARIO...|all\n--list\n--mutant NAME|all\n--replay STRING [--html FILE]\n--litmus DIR SCENARIO...|all",
  summary: "every interleaving of a few walkers on the real core: races, deaths, outcomes",
  help: `Explores each SCENARIO: every order in which its walkers can make their atomic accesses, on a build of the core that can
be stopped at each of them (\`npm run build:explore\` in a checkout makes it; the package has none). In every last state reference
counts, locks, limbo and the arena are checked, and what came out is compared with orders of whole operations.
A rule that is broken is printed with a replay string, made as short as can be; --replay prints its steps, a column for each walker.
With --mutant the flaws of that build are looked for, each in the scenario that is known to find it, and the protocols of the museum
(docs/museum) that have a flaw. These can be named as SCENARIO, too.
With --weak and --orders the memory is weak: loads may get older values, and what was read in place of the newest one is part of the
replay string. --litmus writes protocols as litmus tests for herd7.
docs/explore.md explains what is explored, and how to write a scenario.`,
  options: {
    list: { type: "boolean", help: "print the scenarios" },
    bound: { type: "string", value: "N", help: "preemptions in one schedule at most; without it there is no bound" },
    deaths: { type: "boolean", help: "let a walker die before each of its atomic accesses, bury it, and go on" },
    races: { type: "boolean", help: "look for plain accesses that race, too" },
    reduce: {
      type: "boolean",
      help: "leave out states that show nothing new: the same outcomes and broken rules in fewer states, schedules uncounted",
    },
    weak: { type: "boolean", help: "plain loads may get older values, and plain stores may be delayed" },
    orders: {
      type: "boolean",
      help: "as --weak; atomic accesses of a protocol have only the order that each is given",
    },
    mutant: { type: "string", value: "NAME", help: "look for this flaw, or for all" },
    limit: { type: "string", value: "STATES", help: "states of a scenario at most (default: 1000000)" },
    seconds: { type: "string", value: "N", help: "seconds for a scenario at most" },
    save: { type: "string", value: "FILE", help: "write what is left of the search here, if it was cut short" },
    resume: {
      type: "string",
      value: "FILE",
      help: "go on with the search that --save wrote; --limit counts its states, too",
    },
    seed: {
      type: "string",
      value: "N",
      help: "of the random schedules that follow a search that was cut short (default: 1)",
    },
    replay: { type: "string", value: "STRING", help: "play one schedule, and print its steps" },
    html: HTML_OPTION,
    litmus: {
      type: "string",
      value: "DIR",
      help: "write each protocol as a litmus test for AArch64, in the format of herd7",
    },
  },
  exits: [
    { code: Exit.OK, meaning: "everything was seen, and no rule is broken" },
    { code: Exit.FINDING, meaning: "a rule is broken, or a mutant was not caught" },
    { code: INCOMPLETE, meaning: "no rule is broken, but not everything was seen" },
  ],
  examples: [
    { line: "granule explore fault-fault --races --deaths", shows: "two vCPUs fault on one page" },
    {
      line: "granule explore split-fault-wrprotect --reduce",
      shows: "three walkers and a block, in a third of the states",
    },
    { line: "granule explore --mutant locked-again", shows: "what happens without the test for the locked marker" },
  ],
  run,
};
