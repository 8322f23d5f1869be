import type { Cursor } from "./cursor.js";
import type { EventOf, HvaEvent, HvaRangeEvent, MmioType, TraceEvent } from "./events.js";
import { type MarkerNote, parseMarker } from "./marker.js";
import { PROBES } from "./probe-forms.js";

/*
 * The text of each event. The KVM tracepoints are a kernel interface [TRC-1..13]; the s2_* and
 * tlbi_* events are probes, and their arguments have the names that the recorder gave them (probe-forms.ts).
 *
 * Each event names its columns one by one. `...head` would be shorter, but V8 needs 6 us for it,
 * three hundred times as much.
 */

/** Reads the text of one event and gives the event. */
type Read = (c: Cursor) => TraceEvent;

/** How the text of one event is read, and what kind of event it gives. */
export interface Form {
  readonly kind: TraceEvent["kind"];
  readonly read: Read;
}

function guestFault(c: Cursor): EventOf<"guest_fault"> {
  c.expect("ipa ");
  const ipa = c.address();
  c.expect(", hsr ");
  const esr = c.address("a syndrome");
  c.expect(", hxfar ");
  const far = c.big();
  c.expect(", pc ");
  const pc = c.big();
  c.finish();
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "guest_fault", ipa, esr, far, pc };
}

function accessFault(c: Cursor): EventOf<"access_fault"> {
  c.expect("IPA: ");
  const ipa = c.address();
  c.finish();
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "access_fault", ipa };
}

const MMIO_TYPES: ReadonlySet<string> = new Set(["read", "write", "unsatisfied-read"]);

function mmio(c: Cursor): EventOf<"mmio"> {
  c.expect("mmio ");
  const type = c.until(" len ");
  if (!MMIO_TYPES.has(type)) c.fail("read, write or unsatisfied-read");
  const len = c.decimal();
  c.expect(" gpa ");
  const gpa = c.address();
  c.expect(" val ");
  const val = c.big();
  c.finish();
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "mmio", type: type as MmioType, len, gpa, val };
}

function mmioNisv(c: Cursor): EventOf<"mmio_nisv"> {
  c.expect("ipa ");
  const ipa = c.address();
  c.expect(", esr ");
  const esr = c.address("a syndrome");
  c.expect(", far ");
  const far = c.big();
  c.expect(", pc ");
  const pc = c.big();
  c.finish();
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "mmio_nisv", ipa, esr, far, pc };
}

function userspaceExit(c: Cursor): EventOf<"userspace_exit"> {
  c.expect("reason ");
  const reason = c.until(" (");
  const code = c.decimal();
  c.expect(")");
  c.finish();
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "userspace_exit", reason, code };
}

function hvaRange(kind: HvaRangeEvent["kind"], introduction: string): Read {
  return (c) => {
    c.expect(introduction);
    const start = c.address();
    c.expect(" -- ");
    const end = c.hex("an address");
    if (end > Number.MAX_SAFE_INTEGER) {
      const exactEnd = c.exact();
      c.finish();
      const { line, time, cpu, task, pid, event } = c;
      return {
        line,
        time,
        cpu,
        task,
        pid,
        event,
        kind,
        start,
        end: Number.MAX_SAFE_INTEGER,
        exactEnd,
      };
    }
    c.finish();
    const { line, time, cpu, task, pid, event } = c;
    return { line, time, cpu, task, pid, event, kind, start, end };
  };
}

function hva(kind: HvaEvent["kind"], introduction: string): Read {
  return (c) => {
    c.expect(introduction);
    const address = c.address();
    c.finish();
    const { line, time, cpu, task, pid, event } = c;
    return { line, time, cpu, task, pid, event, kind, hva: address };
  };
}

function onOrOff(c: Cursor, literal: string): boolean {
  const state = c.until(literal);
  if (state !== "on" && state !== "off") c.fail("on or off");
  return state === "on";
}

function toggleCache(c: Cursor): EventOf<"toggle_cache"> {
  c.expect("VM op at ");
  const pc = c.big();
  c.expect(" (cache was ");
  const was = onOrOff(c, ", now ");
  const now = onOrOff(c, ")");
  c.finish();
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "toggle_cache", pc, was, now };
}

function setWayFlush(c: Cursor): EventOf<"set_way_flush"> {
  c.expect("S/W flush at ");
  const pc = c.big();
  c.expect(" (cache ");
  const cache = onOrOff(c, ")");
  c.finish();
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "set_way_flush", pc, cache };
}

