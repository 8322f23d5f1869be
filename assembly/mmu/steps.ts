// The way of one walk, written down descriptor by descriptor, for those who want to see how an answer came about.

import { ADDRESS_LPA2, decodeAddress } from "../arch/descriptor";
import { isInMemory, NOWHERE } from "../memory/physical";
import * as C from "./context";

// Step.flags
/** Kind of the access, A_*. */
export const STEP_ACCESS: u32 = 3;
export const STEP_STAGE2: u32 = 1 << 2;
/** Not a descriptor that was read, but one that hardware wrote, where the last step of that address read it. */
export const STEP_WRITTEN: u32 = 1 << 3;
/** There is no descriptor to read: stage 2 refused its address, or no memory is there. */
export const STEP_UNREAD: u32 = 1 << 4;
/** Neither a table nor a leaf: not valid, or of a kind that its level does not have. */
export const STEP_NOTHING: u32 = 1 << 5;
/** Addresses as LPA2 has them. */
export const STEP_LPA2: u32 = 1 << 6;
/** log2 of the granule: a field of five bits from here on. */
export const STEP_PS_SHIFT: u32 = 8;

/** One descriptor on the way of a walk. */
@view()
@unmanaged
export class Step {
  /** The address that the stage translates; 0 for what hardware wrote. */
  input: u64;
  /** Address of the descriptor as the stage names it: intermediate in stage 1 under stage 2, otherwise physical. */
  address: u64;
  /** Its physical address; 0 where there is none to read. */
  pa: u64;
  descriptor: u64;
  /** What it points to; 0 for nothing. */
  output: u64;
  level: i32;
  flags: u32;
}

/** Bytes of a step. */
export const STEP_BYTES: u32 = <u32>offsetof<Step>();
/** More than the longest walk has: five tables of stage 1, each with five of stage 2, and the update of a leaf. */
export const MAX_STEPS: u32 = 64;

/** Records steps from `steps` on, up to `bytes`. Preconditions: they lie in memory, apart from the context. */
export function startSteps(c: C.Context, steps: u32, bytes: u32): void {
  c.steps = steps;
  c.stepsEnd = steps + bytes;
}

/** Ends the record that began at `from`; c.stepsTaken says how many steps it has. */
export function endSteps(c: C.Context, from: u32): void {
  c.stepsTaken = (c.steps - from) / STEP_BYTES;
  c.steps = 0;
  c.stepsEnd = 0;
}

/**
 * Writes a step: the descriptor at `p`, NOWHERE for none. Only while steps are recorded (`c.steps`); what has no room is left out.
 * The room is looked at again, since the host may have written to the context.
 */
export function note(
  c: C.Context,
  s: C.Stage,
  input: u64,
  address: u64,
  level: i32,
  p: usize,
  descriptor: u64,
  flags: u32,
): void {
  if (c.steps + STEP_BYTES > c.stepsEnd || !isInMemory(c.steps, STEP_BYTES)) return;
  const step = changetype<Step>(<usize>c.steps);
  step.input = input;
  step.address = address;
  step.pa = p !== NOWHERE ? c.physBase + <u64>(p - c.pointer) : 0;
  step.descriptor = descriptor;
  step.output = flags & (STEP_UNREAD | STEP_NOTHING) ? 0 : decodeAddress(s.layout, s.ps, descriptor);
  step.level = level;
  step.flags =
    flags |
    (C.isSecond(c, s) ? STEP_STAGE2 : 0) |
    (s.layout === ADDRESS_LPA2 ? STEP_LPA2 : 0) |
    (s.ps << STEP_PS_SHIFT);
  c.steps += STEP_BYTES;
}
