import { ARGUMENTS } from "../arguments.js";
import type { EventOf, HvaEvent, HvaRangeEvent, MmioType, TraceEvent } from "../events.js";
import { type MarkerNote, parseMarker } from "../marker.js";
import { PROBES } from "../probe-forms.js";
import type { Fields } from "./fields.js";

/*
 * The record of each event. The names of the fields are those of the kernel's tracepoints [TRC-1..13]; where they lie is read
 * from the recording. A form names its fields, and reads them by their place in that list.
 */

/** How the record of one event is read, and what kind of event it gives. */
export interface RecordForm {
  readonly kind: TraceEvent["kind"];
  readonly fields: readonly string[];
  readonly read: (f: Fields) => TraceEvent;
}

function guestFault(f: Fields): EventOf<"guest_fault"> {
  const { line, time, cpu, task, pid, event } = f;
  return {
    line,
    time,
    cpu,
    task,
    pid,
    event,
    kind: "guest_fault",
    ipa: f.natural(0),
    esr: f.natural(1),
    far: f.big(2),
    pc: f.big(3),
  };
}

function accessFault(f: Fields): EventOf<"access_fault"> {
  const { line, time, cpu, task, pid, event } = f;
  return { line, time, cpu, task, pid, event, kind: "access_fault", ipa: f.natural(0) };
}

const MMIO_TYPES: readonly MmioType[] = ["unsatisfied-read", "read", "write"];

function mmio(f: Fields): EventOf<"mmio"> {
  const type = MMIO_TYPES[f.natural(0)];
  if (type === undefined) f.fail("type 0, 1 or 2");
  const { line, time, cpu, task, pid, event } = f;
  return {
    line,
    time,
    cpu,
    task,
    pid,
    event,
    kind: "mmio",
    type,
    len: f.natural(1),
    gpa: f.natural(2),
    val: f.big(3),
  };
}

function mmioNisv(f: Fields): EventOf<"mmio_nisv"> {
  const { line, time, cpu, task, pid, event } = f;
  return {
    line,
    time,
    cpu,
    task,
    pid,
    event,
    kind: "mmio_nisv",
    ipa: f.natural(0),
    esr: f.natural(1),
    far: f.big(2),
    pc: f.big(3),
  };
}

