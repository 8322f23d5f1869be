// The line that shows how far a command is: with a stream and a clock that the test holds.

import { describe, expect, it } from "vitest";
import { type Progress, ProgressLine } from "../../bindings/cli/progress.js";

const CLEAR = "\r\u001b[2K";

/** A line on a stream that keeps what is written, and the clock. */
function made(isTTY = true, columns?: number) {
  const written: string[] = [];
  const clock = { now: 5000 };
  const stream = { isTTY, write: (text: string) => written.push(text), ...(columns === undefined ? {} : { columns }) };
  const line = new ProgressLine(stream, { isDumb: false, now: () => clock.now });
  const at = (now: number, progress: Progress) => {
    clock.now = 5000 + now;
    line.show(progress);
  };
  return { line, at, written };
}

const events = (done: number, share?: number): Progress => ({ done, unit: "events", share });

describe("progress", () => {
  it("says nothing for a second, then what is done, how fast, how much, and how long it takes still", () => {
    const { at, written } = made();
    at(0, events(0, 0));
    at(999, events(9_990, 0.2));
    expect(written).toEqual([]);
    at(1000, events(10_000, 0.2));
    expect(written).toEqual(["10,000 events, 10,000 a second, 20 %, 0:04 left"]);
    at(2000, events(20_000, 0.5));
    expect(written.slice(1)).toEqual([CLEAR, "20,000 events, 10,000 a second, 50 %, 0:02 left"]);
  });

  it("is painted ten times a second at most", () => {
    const { at, written } = made();
    for (let ms = 0; ms < 3000; ms += 7) at(ms, events(ms));
    const painted = written.filter((text) => text !== CLEAR);
    expect(painted.length).toBeGreaterThan(15);
    expect(painted.length).toBeLessThanOrEqual(20);
  });

  it("has no time left where nobody knows how much there is, where next to nothing is done, and where all is read", () => {
    const { at, written } = made();
    at(0, events(0));
    at(1000, { name: "fault-block", done: 31, unit: "states" });
    at(2000, events(50, 0.001));
    at(4000, events(10, 1));
    expect(written.filter((text) => text !== CLEAR)).toEqual([
      "fault-block: 31 states, 31 a second",
      "50 events, 25 a second, 0 %",
      "10 events, 2.5 a second",
    ]);
  });

  it("counts from where a task began, and hours where it takes hours", () => {
    const { at, written } = made();
    at(0, events(1000));
    at(60_000, events(7000, 0.01 + 0.01));
    expect(written).toEqual(["7,000 events, 100 a second, 2 %, 49:00 left"]);
    at(600_000, events(7000, 0.02));
    expect(written.at(-1)).toBe("7,000 events, 10 a second, 2 %, 8:10:00 left");
  });

  it("goes on after output in its place, and begins again after its end", () => {
    const { line, at, written } = made();
    at(0, events(0));
    at(1000, events(10));
    line.clear();
    line.clear();
    at(1100, events(20));
    expect(written).toEqual(["10 events, 10 a second", CLEAR, "20 events, 18 a second"]);
    line.end();
    at(1300, events(0));
    at(2200, events(5));
    expect(written.slice(3)).toEqual([CLEAR]);
    at(2300, events(5));
    expect(written.at(-1)).toBe("5 events, 5.0 a second");
  });

  it("does not wrap, is printable, and does not exist where there is no terminal", () => {
    const narrow = made(true, 20);
    narrow.at(0, events(0));
    narrow.at(1000, { ...events(5), name: "\u001b[2J.trace" });
    expect(narrow.written).toEqual(["\\x1b[2J.trace: 5 ev"]);
    const none = made(false);
    none.at(0, events(0));
    none.at(9000, events(5));
    none.line.end();
    expect(none.written).toEqual([]);
    const written: string[] = [];
    let now = 0;
    const dumb = new ProgressLine(
      { isTTY: true, write: (text) => written.push(text) },
      { isDumb: true, now: () => (now += 5000) },
    );
    for (let i = 0; i < 5; i++) dumb.show(events(i));
    expect(written).toEqual([]);
  });
});
