import { shift } from "../core/granule.js";
import { printable } from "./printable.js";
import {
  type AgreementSummary,
  type Check,
  differs,
  hadNoSlots,
  type PolicyComparison,
  type ReplayReport,
  type TextCheck,
  textDiffers,
} from "./replay.js";
import { bytes, columns, count, type Style as Format, plural, seconds } from "./text.js";

/** Marks text for a terminal. */
export type Style = (format: Format, text: string) => string;

const SOURCES = {
  dump: "from the header of a raw table",
  manifest: "from the manifest",
  options: "from the options",
  defaults: "assumed",
} as const;

/** Rows `name  number`, the largest number first. */
function tally(counts: Readonly<Record<string, number>>): string[] {
  const rows = Object.entries(counts).sort(([, a], [, b]) => b - a);
  return rows.length === 0
    ? []
    : columns([["", ""], ...rows.map(([name, n]) => [`  ${printable(name)}`, count(n)])]).slice(1);
}

function section(title: string, lines: readonly string[], style: Style): string[] {
  return lines.length === 0 ? [] : ["", style("bold", title), ...lines];
}

function head(r: ReplayReport, style: Style): string[] {
  const c = r.config;
  const kernel = c.kernel === undefined ? "" : `, recorded on Linux ${printable(c.kernel)}`;
  const how = c.from === "ops" ? "the recorded operations applied again" : "the guest's faults serviced anew";
  const kind = [
    `${bytes(c.granule)} pages`,
    `${c.ipaBits}-bit guest addresses`,
    ...(c.lpa2 ? ["52-bit descriptors (LPA2)"] : []),
    c.fwb ? "forced write-back" : "no forced write-back",
  ];
  return [
    `${style("bold", printable(r.trace.name ?? "trace"))}: ${plural(r.events, "event")}${kernel}; ${how} in ${seconds(r.seconds)}, ` +
      `${count(r.eventsPerSecond)} events a second`,
    `tables: ${kind.join(", ")} (${SOURCES[c.geometrySource]})`,
  ];
}

function trouble(r: ReplayReport, style: Style): string[] {
  const lines: string[] = [];
  const { malformed, errors, lostPlaces, lostEvents, unknown, unread, hostOnly } = r.trace;
  const warn = (text: string) => lines.push(style("yellow", text));
  if (malformed > 0)
    warn(`${plural(malformed, "line")} could not be read and were skipped; ${printable(errors[0] ?? "")}`);
  if (lostPlaces > 0) {
    const known = lostEvents > 0 ? `${plural(lostEvents, "event")} at least` : "how many is not known";
    warn(`the recorder lost events at ${plural(lostPlaces, "place")} (${known}): ${AFTER_LOSS}`);
  }
  if (hostOnly) warn(HOST_ONLY);
  if (hadNoSlots(r)) warn(NO_SLOTS);
  if (r.service?.slots.guessed) {
    lines.push(
      `nothing tells of memory slots: ${plural(r.service.slots.known, "slot")} guessed from the kernel's own maps`,
    );
  }
  const named = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts).map(([name, n]) => `${printable(name)} ${count(n)}`);
  const [kinds, texts] = [named(unknown), named(unread)];
  if (kinds.length > 0) lines.push(`events that granule does not read: ${kinds.join(", ")}`);
  if (texts.length > 0) lines.push(`events that could not be read, and are not needed: ${texts.join(", ")}`);
  return lines;
}

const AFTER_LOSS = "no replay of this is exact, and a comparison after such a place means little";
/** What perf's marks do to a text. */
export const HOST_ONLY =
  "there is neither a fault nor a map in this output of perf script: on arm64 perf marks most of what it samples while " +
  "a vCPU is loaded as the guest's, and perf script leaves that out; perf script --guestkallsyms=/dev/null shows all";
/** Why nothing came of the faults. */
export const NO_SLOTS =
  "no memory slots are known, so every fault was taken for MMIO: a manifest, markers in the trace or --slots tell of them";

