import { type Granule, levelShift } from "../model/granule.js";
import { MaintenanceTrack } from "../report/maintenance-track.js";
import type { PerfettoWriter, SliceArguments, SliceDetails } from "../report/perfetto.js";
import { JournalKind, type JournalRecord } from "../tables/journal.js";
import type { Stage2Table } from "../tables/stage2.js";
import type { EventOf, MarkerEvent, ReturnEvent, TraceEvent } from "../trace/index.js";
import type { Onlooker } from "./replay.js";
import { decodeSyndrome } from "./syndrome.js";

/*
 * A recorded trace as tracks: the vCPUs and the host's other threads, with what the kernel did on each; below them what granule's
 * walker did when the event was replayed, and counters. The times are the recording's.
 */

const NANOSECONDS = 1e9;
/** Threads that have a track of their own; others share one. */
const MAX_THREADS = 1024;
/** Invalidations that wait for the fault which they lead to. */
const MAX_INVALIDATIONS = 256;

/** What one thread is doing. */
interface Thread {
  readonly track: number;
  readonly vcpu: boolean;
  /** A fault that is being serviced, and when something was last seen of it. */
  fault: boolean;
  /** The call of the page-table engine that is open; an empty text for none. */
  call: string;
  last: number;
}

/** A TLBI that was seen: the next fault in its range is its consequence. */
interface Invalidation {
  readonly flow: number;
  readonly start: number;
  readonly end: number;
}

type Operation = Exclude<TraceEvent, { kind: "ret" }>;

const address = (value: number | bigint) => ({ address: value });

/** The arguments of a call, by the names that the recorder gave them. */
function argumentsOf(e: Operation): SliceArguments {
  const { line, time, cpu, task, pid, event, kind, ...own } = e as Operation & Readonly<Record<string, unknown>>;
  const told: Record<string, SliceArguments[string]> = { cpu };
  for (const [name, value] of Object.entries(own)) {
    if (typeof value === "bigint") told[name] = address(value);
    else if (/^(?:ipa|phys|gpa|hva|start|end)$/.test(name)) told[name] = address(value as number);
    else if (typeof value === "number" || typeof value === "string" || typeof value === "boolean") told[name] = value;
  }
  return told;
}

/** Kinds of events that are calls of the page-table engine. */
const isCall = (kind: string): boolean => kind.startsWith("s2_") && !/unlinked/.test(kind);
/** Kinds that happen inside such a call. */
const isInside = (kind: string): boolean => kind.startsWith("tlbi_") || /unlinked/.test(kind);

/** Writes the time line of a replay while it goes on: a replay takes it as an onlooker. */
export class ReplayTimeline implements Onlooker {
  readonly #writer: PerfettoWriter;
  /** Of the tables; known when there is one. */
  #granule: Granule = 4096;
  readonly #groups: { readonly vcpus: number; readonly host: number; readonly walkers: number };
  readonly #counters: { readonly pages: number; readonly dirty: number; readonly faults: number };
  readonly #threads = new Map<number, Thread>();
  readonly #walkers = new Map<number, MaintenanceTrack>();
  #others: Thread | undefined;
  #invalidations: Invalidation[] = [];
  #pages = 0;
  #faults = 0;
  #now = 0;
  #journalled = 0;

