// A walk of the hardware as a person reads it, and as JSON.

import * as K from "../core/constants.generated.js";
import { get } from "../core/field.js";
import type { WalkExplanation, WalkStep } from "../mmu/index.js";
import type { AccessKind, Rights, Translation, TranslationFault } from "../mmu/result.js";
import { hex } from "../model/address.js";
import { type ExplainOptions, explain } from "../report/explain.js";
import { bytes, columns } from "../report/text.js";
import type { CommandIo } from "./command.js";

/** Which table a walk began at. */
export type WalkRegime = "stage2" | "hyp" | "el1";

/** One question and the way to its answer. */
export interface Walk {
  readonly address: bigint;
  readonly access: AccessKind;
  /** Exception level of the access. */
  readonly el: 0 | 1 | 2;
  readonly explanation: WalkExplanation;
}

/** What the descriptors of a walk mean depends on it. */
export interface WalkRules {
  readonly regime: WalkRegime;
  readonly fwb: boolean;
}

const VERBS: Readonly<Record<AccessKind, string>> = { r: "read", w: "write", x: "fetch" };
const WORD_DIGITS = 16;

function meaning(step: WalkStep, { regime, fwb }: WalkRules): string {
  const { stage, level, kind, descriptor, granule, lpa2 } = step;
  if (descriptor === undefined) return step.stage === 1 && regime === "el1" ? "not read" : "no memory here";
  if (kind === "reserved") return `valid, but of a type that level ${level} does not have`;
  const stageName = stage === 2 ? "2" : regime === "hyp" ? "hyp" : "el1";
  const options: ExplainOptions = { stage: stageName, granule, lpa2, level, ...(stage === 2 ? { fwb } : {}) };
  const [reading] = explain(descriptor, options);
  const written = step.written === undefined ? "" : `; hardware writes ${changes(descriptor, step.written)}`;
  return `${reading?.brief ?? ""}${written}`;
}

/** What hardware changed in a descriptor. */
function changes(before: bigint, after: bigint): string {
  const dirty = ((before ^ after) & ~K.AF) !== 0n;
  const what = [(before ^ after) & K.AF ? "the access flag" : "", dirty ? "dirty state" : ""].filter((s) => s !== "");
  return what.join(" and ");
}

function letters({ read, write, execute }: Rights): string {
  return `${read ? "r" : "-"}${write ? "w" : "-"}${execute ? "x" : "-"}`;
}

function rightsText(t: Translation, { regime }: WalkRules): string {
  if (regime !== "el1") return letters(t.privileged);
  return `EL1 ${letters(t.privileged)}, EL0 ${letters(t.unprivileged)}`;
}

const CLASSES: Readonly<Record<number, string>> = {
  [K.EC_INSTRUCTION]: "instruction abort from a lower level",
  [K.EC_INSTRUCTION + 1]: "instruction abort from the same level",
  [K.EC_DATA]: "data abort from a lower level",
  [K.EC_DATA + 1]: "data abort from the same level",
};

function answerLines(result: Translation | TranslationFault, rules: WalkRules, io: CommandIo): string[] {
  if (result.ok) {
    const { type, shareability } = result.attributes;
    const about = `${rightsText(result, rules)}, ${type} ${shareability}, mapped as ${bytes(Number(result.size))}`;
    return [`${io.style("green", `PA ${hex(result.pa)}`)}  ${about}`];
  }
  const where = result.stage2 && rules.regime === "el1" ? " of stage 2" : "";
  const table = result.s1ptw ? ", on the way to a table of stage 1" : "";
  const head = `${result.kind} fault at level ${result.level}${where}${table}`;
  if (!result.exception) return [io.style("red", head)];
  const { el, esr, far, hpfar } = result.exception;
  const fsc = `FSC 0x${result.fsc.toString(16).padStart(2, "0")}`;
  const rows = [
    [`  ESR_EL${el}`, hex(esr), `${CLASSES[get(esr, K.ESR_EC)] ?? "exception"}, ${fsc}`],
    [`  FAR_EL${el}`, hex(far), ""],
    ...(result.stage2 ? [["  HPFAR_EL2", hex(hpfar), `IPA ${hex(result.ipa)}`]] : []),
  ];
  return [io.style("red", head), ...columns(rows)];
}

function stepRows(steps: readonly WalkStep[], rules: WalkRules): string[][] {
  const nested = rules.regime === "el1" && steps.some(({ stage }) => stage === 2);
  const head = [
    ...(nested ? ["stage"] : []),
    "level",
    ...(nested ? ["IPA"] : []),
    "descriptor at",
    "descriptor",
    "says",
  ];
  const rows = steps.map((step) => {
    const { stage, level, input, address, pa, descriptor } = step;
    const word = descriptor === undefined ? "" : hex(descriptor, WORD_DIGITS);
    // Alone, a stage names its descriptors by physical addresses.
    const at = pa ?? (nested && stage === 1 ? undefined : address);
    return [
      ...(nested ? [stage === 1 ? "1" : "  2"] : []),
      String(level),
      ...(nested ? [hex(stage === 1 ? address : input)] : []),
      at === undefined ? "" : hex(at),
      word,
      meaning(step, rules),
    ];
  });
  return [head, ...rows];
}

/** The walk as lines: the question, a line for each descriptor, and the answer. */
export function walkText({ address, access, el, explanation }: Walk, rules: WalkRules, io: CommandIo): string {
  const { steps, result } = explanation;
  const [head, ...rows] = columns(stepRows(steps, rules));
  return [
    io.style("bold", `${hex(address)}: ${VERBS[access]} from EL${el}`),
    "",
    ...(rows.length === 0 ? ["no descriptor is read"] : [io.style("dim", head ?? ""), ...rows]),
    "",
    ...answerLines(result, rules, io),
    "",
  ].join("\n");
}

function optionalHex(value: bigint | undefined): string | null {
  return value === undefined ? null : hex(value);
}

function stepJson(step: WalkStep, rules: WalkRules): Record<string, unknown> {
  const { stage, level, input, access, address, pa, descriptor, kind, output, written } = step;
  return {
    stage,
    level,
    input: hex(input),
    access,
    address: hex(address),
    pa: optionalHex(pa),
    descriptor: descriptor === undefined ? null : hex(descriptor, WORD_DIGITS),
    kind,
    output: optionalHex(output),
    written: written === undefined ? null : hex(written, WORD_DIGITS),
    meaning: meaning(step, rules),
  };
}

function faultJson(fault: TranslationFault): Record<string, unknown> {
  const { kind, fsc, level, stage2, s1ptw, ipa, par, exception } = fault;
  const registers = exception && {
    el: exception.el,
    esr: hex(exception.esr),
    far: hex(exception.far),
    hpfar: hex(exception.hpfar),
  };
  return {
    kind,
    level,
    stage: stage2 ? 2 : 1,
    fsc: hex(fsc),
    s1ptw,
    ipa: stage2 ? hex(ipa) : null,
    par: hex(par),
    ...registers,
  };
}

/** The walk as a JSON object. */
export function walkJson({ address, access, el, explanation }: Walk, rules: WalkRules): Record<string, unknown> {
  const { steps, result } = explanation;
  const head = { address: hex(address), access, el, steps: steps.map((step) => stepJson(step, rules)), ok: result.ok };
  if (!result.ok) return { ...head, pa: null, fault: faultJson(result) };
  const { pa, attributes, privileged, unprivileged, size } = result;
  const { type, shareability } = attributes;
  const memory = { type, shareability };
  return { ...head, pa: hex(pa), fault: null, size: hex(size), privileged, unprivileged, memory };
}
