// The exports of the judge's module. It has a memory of its own: the host copies records into the input buffer, calls
// `judge`, and reads the violations.

import { finish as finishLog, judge as judgeRecords } from "./audit/automaton";
import { FIXED_END, INPUT_RECORDS, inputAt, isReady, initialise as lay, state, violationAt } from "./audit/state";

/** A judge in the imported memory, with options O_* and so many CPUs. False if the memory is too small. */
export function initialise(options: u32, cpus: u32): bool {
  return lay(options, cpus);
}

/** Where records are put, INPUT_RECORDS at most. */
export function inputPointer(): u32 {
  return <u32>inputAt();
}

/** Judges the first `n` records of the input; how many were judged. Fewer: the memory is spent. */
export function judge(n: u32): u32 {
  return isReady() ? judgeRecords(min(n, INPUT_RECORDS)) : 0;
}

/** The end: violations for what was never flushed; how many obligations are open. */
export function finish(): u32 {
  return isReady() ? finishLog() : 0;
}

/** Violations so far; the first MAX_VIOLATIONS can be read. */
export function violationCount(): f64 {
  return isReady() ? <f64>state().violations : 0;
}

export function violationPointer(): u32 {
  return <u32>violationAt(0);
}

/** Bytes in use, of which the fixed part is FIXED_END. */
export function used(): u32 {
  return isReady() ? state().bump : FIXED_END;
}
