import * as K from "../core/constants.generated.js";
import { isTable } from "../core/descriptor.js";
import { span } from "../core/granule.js";
import { StepView } from "../core/mmu-views.generated.js";
import type { Words } from "../core/view.js";
import type { Ipa, Pa, Va } from "../model/address.js";
import type { Granule } from "../model/granule.js";
import type { AccessKind, Translation, TranslationFault } from "./result.js";

/**
 * What a walk found at one place. `invalid` is bit 0 clear; `reserved` is valid, but of a type that this level does not have
 * [FMT-5]; at `unreadable` there is no descriptor: stage 2 refused its address, or no memory is there.
 */
export type WalkStepKind = "table" | "block" | "page" | "invalid" | "reserved" | "unreadable";

/** One descriptor on the way of a walk, in the order in which hardware reads them. */
export interface WalkStep {
  /** Whose table it is in: stage 1 (EL1&0, EL2), or stage 2. */
  stage: 1 | 2;
  /** Level of the descriptor, -1 to 3. */
  level: number;
  /** The address that this stage translates: a VA in stage 1, an IPA in stage 2. */
  input: Va | Ipa;
  /** What the stage wants to do there. Under stage 1, stage 2 is asked to read its tables, or to write a descriptor back. */
  access: AccessKind;
  /** Address of the descriptor as the stage names it: an IPA in stage 1 over stage 2, otherwise a PA. */
  address: Ipa | Pa;
  /** Where the descriptor lies; undefined if it is unreadable. */
  pa: Pa | undefined;
  /** Its 64 bits as they were read; undefined if it is unreadable. */
  descriptor: bigint | undefined;
  /** What the descriptor is to the walk. */
  kind: WalkStepKind;
  /** Next table, or first address of the leaf; undefined where there is neither. */
  output: Ipa | Pa | undefined;
  /** What hardware wrote there in this walk: access flag, dirty state. Undefined if it wrote nothing. */
  written: bigint | undefined;
  /** How the descriptor is to be read. */
  granule: Granule;
  /** Descriptors have 52-bit addresses (FEAT_LPA2), with 4K and 16K pages. */
  lpa2: boolean;
}

/** A walk and its answer. */
export interface WalkExplanation {
  /** Every descriptor that was read, in order. */
  steps: WalkStep[];
  /** What the access comes to. */
  result: Translation | TranslationFault;
}

/** @internal Bytes for the steps of one walk. */
export const STEPS_BYTES: number = K.MAX_STEPS * K.STEP_BYTES;

const ACCESSES: readonly AccessKind[] = ["r", "w", "x"];

function kindOf(descriptor: bigint, level: number, flags: number): WalkStepKind {
  if (flags & K.STEP_UNREAD) return "unreadable";
  if (flags & K.STEP_NOTHING) return descriptor & K.VALID ? "reserved" : "invalid";
  if (isTable(descriptor, level)) return "table";
  return level === K.LAST_LEVEL ? "page" : "block";
}

/** First address of the next table or of the leaf: below a block's own bits there are others, such as nT. */
function outputOf(kind: WalkStepKind, output: bigint, ps: number, level: number): Ipa | Pa | undefined {
  if (kind === "block") return (output & -span(ps, level)) as Ipa | Pa;
  return kind === "table" || kind === "page" ? (output as Ipa | Pa) : undefined;
}

function stepOf({ input, address, pa, descriptor, output, level, flags }: StepView): WalkStep {
  const unread = (flags & K.STEP_UNREAD) !== 0,
    ps = (flags >>> K.STEP_PS_SHIFT) & 31,
    kind = kindOf(descriptor, level, flags);
  return {
    stage: flags & K.STEP_STAGE2 ? 2 : 1,
    level,
    input: input as Va | Ipa,
    access: ACCESSES[flags & K.STEP_ACCESS] ?? "r",
    address: address as Ipa | Pa,
    pa: unread ? undefined : (pa as Pa),
    descriptor: unread ? undefined : descriptor,
    kind,
    output: outputOf(kind, output, ps, level),
    written: undefined,
    granule: (2 ** ps) as Granule,
    lpa2: (flags & K.STEP_LPA2) !== 0,
  };
}

/** @internal The `n` steps that the core left at `pointer`; what hardware wrote belongs to the step that read it. */
export function stepsAt(words: Words, pointer: number, n: number): WalkStep[] {
  const view = new StepView(words);
  const steps: WalkStep[] = [];
  for (let i = 0; i < n; i++) {
    view.at = pointer + i * K.STEP_BYTES;
    const step = stepOf(view);
    const { stage, address, descriptor } = step;
    if ((view.flags & K.STEP_WRITTEN) === 0) steps.push(step);
    else {
      const read = steps.findLast((one) => one.stage === stage && one.address === address);
      if (read) read.written = descriptor;
    }
  }
  return steps;
}