  constructor(writer: PerfettoWriter) {
    this.#writer = writer;
    this.#groups = {
      vcpus: writer.track("vCPUs"),
      host: writer.track("host"),
      walkers: writer.track("granule's walkers"),
    };
    this.#counters = {
      faults: writer.counterTrack("stage-2 faults"),
      dirty: writer.counterTrack("dirty pages reported"),
      pages: writer.counterTrack("table pages", "pages"),
    };
  }

  /** Takes an event, and what granule's walkers did for it. */
  after(e: TraceEvent, done: readonly JournalRecord[], tables: () => readonly Stage2Table[]): void {
    this.#now = e.time * NANOSECONDS;
    this.#granule = tables()[0]?.granule ?? this.#granule;
    this.#recorded(e);
    if (done.length > 0) this.#journal(done);
  }

  #recorded(e: TraceEvent): void {
    if (e.kind === "unknown") return;
    if (e.kind === "lost") this.#lost(e);
    else if (e.kind === "guest_fault") this.#fault(e);
    else if (e.kind === "ret") this.#returned(e);
    else if (e.kind === "marker") this.#marker(e);
    else if (isCall(e.kind)) this.#call(e);
    else if (isInside(e.kind)) this.#inside(e);
    else this.#other(e);
  }

  /** The thread of an event. One that takes a fault is a vCPU from then on. */
  #thread(e: TraceEvent, vcpu: boolean): Thread {
    const known = this.#threads.get(e.pid);
    if (known !== undefined && (known.vcpu || !vcpu)) return known;
    if (known === undefined && this.#threads.size >= MAX_THREADS) {
      this.#others ??= this.#newThread("other threads", false);
      return this.#others;
    }
    if (known !== undefined) this.#leave(known);
    const thread = this.#newThread(vcpu ? `vCPU ${e.task}-${e.pid}` : `${e.task}-${e.pid}`, vcpu);
    this.#threads.set(e.pid, thread);
    return thread;
  }

  #newThread(name: string, vcpu: boolean): Thread {
    const group = vcpu ? this.#groups.vcpus : this.#groups.host;
    return { track: this.#writer.track(name, group), vcpu, fault: false, call: "", last: 0 };
  }

  /** Ends the call that is open: its last event was its end. */
  #endCall(t: Thread, details: SliceDetails = {}, at: number = t.last): void {
    if (t.call === "") return;
    t.call = "";
    this.#writer.end(t.track, at, details);
  }

  /** Ends what a thread does: the kernel is done with its fault. */
  #leave(t: Thread): void {
    this.#endCall(t);
    if (t.fault) this.#writer.end(t.track, t.last);
    t.fault = false;
  }

  #fault(e: EventOf<"guest_fault">): void {
    const t = this.#thread(e, true);
    this.#leave(t);
    const { kind, level, write, exec, walk } = decodeSyndrome(e.esr);
    const access = walk ? "table walk" : exec ? "fetch" : write ? "store" : "load";
    const cause = this.#causeOf(e.ipa);
    const { ipa, esr, far, pc, cpu } = e;
    const addresses = { ipa: address(ipa), esr: address(esr), far: address(far), pc: address(pc) };
    this.#writer.begin(t.track, this.#now, `${kind} fault`, {
      category: "fault",
      args: { ...addresses, level, access, cpu },
      ...(cause === undefined ? {} : { endingFlows: [cause] }),
    });
    t.fault = true;
    t.last = this.#now;
    this.#writer.count(this.#counters.faults, this.#now, ++this.#faults);
  }

  /** The arrow from the invalidation that took the page of a fault. */
  #causeOf(ipa: number): number | undefined {
    const at = this.#invalidations.findLastIndex(({ start, end }) => ipa >= start && ipa < end);
    return at < 0 ? undefined : this.#invalidations.splice(at, 1)[0]?.flow;
  }

  #call(e: Operation): void {
    const t = this.#thread(e, false);
    this.#endCall(t);
    this.#writer.begin(t.track, this.#now, e.kind, { category: "stage 2", args: argumentsOf(e) });
    t.call = e.kind;
    t.last = this.#now;
  }

  #returned(e: ReturnEvent): void {
    const t = this.#thread(e, false);
    t.last = this.#now;
    if (t.call === e.of) this.#endCall(t, { args: { ret: e.value } }, this.#now);
  }

  /** A TLBI, or a table that is made or freed, inside a call. */
  #inside(e: Operation): void {
    const t = this.#thread(e, false);
    t.last = this.#now;
    const args = argumentsOf(e);
    const range = rangeOf(e, this.#granule);
    if (range === undefined) {
      this.#writer.instant(t.track, this.#now, e.kind, { category: "stage 2", args });
      return;
    }
    const flow = this.#writer.flow();
    if (this.#invalidations.push({ flow, ...range }) > MAX_INVALIDATIONS) this.#invalidations.shift();
    this.#writer.instant(t.track, this.#now, e.kind, { category: "tlbi", args, flows: [flow] });
  }

  /** What happens inside a fault leaves it open; an exit, or the way back into the guest, ends it. */
  #other(e: Operation): void {
    const t = this.#thread(e, e.kind === "entry");
    const notifier = /hva$/.test(e.kind);
    const inside = notifier || e.kind === "access_fault" || e.kind === "toggle_cache" || e.kind === "set_way_flush";
    if (inside) this.#endCall(t);
    if (inside || e.kind === "mmio") t.last = this.#now;
    if (!inside) this.#leave(t);
    const category = notifier ? "mmu notifier" : "kvm";
    this.#writer.instant(t.track, this.#now, e.kind, { category, args: argumentsOf(e) });
  }

  #marker(e: MarkerEvent): void {
    const { note } = e;
    if (note.type === "other") return;
    const t = this.#thread(e, false);
    this.#leave(t);
    this.#writer.instant(t.track, this.#now, "marker", { category: "vmm", args: { text: e.text } });
    if (note.type === "get-dirty-log-done" && note.rc === 0) {
      this.#writer.count(this.#counters.dirty, this.#now, note.dirtyPages);
    }
  }

  #lost({ cpu, count }: EventOf<"lost">): void {
    const args = { cpu, count: count ?? "unknown" };
    this.#writer.instant(this.#groups.host, this.#now, "events lost", { category: "recorder", args });
  }

  #journal(records: readonly JournalRecord[]): void {
    // Records of one event have no times of their own: they stand one nanosecond apart, in their order.
    if (this.#journalled < this.#now) this.#journalled = this.#now;
    const pages = this.#pages;
    for (const record of records) this.#record(record);
    if (this.#pages !== pages) this.#writer.count(this.#counters.pages, this.#now, this.#pages);
  }

  #record(record: JournalRecord): void {
    const { kind, level } = record;
    if (kind === JournalKind.TABLE_TAKEN) this.#pages++;
    else if (kind === JournalKind.TABLE_FREED) this.#pages--;
    const walker = this.#walker(record.walker);
    const time = this.#journalled++;
    if (walker.add(record, time)) return;
    if (kind === JournalKind.WRITE || kind === JournalKind.WRITE_SHARED) {
      const args = { slot: address(record.address), old: address(record.a), new: address(record.b), level };
      // What is not valid before or after is a walker's lock, or an owner's mark.
      const name = record.b & 1n ? "make" : record.a & 1n ? "break" : "mark";
      this.#writer.instant(walker.track, time, name, { category: "descriptor", args });
    }
  }

  #walker(walker: number): MaintenanceTrack {
    let found = this.#walkers.get(walker);
    if (found === undefined) {
      found = new MaintenanceTrack(this.#writer, this.#writer.track(`walker ${walker}`, this.#groups.walkers));
      this.#walkers.set(walker, found);
    }
    return found;
  }

  /** Ends what is open: the trace is over. */
  end(done: readonly JournalRecord[]): void {
    if (done.length > 0) this.#journal(done);
    for (const thread of this.#threads.values()) this.#leave(thread);
    this.#writer.finish();
  }
}

/** Guest addresses whose translations a TLBI drops: all of them where it names none. */
function rangeOf(e: Operation, granule: Granule): { readonly start: number; readonly end: number } | undefined {
  if (e.kind === "tlbi_vmid") return { start: 0, end: Number.POSITIVE_INFINITY };
  if (e.kind === "tlbi_range") return { start: e.ipa, end: e.ipa + e.pages * granule };
  if (e.kind !== "tlbi_ipa" && e.kind !== "tlbi_ipa_nsh") return undefined;
  // The level hint tells how much one entry covers; without it, a page is certain.
  const known = e.level >= 1 && e.level <= LAST_LEVEL;
  const size = known ? 2 ** levelShift(granule, e.level) : granule;
  const start = e.ipa - (e.ipa % size);
  return { start, end: start + size };
}

const LAST_LEVEL = 3;