function dirtyRingPush(c: Cursor): EventOf<"dirty_ring_push"> {
  c.expect("ring ");
  const ring = c.decimal();
  c.expect(": dirty ");
  const dirty = c.address("an index");
  c.expect(" reset ");
  const reset = c.address("an index");
  c.expect(" slot ");
  const slot = c.decimal();
  c.expect(" offset ");
  const offset = c.address("an offset");
  c.expect(" (used ");
  const used = c.decimal();
  c.expect(")");
  c.finish();
  const { line, time, cpu, task, pid, event } = c;
  return {
    line,
    time,
    cpu,
    task,
    pid,
    event,
    kind: "dirty_ring_push",
    ring,
    dirty,
    reset,
    slot,
    offset,
    used,
  };
}

function dirtyRingReset(c: Cursor): EventOf<"dirty_ring_reset"> {
  c.expect("ring ");
  const ring = c.decimal();
  c.expect(": dirty ");
  const dirty = c.address("an index");
  c.expect(" reset ");
  const reset = c.address("an index");
  c.expect(" (used ");
  const used = c.decimal();
  c.expect(")");
  c.finish();
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "dirty_ring_reset", ring, dirty, reset, used };
}

function dirtyRingExit(c: Cursor): EventOf<"dirty_ring_exit"> {
  c.expect("vcpu ");
  const vcpu = c.decimal();
  c.finish();
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "dirty_ring_exit", vcpu };
}

/** x86's plugin of libtraceevent, where it is loaded, writes its complaints before the text. */
function entry(c: Cursor): EventOf<"entry"> {
  c.until("PC: ");
  const pc = c.big();
  c.finish();
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "entry", pc };
}

function markerOf(c: Cursor, text: string, note: MarkerNote): EventOf<"marker"> {
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "marker", text, note };
}

function marker(c: Cursor): EventOf<"marker"> {
  const text = c.rest();
  return markerOf(c, text, parseMarker(text));
}

/** Where the text of a marker begins that a recorder calls `print`: behind the writing function. */
const PRINTED = /^(?!vmm: )\S*: /;

/**
 * trace-cmd and perf call a marker `print`, and put the writing function before it: by name, or by
 * address where the kernel hid its symbols.
 */
function print(c: Cursor): EventOf<"marker"> {
  const text = c.rest().replace(PRINTED, "");
  return markerOf(c, text, parseMarker(text));
}

/** A string argument of a probe. It ends where the line does if the string itself has a line end. */
const STRING_ARGUMENT = /(?:\bfd=(\d{1,9}) .*?)?\btext="(.*?)"?$/;
const OTHER: MarkerNote = { type: "other" };

/** perf records no markers; a probe on write(), called `marker`, takes their place. */
function probedMarker(c: Cursor): EventOf<"marker"> {
  const [, fd, text] = STRING_ARGUMENT.exec(c.rest()) ?? [];
  if (text === undefined) return markerOf(c, c.rest(), OTHER);
  const event = markerOf(c, text, parseMarker(text));
  return fd === undefined ? event : { ...event, fd: Number(fd) };
}

type Row = readonly [name: string, kind: TraceEvent["kind"], read: Read];

const ROWS: readonly Row[] = [
  ["kvm_guest_fault", "guest_fault", guestFault],
  ["kvm_access_fault", "access_fault", accessFault],
  ["kvm_mmio", "mmio", mmio],
  ["kvm_mmio_nisv", "mmio_nisv", mmioNisv],
  ["kvm_userspace_exit", "userspace_exit", userspaceExit],
  ["kvm_unmap_hva_range", "unmap_hva", hvaRange("unmap_hva", "mmu notifier unmap range: ")],
  ["kvm_age_hva", "age_hva", hvaRange("age_hva", "mmu notifier age hva: ")],
  ["kvm_test_age_hva", "test_age_hva", hva("test_age_hva", "mmu notifier test age hva: ")],
  ["kvm_set_spte_hva", "set_spte_hva", hva("set_spte_hva", "mmu notifier set pte hva: ")],
  ["kvm_toggle_cache", "toggle_cache", toggleCache],
  ["kvm_set_way_flush", "set_way_flush", setWayFlush],
  ["kvm_dirty_ring_push", "dirty_ring_push", dirtyRingPush],
  ["kvm_dirty_ring_reset", "dirty_ring_reset", dirtyRingReset],
  ["kvm_dirty_ring_exit", "dirty_ring_exit", dirtyRingExit],
  ["kvm_entry", "entry", entry],
  ...PROBES,
  ["tracing_mark_write", "marker", marker],
  ["print", "marker", print],
  ["marker", "marker", probedMarker],
];

/** Every event that is read, by name. */
export const FORMS: ReadonlyMap<string, Form> = new Map(ROWS.map(([name, kind, read]) => [name, { kind, read }]));
