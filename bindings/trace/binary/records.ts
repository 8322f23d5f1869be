import { TraceRecordError } from "../errors.js";
import type { LostEvent, TraceEvent } from "../events.js";
import { type EventName, EventTally, type TraceOptions } from "../tally.js";
import { FieldSlots, Fields } from "./fields.js";
import { RECORD_FORMS, type RecordForm } from "./forms.js";
import type { EventLayout } from "./layout.js";

/** What is known of the events of one number. */
interface KnownEvent {
  readonly entry: EventName<RecordForm>;
  readonly slots: FieldSlots;
  readonly print: string;
  /** Where the record has its thread. */
  readonly pidAt: number;
}

/** The common fields of every record, where no format says otherwise. */
const PID_AT = 4;
const TYPE_BYTES = 2;
const COMMON_BYTES = 8;
const NANOSECONDS = 1e9;

function unknown(f: Fields): TraceEvent {
  const { line, time, cpu, task, pid, event } = f;
  return { line, time, cpu, task, pid, event, kind: "unknown" };
}

/** Turns records of the kernel's ring buffer, or samples of perf, into events. */
export class RecordParser {
  readonly tally: EventTally<RecordForm>;
  readonly #fields = new Fields();
  readonly #known: (KnownEvent | undefined)[] = [];
  readonly #layouts = new Map<number, EventLayout>();
  readonly #taskOf: (pid: number) => string;
  readonly #unit: number;
  #lastPid = -1;
  #lastTask = "";

  /**
   * @param taskOf - the name of a thread
   * @param ticks - the clock counts something else than nanoseconds
   */
  constructor(
    layouts: readonly EventLayout[],
    options: TraceOptions,
    taskOf: (pid: number) => string,
    { ticks = false } = {},
  ) {
    this.tally = new EventTally(options, RECORD_FORMS);
    this.#taskOf = taskOf;
    this.#unit = ticks ? 1 : NANOSECONDS;
    for (const layout of layouts) this.#layouts.set(layout.id, layout);
  }

  #learn(type: number): KnownEvent {
    const layout = this.#layouts.get(type);
    const entry = this.tally.entry(layout?.name ?? `event ${type}`);
    const named = layout ?? { id: type, name: entry.name, fields: new Map(), print: "" };
    const slots = new FieldSlots(named, entry.form?.fields ?? []);
    const pidAt = layout?.fields.get("common_pid")?.offset ?? PID_AT;
    const known = { entry, slots, print: layout?.print ?? "", pidAt };
    this.#known[type] = known;
    return known;
  }

  /** A task has another name from here on. */
  renamed(): void {
    this.#lastPid = -1;
  }

  /**
   * The event of a record, `undefined` for one that a lenient reader skips.
   *
   * @param at - of the record in `view`, which has at least `length` bytes from there
   * @param offset - of the record in the file, for errors
   * @param stamp - nanoseconds, or ticks
   * @param pid - of the thread, where the record itself need not tell
   */
  event(
    view: DataView,
    at: number,
    length: number,
    offset: number,
    stamp: number,
    cpu: number,
    pid = -1,
  ): TraceEvent | undefined {
    const f = this.#fields;
    f.line = this.tally.nextLine();
    f.time = stamp / this.#unit;
    f.cpu = cpu;
    f.offset = offset;
    f.view = view;
    f.at = at;
    f.length = length;
    const type = length < TYPE_BYTES ? -1 : view.getUint16(at, true);
    const known = type < 0 ? undefined : (this.#known[type] ?? this.#learn(type));
    if (known === undefined || length < COMMON_BYTES || length < known.slots.least || length < known.pidAt + 4) {
      return this.#short(known);
    }
    f.pid = pid < 0 ? view.getInt32(at + known.pidAt, true) : pid;
    if (f.pid !== this.#lastPid) {
      this.#lastPid = f.pid;
      this.#lastTask = this.#taskOf(f.pid);
    }
    f.task = this.#lastTask;
    const { entry } = known;
    f.event = entry.name;
    if (entry.form === undefined) {
      entry.count++;
      return unknown(f);
    }
    f.slots = known.slots;
    f.print = known.print;
    return this.#read(entry, entry.form);
  }

  /** A record that is shorter than the format of its event. */
  #short(known: KnownEvent | undefined): undefined {
    const { line, offset, length } = this.#fields;
    const name = known?.entry.name ?? "event";
    const error = new TraceRecordError(
      line,
      offset,
      name,
      `${known?.slots.least ?? COMMON_BYTES} bytes, not ${length}`,
    );
    if (!this.tally.lenient) throw error;
    this.tally.skipped(error);
  }

  #read(entry: EventName<RecordForm>, form: RecordForm): TraceEvent | undefined {
    const f = this.#fields;
    try {
      const event = form.read(f);
      entry.count++;
      return event.kind === "marker" ? this.tally.marker(event) : event;
    } catch (error) {
      if (entry.strict && !this.tally.lenient) throw error;
      if (entry.strict) {
        this.tally.skipped(error);
        return undefined;
      }
      this.tally.unread(entry, error);
      entry.count++;
      return unknown(f);
    }
  }

  /** A place where the recorder lost events. Time and task are those of the event before. */
  lost(cpu: number, count: number | undefined): LostEvent {
    this.tally.lost(count);
    const { time, task, pid } = this.#fields;
    return { line: this.tally.nextLine(), time, cpu, task, pid, event: "lost", kind: "lost", count };
  }
}
