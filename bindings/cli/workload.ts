// Settings of a run of a workload, as `run` and `compare` take them on the command line.

import { unknownText } from "../core/check.js";
import { wrap } from "../report/text.js";
import { costsOf } from "../sim/cost.js";
import type { RunConfig } from "../sim/run.js";
import { WORKLOADS } from "../sim/workloads.js";
import { type CommandArgs, type CommandOption, stringOption, UsageError } from "./command.js";
import { parseSize } from "./numbers.js";

/** Columns of help. */
const HELP_WIDTH = 100;

/** How the text of a setting becomes its value. Undefined: it makes no sense. */
interface Setting {
  readonly field: keyof RunConfig;
  readonly value: string;
  readonly help: string;
  readonly read: (text: string) => unknown;
  /** What the value may be, for messages. */
  readonly takes: string;
}

function whole(least: number, most: number) {
  return (text: string) => {
    const n = Number(text);
    return text.trim() !== "" && Number.isInteger(n) && n >= least && n <= most ? n : undefined;
  };
}

function size(text: string): number | undefined {
  const bytes = parseSize(text);
  return bytes === undefined || bytes > Number.MAX_SAFE_INTEGER ? undefined : Number(bytes);
}

function oneOf(words: Readonly<Record<string, unknown>>) {
  return (text: string) => (Object.hasOwn(words, text.toLowerCase()) ? words[text.toLowerCase()] : undefined);
}

function same(...words: string[]): Record<string, string> {
  return Object.fromEntries(words.map((word) => [word, word]));
}

const BACKINGS = same("4k", "thp", "hugetlb-2m", "hugetlb-1g");
const STRATEGIES = same("wp", "eager", "ring", "dbm", "hdbss");
const TLBS = same("tiny", "cortex-a53", "cortex-a72", "cortex-a76", "neoverse-n1");
const GRANULES = { "4k": 4096, "16k": 16384, "64k": 65536, "4096": 4096, "16384": 16384, "65536": 65536 };
const YES = { yes: true, no: false, true: true, false: false };

function choice(
  field: keyof RunConfig,
  value: string,
  words: Readonly<Record<string, unknown>>,
  help: string,
): Setting {
  return { field, value, help, read: oneOf(words), takes: `one of ${Object.keys(words).join(", ")}` };
}

/** The settings by the names that they have on the command line. */
export const SETTINGS: Readonly<Record<string, Setting>> = {
  vcpus: {
    field: "vcpus",
    value: "N",
    help: "vCPUs, each with TLBs of its own (1)",
    read: whole(1, 64),
    takes: "a whole number, 1 to 64",
  },
  memory: {
    field: "memory",
    value: "BYTES",
    help: "guest memory, as 512M or 4G (1G)",
    read: size,
    takes: "bytes, with K, M or G behind",
  },
  backing: choice("backing", "KIND", BACKINGS, "what the memory is made of: 4k, thp, hugetlb-2m, hugetlb-1g (thp)"),
  dirty: choice(
    "dirty",
    "WAY",
    STRATEGIES,
    "how stores are logged: wp (write protection), eager (and blocks split at once), ring (of each vCPU), dbm (hardware), hdbss (hardware, and it writes a log) (wp)",
  ),
  "split-chunk": {
    field: "splitChunk",
    value: "BYTES",
    help: "bytes that eager splitting splits at once (one block)",
    read: size,
    takes: "bytes, with K, M or G behind",
  },
  "split-walk": choice(
    "splitWalk",
    "blocks|pages",
    same("blocks", "pages"),
    "what eager splitting looks at: blocks alone, or pages too, as Linux does without a change of 2026 (blocks)",
  ),
  manual: choice("manual", "yes|no", YES, "reading a dirty log leaves it, clearing clears it (no)"),
  "initially-set": choice(
    "initiallySet",
    "yes|no",
    YES,
    "with --manual yes: all pages are dirty at first; each clear protects, and splits where blocks are split at once (no)",
  ),
  granule: choice("granule", "SIZE", GRANULES, "page size: 4K, 16K, 64K (4K)"),
  tlb: choice("tlb", "SHAPE", TLBS, "shape of the TLBs: tiny, cortex-a53, -a72, -a76, neoverse-n1 (cortex-a76)"),
  writes: {
    field: "writes",
    value: "SHARE",
    help: "share of the accesses that store, 0 to 1 (0.5)",
    read: (text) => (text !== "" && Number(text) >= 0 && Number(text) <= 1 ? Number(text) : undefined),
    takes: "0 to 1",
  },
  iterations: {
    field: "iterations",
    value: "N",
    help: "rounds of workloads that have rounds (5)",
    read: whole(1, 10_000),
    takes: "a whole number, 1 to 10000",
  },
  random: choice(
    "random",
    "yes|no",
    YES,
    "the guest's accesses go to any page, a quarter as many as there are pages; no: to each page once, in order (yes)",
  ),
  overlap: choice("overlap", "yes|no", YES, "all vCPUs work in the whole memory, not each in its own part (no)"),
  slots: {
    field: "slots",
    value: "N",
    help: "memory slots (1; 32 for memslot_perf)",
    read: whole(1, 32_000),
    takes: "a whole number, 1 to 32000",
  },
  rate: {
    field: "rate",
    value: "ACCESSES",
    help: "accesses of the guest for each page that a migration copies (0.25)",
    read: (text) => (text !== "" && Number(text) > 0 && Number(text) <= 1024 ? Number(text) : undefined),
    takes: "a number above 0, at most 1024",
  },
  seed: {
    field: "seed",
    value: "N",
    help: "of the random numbers (1)",
    read: whole(0, 2 ** 32 - 1),
    takes: "a whole number below 2^32",
  },
  adversarial: choice("adversarial", "yes|no", YES, "TLBs that keep whatever the architecture lets them keep (no)"),
};

