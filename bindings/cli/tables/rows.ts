// Rows of the tables of a replay, in the order of the columns of columns.ts.

import * as K from "../../core/constants.generated.js";
import { levelShift } from "../../model/granule.js";
import { Prot } from "../../model/protection.js";
import type { FaultOutcome } from "../../replay/faults.js";
import { decodeSyndrome } from "../../replay/syndrome.js";
import type { Entry } from "../../tables/entry.js";
import { JournalKind, type JournalRecord } from "../../tables/journal.js";
import type { Stage2Table } from "../../tables/stage2.js";
import type { Cell, Row } from "../../tabular/column.js";
import type { EventHead } from "../../trace/head.js";
import { type GuestFaultEvent, TLBI_LEVEL_UNKNOWN, type TraceEvent } from "../../trace/index.js";

type Place = Pick<EventHead, "line" | "time" | "cpu" | "task" | "pid">;

function placeOf({ line, time, cpu, task, pid }: Place): Cell[] {
  return [line, time, cpu < 0 ? null : cpu, task, pid];
}

/** The first of the fields that has a value of one of these types; null where none has. */
function field(event: TraceEvent, types: readonly string[], names: readonly string[]): unknown {
  const values = event as unknown as Readonly<Record<string, unknown>>;
  const found = names.find((name) => types.includes(typeof values[name]));
  return found === undefined ? null : values[found];
}

function whole(event: TraceEvent, ...names: string[]): number | null {
  return field(event, ["number"], names) as number | null;
}

function word(event: TraceEvent, ...names: string[]): bigint | null {
  const value = field(event, ["bigint", "number"], names) as number | bigint | null;
  return value === null ? null : BigInt.asUintN(64, BigInt(value));
}

function text(event: TraceEvent, ...names: string[]): string | null {
  return field(event, ["string"], names) as string | null;
}

function levelOf(level: number | null): number | null {
  return level === TLBI_LEVEL_UNKNOWN ? null : level;
}

/** A row of `events`. */
export function eventRow(e: TraceEvent): Row {
  return [
    ...placeOf(e),
    e.event,
    e.kind,
    whole(e, "ipa", "gpa"),
    whole(e, "size", "len"),
    word(e, "start", "hva"),
    word(e, "exactEnd", "end"),
    whole(e, "phys"),
    word(e, "prot"),
    whole(e, "flags"),
    levelOf(whole(e, "level")),
    whole(e, "pages"),
    whole(e, "value"),
    text(e, "pgt"),
    whole(e, "esr"),
    word(e, "far"),
    word(e, "pc"),
    word(e, "val"),
    whole(e, "count"),
    text(e, "text", "reason"),
  ];
}

/** A row of `faults`. */
export function faultRow(e: GuestFaultEvent, outcome: FaultOutcome | undefined): Row {
  const { kind, level, write, exec, walk } = decodeSyndrome(e.esr);
  const done = outcome === undefined ? [null, null] : [outcome.kind, outcome.size];
  return [...placeOf(e), e.ipa, kind, level, write, exec, walk, e.esr, e.far, e.pc, ...done];
}

const FORMS: ReadonlyMap<number, string> = new Map([
  [JournalKind.TLBI_IPA, "IPAS2E1IS"],
  [JournalKind.TLBI_IPA_LOCAL, "IPAS2E1"],
  [JournalKind.TLBI_RANGE, "RIPAS2E1IS"],
  [JournalKind.TLBI_VMID, "VMALLS12E1IS"],
  [JournalKind.TLBI_STAGE1, "VMALLE1IS"],
  [JournalKind.TLBI_STAGE1_LOCAL, "VMALLE1"],
]);
/** Those that name an address. */
const BY_ADDRESS: ReadonlySet<string> = new Set(["IPAS2E1IS", "IPAS2E1", "RIPAS2E1IS"]);

/** A row of `tlbis`, the `number`-th; undefined for a record of anything else. */
export function tlbiRow(record: JournalRecord, line: number | undefined, number: number): Row | undefined {
  const form = FORMS.get(record.kind);
  if (form === undefined) return undefined;
  const { table, address, level, a } = record;
  const addressed = BY_ADDRESS.has(form);
  return [
    number,
    line ?? null,
    table,
    form,
    form.endsWith("IS"),
    addressed ? Number(address) : null,
    record.kind === JournalKind.TLBI_RANGE ? Number(a) : null,
    addressed && record.kind !== JournalKind.TLBI_RANGE ? levelOf(level) : null,
  ];
}

function executeOf(prot: number): string {
  if (prot & Prot.X) return "all";
  return prot & Prot.PX ? "el1" : prot & Prot.UX ? "el0" : "none";
}

function memoryOf(prot: number): string {
  if (prot & Prot.DEVICE) return "device";
  return prot & Prot.NC ? "non-cacheable" : prot & Prot.AS_STAGE1 ? "as stage 1" : "normal";
}

function leafRow({ address, shift, level, kind, pa, prot, descriptor }: Entry): Row {
  const rights = [(prot & Prot.R) !== 0, (prot & Prot.W) !== 0, executeOf(prot), memoryOf(prot)];
  const accessed = (descriptor & K.AF) !== 0n;
  return [Number(address), 2 ** shift, level, kind, Number(pa), ...rights, accessed, descriptor];
}

/** Rows of `leaves`. */
export function* leafRows(table: Stage2Table): Generator<Row> {
  for (const entry of table.leaves()) yield leafRow(entry);
}

/** A table page, and what its entries are as far as they have been seen. */
interface Page {
  readonly pa: number;
  readonly level: number;
  readonly ipa: number;
  leaves: number;
  children: number;
  marked: number;
}

function pageAt(pa: number, level: number, ipa: number): Page {
  return { pa, level, ipa, leaves: 0, children: 0, marked: 0 };
}

/** Rows of `pages`: the start tables as one, then each table behind what is below it. */
export function* pageRows(table: Stage2Table): Generator<Row> {
  const { granule } = table;
  const { rootPa, rootPages, startLevel } = table.info();
  const entries = granule / K.ENTRY_BYTES;
  const rowOf = ({ pa, level, ipa, leaves, children, marked }: Page): Row => {
    const n = level === startLevel ? rootPages * entries : entries;
    return [pa, level, ipa, n * 2 ** levelShift(granule, level), n, leaves, children, marked];
  };
  const path = [pageAt(Number(rootPa), startLevel, 0)];
  for (const { kind, level, address, pa } of table.entries({ tables: true })) {
    while ((path.at(-1) as Page).level > level) yield rowOf(path.pop() as Page);
    const page = path.at(-1) as Page;
    if (kind === "table") {
      page.children++;
      path.push(pageAt(Number(pa), level + 1, Number(address)));
    } else if (kind === "annotation" || kind === "locked") page.marked++;
    else page.leaves++;
  }
  while (path.length > 0) yield rowOf(path.pop() as Page);
}
