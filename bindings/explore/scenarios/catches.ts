// Which scenario finds which flaw of bindings/core/flaws.mjs.

/** How a flaw is found. */
export interface Catch {
  readonly scenario: string;
  /** Only by a death. */
  readonly deaths?: boolean;
  /** Only as a race. */
  readonly races?: boolean;
}

/** Flaws by name; each is found by a violation of its scenario. */
export const CATCHES: Readonly<Record<string, Catch>> = {
  "locked-again": { scenario: "fault-fault-clean" },
};