function operations(r: ReplayReport): string[] {
  const { applied, refused, failed, returns } = r.operations;
  const lines = tally(applied);
  for (const [name, n] of Object.entries(refused)) {
    const why = r.config.from === "ops" ? "refused by the kernel, so not applied" : "nothing to do";
    lines.push(`  ${name}: ${count(n)} ${why}`);
  }
  for (const [name, n] of Object.entries(failed)) lines.push(`  ${name}: ${count(n)} failed here`);
  if (returns.agreed > 0) lines.push(`  ${count(returns.agreed)} return values are the kernel's`);
  for (const [what, n] of Object.entries(returns.differing)) lines.push(`  ${what}: ${count(n)} times`);
  return lines;
}

/** TLB invalidations: ours, and beside them the recorded ones of the same form. */
function invalidations(r: ReplayReport): string[] {
  const c = r.counters;
  const seen = r.trace.byName;
  const rows = [
    ["one address, all CPUs", c.tlbiIpa, seen.tlbi_ipa],
    ["one address, this CPU", c.tlbiIpaLocal, seen.tlbi_ipa_nsh],
    ["a range", c.tlbiRange, seen.tlbi_range],
    ["the whole VM", c.tlbiVmid, seen.tlbi_vmid],
  ] as const;
  const recorded = rows.some(([, , n]) => n !== undefined);
  return columns([
    ["  form", "here", ...(recorded ? ["recorded"] : [])],
    ...rows.map(([name, n, there]) => [`  ${name}`, count(n), ...(recorded ? [count(there ?? 0)] : [])]),
  ]);
}

function table(r: ReplayReport): string[] {
  const t = r.table;
  const levels = Object.entries(t.leaves).sort(([a], [b]) => Number(a) - Number(b));
  const leafSize = (level: string) => bytes(2 ** shift(Math.log2(r.config.granule), Number(level)));
  return [
    ...levels.map(([level, n]) => `  level ${level}: ${count(n)} ${n === 1 ? "leaf" : "leaves"} of ${leafSize(level)}`),
    `  ${bytes(t.mapped)} of guest memory mapped by ${plural(t.pages, "table page")} (${bytes(t.bytes)}); at most ${count(t.peakPages)} pages (${bytes(t.peakBytes)})`,
    `  ${count(r.counters.breaksValid)} break-before-make sequences, ${count(r.counters.leavesMade)} leaves written, ${count(r.counters.leavesCleared)} cleared`,
  ];
}

function agreementText(a: AgreementSummary): string[] {
  const rate = a.compared === 0 ? "" : ` (${((100 * a.agreed) / a.compared).toFixed(2)} %)`;
  const lines = [
    `  ${count(a.agreed)} of ${count(a.compared)} faults led to the kernel's own operation: address, size and rights${rate}`,
  ];
  for (const [what, n] of Object.entries(a.differing)) lines.push(`  ${count(n)} times ${what}`);
  if (a.silentHere > 0)
    lines.push(`  ${count(a.silentHere)} faults that the kernel left to a retry were serviced here`);
  return lines;
}

function service(r: ReplayReport, style: Style): string[] {
  const s = r.service;
  if (!s) return [];
  const dirty = r.dirty;
  return [
    ...section("faults led to", tally(s.faults), style),
    ...section(
      "the host changed memory",
      [`  ${plural(s.notifiers.met, "notification")} met a slot, ${count(s.notifiers.elsewhere)} did not`],
      style,
    ),
    ...section(
      "compared with the hardware",
      r.comparison
        ? []
        : [
            `  ${count(s.levels.equal)} of ${plural(s.levels.compared, "translation fault")} stopped at the level where this table ended`,
          ],
      style,
    ),
    ...(dirty.reads
      ? section(
          "dirty logging",
          [
            `  ${plural(dirty.reads, "bitmap")} read, ${count(dirty.equal ?? 0)} with as many dirty pages as the kernel's; ${count(dirty.pages ?? 0)} pages in all`,
          ],
          style,
        )
      : []),
    ...(s.agreement ? section("compared with the kernel", agreementText(s.agreement), style) : []),
  ];
}

