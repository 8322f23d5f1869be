// Frames, walks and answers as sentences.

import { JournalKind, type JournalRecord } from "../../index.js";
import type { TlbEntry, Translation, TranslationFault, WalkExplanation, WalkStep } from "../../mmu/index.js";
import { type ExplainOptions, explain } from "../../report/explain.js";
import { tlbiName } from "../../report/windows.js";
import { el } from "../report/dom.js";
import type { Frame } from "./film.js";
import type { Access, Shape } from "./scenario.js";

const DSBS = ["ISHST", "ISH", "NSHST", "NSH"];

/** What a vCPU does. */
export const VERBS: Readonly<Record<Access["kind"], string>> = { r: "read", w: "write", x: "fetch" };

/** Words that somebody may meet here for the first time. */
export const GLOSSARY: readonly (readonly [word: string, meaning: string])[] = [
  ["IPA", "intermediate physical address: what a guest takes for an address of memory"],
  ["PA", "physical address: where the byte really lies"],
  ["stage 2", "the tables, kept by the hypervisor, that lead from IPAs to PAs"],
  ["level", "tables form a tree: an entry of level 1 covers more memory than one of level 3, which is a page"],
  ["block, page", "entries that end the way: the memory that they cover lies in one piece"],
  ["vCPU", "a CPU of the guest"],
  ["TLB", "where a CPU keeps translations that it has found, so that it need not walk the tables each time"],
  ["TLBI", "an instruction that makes all TLBs forget translations"],
  ["DSB, ISB", "barriers: what is before them is over, for other CPUs too, when what is behind them begins"],
  ["break before make", "an entry is made invalid, TLBs forget it, and only then is the new one written"],
  ["stale", "a TLB still answers what the tables no longer say"],
  ["fault", "an access that the tables do not allow: the hypervisor is called"],
  ["LPA2", "descriptors with addresses of 52 bits"],
];

export function hex(n: bigint | number): string {
  return `0x${n.toString(16)}`;
}

/** How the descriptors of a table are read. */
export type Rules = Pick<Shape, "granule" | "lpa2"> & Pick<ExplainOptions, "stage" | "fwb">;

/** A descriptor in a few words. */
export function brief(descriptor: bigint, level: number, { granule, lpa2, stage, fwb }: Rules): string {
  const options = { granule, lpa2, level, ...(stage && { stage }), ...(fwb !== undefined && { fwb }) };
  return explain(descriptor, options)[0]?.brief ?? hex(descriptor);
}

function recordText(record: JournalRecord, shape: Shape): string {
  const { kind, address, level, a, b } = record;
  const tlbi = tlbiName(kind);
  if (tlbi !== undefined)
    return kind === JournalKind.TLBI_RANGE
      ? `TLBI ${tlbi} ${hex(address)}, ${a} pages`
      : `TLBI ${tlbi} ${hex(address)}`;
  switch (kind) {
    case JournalKind.WRITE:
    case JournalKind.WRITE_SHARED:
      return `write at ${hex(address)}, level ${level}: ${brief(a, level, shape)} → ${brief(b, level, shape)}`;
    case JournalKind.DSB:
      return `DSB ${DSBS[Number(a)]}`;
    case JournalKind.ISB:
      return "ISB";
    case JournalKind.DCACHE:
      return `clean the data cache: ${hex(address)}, ${a} bytes`;
    case JournalKind.ICACHE:
      return `invalidate the instruction cache: ${hex(address)}, ${a} bytes`;
    case JournalKind.TABLE_TAKEN:
      return `take a page for a table: ${hex(address)}`;
    case JournalKind.TABLE_FREED:
      return `give a table page back: ${hex(address)}`;
    case JournalKind.WARN:
      return "the kernel would warn here";
    default:
      return `record of kind ${kind}`;
  }
}

const ENTRIES: Readonly<Record<TlbEntry["kind"], string>> = {
  leaf: "a translation",
  stage2: "a translation of stage 2",
  table1: "where a table of stage 1 lies",
  table2: "where a table of stage 2 lies",
  tableOfBoth: "where a table of stage 1 lies, through both stages",
};

/** What an entry of a TLB is. */
export function entryName(kind: TlbEntry["kind"]): string {
  return `${ENTRIES[kind]}:`;
}

/** What happens in a frame. */
export function frameText(frame: Frame, shape: Shape): string {
  if (frame.kind === "record") return recordText(frame.record, shape);
  const { ipa, kind } = frame.access;
  return `the vCPU ${{ r: "loads from", w: "stores to", x: "fetches from" }[kind]} ${hex(ipa)}`;
}

/** What an access came to. */
export function answerText(answer: Translation | TranslationFault): string {
  if (answer.ok) return hex(answer.pa);
  return `${answer.kind} fault, level ${answer.level}`;
}

/** One descriptor on the way of a walk. */
export function stepText({ level, address, descriptor, kind }: WalkStep, rules: Rules): string {
  if (descriptor === undefined) return `level ${level}: nothing can be read at ${hex(address)}`;
  return `level ${level}: at ${hex(address)} ${hex(descriptor)}: ${kind === "table" ? "a table" : brief(descriptor, level, rules)}`;
}

/** A walk, level by level, and its answer. */
export function walkOf(address: bigint | number, { steps, result }: WalkExplanation, rules: Rules): HTMLElement[] {
  return [
    el("h3", {}, `The walk of ${hex(address)}, level by level`),
    el("ul", {}, ...steps.map((step) => el("li", {}, stepText(step, rules)))),
    el("p", {}, `Answer: ${answerText(result)}`),
  ];
}
