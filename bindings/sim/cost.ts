import { checkOptions, describe, type OptionKinds, unknownName } from "../core/check.js";
import { invalid } from "../core/errors.js";

/**
 * What the counted events cost, in cycles of a CPU. These are assumptions, of the order of what server cores show, not
 * measurements: replace what you know better.
 *
 * @example
 * ```ts
 * import { COSTS, runWorkload } from "granule/sim";
 * const { estimate } = runWorkload({ workload: "demand_paging", memory: 4 << 20, costs: { ...COSTS, exit: 0 } });
 * console.log(estimate.exit); // 0
 * ```
 */
export const COSTS = {
  /** A guest exit and the entry after it. */
  exit: 1500,
  /** The hypervisor's work on a fault, without the operations below. */
  fault: 1200,
  /** A walk for an access that misses the TLBs. */
  walk: 40,
  /** A broadcast TLBI: per CPU that hears it. */
  tlbi: 60,
  /** A DSB that waits for TLBIs. */
  dsb: 200,
  /** A table page taken or given back. */
  page: 300,
  /** A leaf made or cleared. */
  leaf: 10,
  /** An entry that eager splitting looks at. */
  visit: 10,
};

/**
 * Costs by name, in cycles.
 *
 * @example
 * ```ts
 * import { COSTS, type Costs } from "granule/sim";
 * const slowExits: Costs = { ...COSTS, exit: 4000 };
 * console.log(slowExits.exit); // 4000
 * ```
 */
export type Costs = typeof COSTS;

const KINDS = Object.fromEntries(Object.keys(COSTS).map((name) => [name, "number"])) as OptionKinds<Costs>;

/** Costs, when each is there and 0 or more: EINVAL names the first that is not. */
export function checkCosts(operation: string, costs: Costs): Costs {
  checkOptions(operation, costs, KINDS);
  for (const name of Object.keys(COSTS) as (keyof Costs)[]) {
    if (!(costs[name] >= 0))
      throw invalid(operation, `the cost ${name} is ${describe(costs[name])}: cycles, 0 or more`);
  }
  return costs;
}

/**
 * The default costs, with some replaced: `exit=900,tlbi=100`. EINVAL for a name that there is not, or a cost below 0.
 *
 * @example
 * ```ts
 * import { costsOf } from "granule/sim";
 * console.log(costsOf("exit=900").exit); // 900
 * ```
 */
export function costsOf(text: string): Costs {
  const costs: Record<string, number> = { ...COSTS };
  for (const part of text === "" ? [] : text.split(",")) {
    const [name = "", value = ""] = part.split("=");
    if (!Object.hasOwn(COSTS, name)) throw unknownName("costs", "cost", name, Object.keys(COSTS));
    costs[name] = value === "" ? Number.NaN : Number(value);
    if (!((costs[name] as number) >= 0))
      throw invalid("costs", `the cost ${name} is ${value || "missing"}: cycles, 0 or more`);
  }
  return costs as Costs;
}

/** How often each of these happened. */
export type Events = { readonly [name in keyof Costs]: number };

/** Cycles by cause, and in all. An estimate: counts times costs. */
export function estimate(events: Events, costs: Costs): Record<keyof Costs | "total", number> {
  const cycles = Object.fromEntries(
    Object.entries(events).map(([name, n]) => [name, n * costs[name as keyof Costs]]),
  ) as Record<keyof Costs, number>;
  return { ...cycles, total: Object.values(cycles).reduce((sum, n) => sum + n, 0) };
}
