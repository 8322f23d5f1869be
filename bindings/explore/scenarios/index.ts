// All scenarios that come with the explorer, by name.

import type { Scenario } from "../scenario.js";
import { LIFE } from "./life.js";
import { LOCKLESS } from "./lockless.js";
import { MUSEUM, SOUND } from "./museum/index.js";
import { SHARED } from "./shared.js";
import { VM } from "./vm.js";

/**
 * The scenarios that come with the explorer, in the order of `granule explore --list`.
 *
 * @example
 * ```ts
 * import { SCENARIOS } from "granule/explore";
 * console.log(SCENARIOS.some(({ name }) => name === "fault-fault")); // true
 * ```
 */
export const SCENARIOS: readonly Scenario[] = [...SHARED, ...LOCKLESS, ...LIFE, ...VM, ...SOUND];

/** Protocols of the museum with a flaw: some schedule of each breaks its rule. */
export const FLAWED: readonly Scenario[] = MUSEUM.flatMap(({ flawed }) => flawed);

/**
 * The scenario of this name; a protocol of the museum with a flaw, too.
 *
 * @throws Error when there is none.
 * @example
 * ```ts
 * import { scenario } from "granule/explore";
 * console.log(scenario("fault-fault").walkers); // 2
 * ```
 */
export function scenario(name: string): Scenario {
  const found = [...SCENARIOS, ...FLAWED].find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no scenario ${name}`);
  return found;
}