const EINTR = 4;
/** `{ 6, "KVM_EXIT_" "MMIO" }` of a print format. */
const SYMBOL = /\{\s*(\d{1,9})\s*,\s*((?:"[^"]*"\s*)+)\}/g;
/** Names of exits by number, for each print format that was met. */
const reasons = new WeakMap<Fields, { readonly print: string; readonly names: ReadonlyMap<number, string> }>();

function exitName(f: Fields, reason: number): string {
  let known = reasons.get(f);
  if (known?.print !== f.print) {
    const names = [...f.print.matchAll(SYMBOL)].map(
      ([, number, text = ""]) => [Number(number), text.replaceAll(/"\s*"|"/g, "").trim()] as const,
    );
    known = { print: f.print, names: new Map(names) };
    reasons.set(f, known);
  }
  return known.names.get(reason) ?? `0x${reason.toString(16)}`;
}

function userspaceExit(f: Fields): EventOf<"userspace_exit"> {
  const errno = f.number(1);
  const number = f.natural(0);
  const reason = errno < 0 ? (errno === -EINTR ? "restart" : "error") : exitName(f, number);
  const { line, time, cpu, task, pid, event } = f;
  return { line, time, cpu, task, pid, event, kind: "userspace_exit", reason, code: errno < 0 ? -errno : number };
}

function hvaRange(kind: HvaRangeEvent["kind"]): RecordForm["read"] {
  return (f): HvaRangeEvent => {
    const start = f.natural(0);
    const end = f.rounded(1);
    const { line, time, cpu, task, pid, event } = f;
    if (end <= Number.MAX_SAFE_INTEGER) return { line, time, cpu, task, pid, event, kind, start, end };
    const exactEnd = f.big(1);
    return { line, time, cpu, task, pid, event, kind, start, end: Number.MAX_SAFE_INTEGER, exactEnd };
  };
}

function hva(kind: HvaEvent["kind"]): RecordForm["read"] {
  return (f): HvaEvent => {
    const { line, time, cpu, task, pid, event } = f;
    return { line, time, cpu, task, pid, event, kind, hva: f.natural(0) };
  };
}

function toggleCache(f: Fields): EventOf<"toggle_cache"> {
  const { line, time, cpu, task, pid, event } = f;
  const pc = f.big(0);
  return {
    line,
    time,
    cpu,
    task,
    pid,
    event,
    kind: "toggle_cache",
    pc,
    was: f.number(1) !== 0,
    now: f.number(2) !== 0,
  };
}

function setWayFlush(f: Fields): EventOf<"set_way_flush"> {
  const { line, time, cpu, task, pid, event } = f;
  return { line, time, cpu, task, pid, event, kind: "set_way_flush", pc: f.big(0), cache: f.number(1) !== 0 };
}

function dirtyRingPush(f: Fields): EventOf<"dirty_ring_push"> {
  const [dirty, reset] = [f.natural(1), f.natural(2)];
  const { line, time, cpu, task, pid, event } = f;
  return {
    line,
    time,
    cpu,
    task,
    pid,
    event,
    kind: "dirty_ring_push",
    ring: f.number(0),
    dirty,
    reset,
    slot: f.natural(3),
    offset: f.natural(4),
    used: (dirty - reset) >>> 0,
  };
}

function dirtyRingReset(f: Fields): EventOf<"dirty_ring_reset"> {
  const [ring, dirty, reset] = [f.number(0), f.natural(1), f.natural(2)];
  const used = (dirty - reset) >>> 0;
  const { line, time, cpu, task, pid, event } = f;
  return { line, time, cpu, task, pid, event, kind: "dirty_ring_reset", ring, dirty, reset, used };
}

function dirtyRingExit(f: Fields): EventOf<"dirty_ring_exit"> {
  const { line, time, cpu, task, pid, event } = f;
  return { line, time, cpu, task, pid, event, kind: "dirty_ring_exit", vcpu: f.number(0) };
}

function entry(f: Fields): EventOf<"entry"> {
  const { line, time, cpu, task, pid, event } = f;
  return { line, time, cpu, task, pid, event, kind: "entry", pc: f.big(0) };
}

/** The first line of a marker: the kernel adds a line end, and a VMM may write several lines. */
function firstLine(text: string): string {
  const end = text.indexOf("\n");
  return end < 0 ? text : text.slice(0, end);
}

function markerOf(f: Fields, text: string, note: MarkerNote): EventOf<"marker"> {
  const { line, time, cpu, task, pid, event } = f;
  return { line, time, cpu, task, pid, event, kind: "marker", text, note };
}

function print(f: Fields): EventOf<"marker"> {
  const text = firstLine(f.text(0));
  return markerOf(f, text, parseMarker(text));
}

/** perf records no markers; a probe on write(), called `marker`, takes their place. */
function probedMarker(f: Fields): EventOf<"marker"> {
  const text = firstLine(f.text(0));
  const event = markerOf(f, text, parseMarker(text));
  return f.has(1) ? { ...event, fd: f.natural(1) } : event;
}

type Row = readonly [name: string, kind: TraceEvent["kind"], fields: readonly string[], read: RecordForm["read"]];

const TRACEPOINTS: readonly Row[] = [
  ["kvm_guest_fault", "guest_fault", ["ipa", "hsr", "hxfar", "vcpu_pc"], guestFault],
  ["kvm_access_fault", "access_fault", ["ipa"], accessFault],
  ["kvm_mmio", "mmio", ["type", "len", "gpa", "val"], mmio],
  ["kvm_mmio_nisv", "mmio_nisv", ["ipa", "esr", "far", "vcpu_pc"], mmioNisv],
  ["kvm_userspace_exit", "userspace_exit", ["reason", "errno"], userspaceExit],
  ["kvm_unmap_hva_range", "unmap_hva", ["start", "end"], hvaRange("unmap_hva")],
  ["kvm_age_hva", "age_hva", ["start", "end"], hvaRange("age_hva")],
  ["kvm_test_age_hva", "test_age_hva", ["hva"], hva("test_age_hva")],
  ["kvm_set_spte_hva", "set_spte_hva", ["hva"], hva("set_spte_hva")],
  ["kvm_toggle_cache", "toggle_cache", ["vcpu_pc", "was", "now"], toggleCache],
  ["kvm_set_way_flush", "set_way_flush", ["vcpu_pc", "cache"], setWayFlush],
  ["kvm_dirty_ring_push", "dirty_ring_push", ["index", "dirty_index", "reset_index", "slot", "offset"], dirtyRingPush],
  ["kvm_dirty_ring_reset", "dirty_ring_reset", ["index", "dirty_index", "reset_index"], dirtyRingReset],
  ["kvm_dirty_ring_exit", "dirty_ring_exit", ["vcpu_id"], dirtyRingExit],
  ["kvm_entry", "entry", ["vcpu_pc"], entry],
  ["print", "marker", ["buf"], print],
  ["marker", "marker", ["text", "fd"], probedMarker],
];

/** Every event that is read, by name. */
export const RECORD_FORMS: ReadonlyMap<string, RecordForm> = new Map([
  ...TRACEPOINTS.map(([name, kind, fields, read]) => [name, { kind, fields, read }] as const),
  ...PROBES.map(([name, kind, read]) => [name, { kind, fields: ARGUMENTS, read }] as const),
]);
