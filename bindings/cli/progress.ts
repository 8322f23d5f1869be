// The line of standard error that shows how far a command is: what is done, how fast, how much, and how long it takes still.

import { printable } from "../report/printable.js";
import { count } from "../report/text.js";

/** How far a command is. */
export interface Progress {
  /** What it is at now: a file, a scenario. */
  readonly name?: string;
  /** Units that are done, */
  readonly done: number;
  /** and what these are, in the plural: `events`. */
  readonly unit: string;
  /** Share of the whole that is done, from 0 to 1; left out where nobody knows how much there is. */
  readonly share?: number | undefined;
}

/** A stream that may be a terminal. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const CLEAR_LINE = "\r\u001b[2K";
/** What takes less time shows nothing. */
const QUIET_MS = 1000;
/** Progress is painted again after that time at the earliest. */
const REPAINT_MS = 100;
/** Below this share of the whole a time would be a guess. */
const LEAST_SHARE = 0.02;
const PERCENT = 100;
/** Below this, a rate has a decimal. */
const FEW = 10;
const MINUTE = 60;
const SECOND_MS = 1000;

/** Seconds as a clock shows them: `0:07`, `1:02:05`. */
function clock(seconds: number): string {
  const whole = Math.ceil(seconds),
    pad = (n: number) => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / MINUTE),
    hours = Math.floor(minutes / MINUTE);
  const tail = pad(whole % MINUTE);
  return hours > 0 ? `${hours}:${pad(minutes % MINUTE)}:${tail}` : `${minutes}:${tail}`;
}

/** Units a second. */
function rate(units: number, ms: number): string {
  const each = (units * SECOND_MS) / ms;
  return each < FEW ? each.toFixed(1) : count(Math.round(each));
}

/** The line: `boot.trace: 1,204,000 events, 410,000 a second, 35 %, 0:12 left`. */
function lineOf({ name, done, unit, share }: Progress, began: number, ms: number): string {
  const parts = [`${count(done)} ${unit}`, `${rate(done - began, ms)} a second`];
  if (share !== undefined && share < 1) {
    parts.push(`${Math.floor(share * PERCENT)} %`);
    if (share >= LEAST_SHARE) parts.push(`${clock((ms * (1 - share)) / share / SECOND_MS)} left`);
  }
  return `${name === undefined ? "" : `${name}: `}${parts.join(", ")}`;
}

/** Paints progress on a terminal; a stream that is none gets nothing. */
export class ProgressLine {
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  readonly #live: boolean;
  #shown = false;
  #painted = Number.NEGATIVE_INFINITY;
  /** When the task began that is shown, and what was done then. */
  #began: { readonly at: number; readonly done: number } | undefined;

  /** `now`: milliseconds on a clock that never goes back. */
  constructor(stream: ProgressStream, { isDumb, now }: { isDumb: boolean; now: () => number }) {
    this.#stream = stream;
    this.#now = now;
    this.#live = stream.isTTY === true && !isDumb;
  }

  /** Takes the line away, for output in its place; the task goes on. */
  clear(): void {
    if (this.#shown) this.#stream.write(CLEAR_LINE);
    this.#shown = false;
  }

  /** The task is over. */
  end(): void {
    this.clear();
    this.#began = undefined;
  }

  /** The first call after `end` begins a task. */
  show(progress: Progress): void {
    if (!this.#live) return;
    const now = this.#now();
    this.#began ??= { at: now, done: progress.done };
    const ms = now - this.#began.at;
    if (ms < QUIET_MS || now - this.#painted < REPAINT_MS) return;
    this.clear();
    this.#shown = true;
    this.#painted = now;
    // A line that wraps could not be taken away again.
    const most = (this.#stream.columns ?? Number.POSITIVE_INFINITY) - 1;
    this.#stream.write(printable(lineOf(progress, this.#began.done, ms)).slice(0, most));
  }
}
