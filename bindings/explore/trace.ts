// One schedule as text: two columns or more, one a walker, a line for each atomic access.

import { type AccessKind, writes } from "./build.js";
import type { Step } from "./player.js";
import type { Scenario } from "./scenario.js";
import type { Stale } from "./weak-memory.js";
import type { World } from "./world.js";

/** One line of a trace. */
export interface TraceLine {
  /** Which one. */
  readonly walker: number;
  /** `path:line` of the source, or the word of a protocol. */
  readonly line: string;
  /** What the access does: `atomic load`, `exchange` ... or `dies`. */
  readonly does: string;
  /** What lies at the address, by name. */
  readonly at: string;
  /** The word before it, hexadecimal. */
  readonly before: string;
  /** The word after it, hexadecimal. */
  readonly after: string;
  /** Locks and sections that the walker holds afterwards. */
  readonly holds: string;
  /** The operation that it is in. */
  readonly operation: string;
  /** In a weak memory: what was read in place of the newest value, or how the store went behind it. */
  readonly stale?: string;
}

/** Collects a trace while a schedule is played. */
export class Trace {
  readonly lines: TraceLine[] = [];
  readonly #scenario: Scenario;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
  }

  step(world: World, { walker, access, before, after, operation, stale }: Step): void {
    const { line, kind } = world.siteAt(access.site),
      isHost = walker >= this.#scenario.walkers,
      own = stale.find(({ site }) => site === undefined);
    const rest = {
      walker,
      holds: world.holdsNow(walker),
      operation: isHost ? "burial" : this.#scenario.says(walker, operation),
    };
    this.lines.push({
      ...rest,
      line: line.replace(/^assembly\//, ""),
      does: kind,
      at: kind === "fence" ? "" : world.nameOf(access.address),
      before: kind === "fence" ? "" : `0x${before.toString(16)}`,
      after: kind === "fence" ? "" : `0x${after.toString(16)}`,
      ...(own === undefined ? {} : { stale: staleText(own, kind) }),
    });
    for (const one of stale) if (one.site !== undefined) this.#plain(world, one, one.site, rest);
  }

  /** A plain access behind the atomic one that went back. */
  #plain(world: World, stale: Stale, site: number, rest: Pick<TraceLine, "walker" | "holds" | "operation">): void {
    const { line, kind, bytes } = world.siteAt(site),
      now = `0x${world.valueAt(stale.address, Math.min(bytes, 4)).toString(16)}`;
    this.lines.push({
      ...rest,
      line: line.replace(/^assembly\//, ""),
      does: kind,
      at: world.nameOf(stale.address),
      before: now,
      after: now,
      stale: staleText(stale, kind),
    });
  }

  death(world: World, walker: number): void {
    const operation = this.#scenario.says(walker, world.operation(walker));
    this.lines.push({
      walker,
      line: "",
      does: "dies",
      at: "",
      before: "",
      after: "",
      holds: world.holdsNow(walker),
      operation,
    });
  }
}

function staleText({ value, back }: Stale, kind: AccessKind): string {
  const what = `0x${(value >>> 0).toString(16)}`,
    stores = back === 1 ? "1 store" : `${back} stores`;
  return writes(kind) ? `stores ${what} behind ${stores}` : `reads ${what}, ${stores} back`;
}

function cell({ line, does, at, before, after, holds, stale }: TraceLine): string[] {
  if (does === "dies") return ["dies here", holds];
  if (does === "fence") return [does];
  const change = stale ?? (before === after ? before : `${before} -> ${after}`);
  return [`${does} ${at}`, `${change}`, `${line}${holds ? `  [${holds}]` : ""}`];
}

const WIDTH = 58;

/**
 * The trace as columns, one a walker, each access three short lines.
 *
 * @example
 * ```ts
 * import { formatTrace } from "granule/explore";
 * console.log(formatTrace([], 1).trim()); // walker 0
 * ```
 */
export function formatTrace(lines: readonly TraceLine[], walkers: number): string {
  const columns = Math.max(walkers, ...lines.map(({ walker }) => walker + 1)),
    title = (walker: number) => (walker < walkers ? `walker ${walker}` : "host");
  const pad = (text: string, column: number) => `${" ".repeat(column * WIDTH)}${text}`.trimEnd();
  const out = [
    Array.from({ length: columns }, (_, walker) => title(walker).padEnd(WIDTH))
      .join("")
      .trimEnd(),
  ];
  const operations = new Map<number, string>();
  for (const line of lines) {
    if (line.operation !== "" && operations.get(line.walker) !== line.operation) {
      operations.set(line.walker, line.operation);
      out.push(pad(`-- ${line.operation} --`, line.walker));
    }
    for (const text of cell(line)) out.push(pad(text, line.walker));
  }
  return `${out.join("\n")}\n`;
}
