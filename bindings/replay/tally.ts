/** Different keys of one tally: far more than a real trace has, and a bound for hostile ones. */
const MAX_KEYS = 256;
/** What the keys beyond the bound are counted as. */
const OTHERS = "(others)";

/** Counts by name, for reports. */
export type Tally = Record<string, number>;

/** Counts one more of a name. */
export function bump(tally: Tally, name: string): void {
  const known = tally[name];
  if (known !== undefined) tally[name] = known + 1;
  else if (Object.keys(tally).length < MAX_KEYS) tally[name] = 1;
  else tally[OTHERS] = (tally[OTHERS] ?? 0) + 1;
}