/** Costs of events, for the estimate. */
export const COST_OPTION: CommandOption = {
  type: "string",
  value: "NAME=CYCLES,..",
  help: "other costs for the estimate: exit, fault, walk, tlbi, dsb, page, leaf, visit",
};

/** The settings as options of a command. */
export function settingOptions(): Record<string, CommandOption> {
  return Object.fromEntries(
    Object.entries(SETTINGS).map(([name, { value, help }]) => [name, { type: "string", value, help } as CommandOption]),
  );
}

/** One setting of a run. UsageError for a name or a value that there is not. */
export function setting(name: string, text: string): Partial<RunConfig> {
  const known = Object.hasOwn(SETTINGS, name) ? SETTINGS[name] : undefined;
  if (known === undefined) throw new UsageError(`there is no setting ${name}: ${Object.keys(SETTINGS).join(", ")}`);
  const value = known.read(text);
  if (value === undefined) throw new UsageError(`--${name} takes ${known.takes}, not ${JSON.stringify(text)}`);
  return { [known.field]: value };
}

/** The settings that a command line gives, and the costs. */
export function settingsOf(options: Readonly<Record<string, unknown>>): Omit<RunConfig, "workload"> {
  const given = Object.keys(SETTINGS).flatMap((name) => {
    const text = options[name];
    return typeof text === "string" ? [setting(name, text)] : [];
  });
  const cost = options.cost;
  try {
    return Object.assign({}, ...given, typeof cost === "string" ? { costs: costsOf(cost) } : {});
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** The settings that a command line gives, as they are written. */
export function textsOf(args: CommandArgs, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const text = stringOption(args, name);
      return text === undefined ? [] : [[name, text]];
    }),
  );
}

/** The workload that the one operand names. */
export function workloadOf(operands: readonly string[]): string {
  const [name, ...others] = operands;
  const names = Object.keys(WORKLOADS);
  if (name === undefined || others.length > 0) throw new UsageError(`name one workload: ${names.join(", ")}`);
  if (!names.includes(name)) throw new UsageError(unknownText("workload", name, names));
  return name;
}

/** The workloads with a line or two about each, for help. */
export function workloadHelp(): string {
  const names = Object.entries(WORKLOADS);
  const indent = 4 + Math.max(...names.map(([name]) => name.length));
  const entry = ([name, { summary }]: (typeof names)[number]) =>
    wrap(summary, HELP_WIDTH - indent)
      .map((line, i) => (i === 0 ? `  ${name}` : "").padEnd(indent) + line)
      .join("\n");
  return names.map(entry).join("\n");
}