/** What became of the faults under a policy, row by row. */
function policyText(p: PolicyComparison): string[] {
  const share = (n: number) => (p.recorded === 0 ? "" : `${((100 * n) / p.recorded).toFixed(1)} %`);
  const rows: [string, number][] = [
    ["would not have happened: a block has the page", p.avoided.block],
    ["would not have happened: the page is mapped so already", p.avoided.mapped],
    ["happen, for the first time since the host took the page", p.first],
    ["happen again: the page is write-protected", p.again.protected],
    ["happen again: the page is not mapped any more", p.again.unmapped],
    ["happen again: the access flag is clear", p.again.aged],
  ];
  const { granule, backing, dirty, splitChunk } = p.policy;
  return [
    `  ${bytes(granule)} pages, memory: ${backing}, dirty logging: ${dirty}, split at once: ${splitChunk === "recorded" ? splitChunk : bytes(splitChunk)}`,
    ...columns([["", "", ""], ...rows.map(([name, n]) => [`  ${name}`, count(n), share(n)])]).slice(1),
    `  ${count(p.devices)} faults of devices are the same under any policy`,
    ...(p.unfitSlots > 0
      ? [
          `  ${plural(p.unfitSlots, "slot call")} failed: ${bytes(granule)} pages do not fit; faults there count as those of devices`,
        ]
      : []),
    ...(p.covered > 0
      ? [`  up to ${count(p.covered)} more: pages that the recorded kernel mapped in blocks, touched or not`]
      : []),
  ];
}

/** What else there is to say of a check. */
function circumstances(c: Check | TextCheck): string {
  const later = c.equalAt === undefined ? "" : ` (after the host's change at line ${count(c.equalAt)})`;
  return `${later}${c.afterLoss ? " (after lost events)" : ""}`;
}

function textVerdict(c: TextCheck, style: Style): string {
  if (textDiffers(c)) return style("red", `${count(c.differing)} differ`);
  return style("green", c.accessFlag > 0 ? "same text but for access flags" : "same text");
}

function checkLine(c: Check, style: Style): string[] {
  const point = printable(c.point);
  if (c.skipped !== undefined) return [`  ${point}: ${style("yellow", "not compared")}: ${c.skipped}`];
  const bad = differs(c);
  const lines = [
    `  ${point}: ${count(c.leaves)} leaves, ` +
      (bad
        ? style("red", `${count(c.missing)} missing, ${count(c.extra)} extra, ${count(c.differing)} differing`)
        : style("green", "all equal")) +
      circumstances(c),
  ];
  if (bad) lines.push(...c.examples.map((e) => `    ${e}`));
  return lines;
}

function checks(r: ReplayReport, style: Style): string[] {
  const texts = r.textChecks.flatMap((c) => [
    `  ${printable(c.file)}: ${plural(c.lines, "line")}, ${textVerdict(c, style)}${circumstances(c)}`,
    ...c.examples.map((e) => `    ${printable(e)}`),
  ]);
  return [
    ...section(
      "compared with the tables of the running kernel",
      r.checks.flatMap((c) => checkLine(c, style)),
      style,
    ),
    ...section("compared with the kernel's own dump", texts, style),
  ];
}

/** A report as text for people. */
export function reportText(r: ReplayReport, style: Style): string {
  const lines = [
    ...head(r, style),
    ...trouble(r, style),
    ...section("events", tally(r.trace.byName), style),
    ...section(`faults of the guest: ${count(r.faults.total)}`, tally(r.faults.byCode), style),
    ...service(r, style),
    ...(r.comparison
      ? section(
          `of ${plural(r.comparison.recorded, "recorded fault")} at memory, under the chosen policy`,
          policyText(r.comparison),
          style,
        )
      : []),
    ...section(`operations on ${plural(r.vms, "table")}`, operations(r), style),
    ...section("TLB invalidations", invalidations(r), style),
    ...section("the page table at its end", table(r), style),
    ...checks(r, style),
  ];
  if (r.checks.length + r.textChecks.length > 0) lines.push("", verdict(r, style));
  return `${lines.join("\n")}\n`;
}

function verdict(r: ReplayReport, style: Style): string {
  const skipped = r.checks.filter((c) => c.skipped !== undefined).length;
  const all = r.checks.length + r.textChecks.length - skipped;
  const bad = r.checks.filter(differs).length + r.textChecks.filter(textDiffers).length;
  const text = `${count(all - bad)} of ${plural(all, "check")} equal${skipped > 0 ? `, ${count(skipped)} not compared` : ""}`;
  return style(bad === 0 ? "green" : "red", text);
}
