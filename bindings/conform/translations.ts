// Recorded translations: a table image, registers, and what an independent MMU answered (mmu-vectors/FORMAT.md).

import * as K from "../core/constants.generated.js";
import { get, put } from "../core/field.js";
import type { Mmu, MmuOptions } from "../mmu/mmu.js";
import type { MmuRegisters } from "../mmu/registers.js";
import type { AccessKind, Translation, TranslationFault } from "../mmu/result.js";
import { hex } from "../model/address.js";

/** manifest.json of a set. `el1` is stage 1 of EL1&0, over stage 2 where `vttbr` is given; no recorded set has it. */
export interface SetManifest {
  readonly stage: "stage2" | "hyp" | "el1";
  readonly phys_base: string;
  readonly fwb?: boolean;
  readonly mode?: string;
  readonly vtcr?: string;
  readonly vttbr?: string;
  readonly tcr?: string;
  readonly ttbr0?: string;
  readonly mair?: string;
  // Of `el1`; what is left out is 0, but for SCTLR_EL1.M.
  readonly hcr?: string;
  readonly sctlr?: string;
  readonly ttbr1?: string;
}

/** One question: an address, R W or X, with 0 behind it when EL0 asks; by instruction or by a real access. */
export interface SetQuery {
  readonly addr: string;
  readonly access: string;
  readonly how?: string;
}

/** An answer in the form of results.jsonl. */
export interface SetAnswer extends SetQuery {
  readonly ok: boolean;
  readonly par: string | null;
  readonly pa: string | null;
  readonly attrs: object | null;
  readonly fault: object | null;
  readonly note?: string;
  readonly exception?: object;
}

/** A 64-bit word of the image that hardware changed. */
export interface ChangedWord {
  readonly offset: string;
  readonly phys: string;
  readonly before: string;
  readonly after: string;
}

/** A manifest that cannot be used; the message says why. */
export class SetError extends Error {
  override readonly name = "SetError";
}

/** A byte load or store of w1: what the recording machine's accesses put into ESR_EL2. */
const BYTE_OF_W1 = 0x0101_0000;
/** The recording machine's memory ends here. */
const MEMORY_END = 1n << 32n;
const NO_MEMORY = "translated; no memory at the output address (external abort)";
const CLASSES: Readonly<Record<number, string>> = {
  [K.EC_INSTRUCTION]: "instruction-abort-lower",
  [K.EC_INSTRUCTION + 1]: "instruction-abort-same",
  [K.EC_DATA]: "data-abort-lower",
  [K.EC_DATA + 1]: "data-abort-same",
};
/** Fault status of an external abort of the access itself, not of a walk. */
const EXTERNAL_ABORT = 0x10;

function value(manifest: SetManifest, name: Exclude<keyof SetManifest, "stage" | "fwb" | "mode">): bigint {
  const text = manifest[name];
  if (typeof text !== "string" || !/^0x[0-9a-f]{1,16}$/i.test(text))
    throw new SetError(`${name} is not a hexadecimal value`);
  return BigInt(text);
}

/** Stage 1 of EL1&0, over stage 2 where there is one. */
function guestRegisters(manifest: SetManifest): MmuRegisters {
  const given = (name: "hcr" | "sctlr" | "ttbr1", otherwise: bigint) =>
    manifest[name] === undefined ? otherwise : value(manifest, name);
  const second = manifest.vttbr !== undefined;
  const stage2 = second ? { vtcr: value(manifest, "vtcr"), vttbr: value(manifest, "vttbr") } : {};
  return {
    hcr: given("hcr", second ? K.HCR_VM : 0n) | (manifest.fwb ? K.HCR_FWB : 0n),
    sctlr: given("sctlr", K.SCTLR_M),
    tcr: value(manifest, "tcr"),
    ttbr0: value(manifest, "ttbr0"),
    ttbr1: given("ttbr1", 0n),
    mair: value(manifest, "mair"),
    ...stage2,
  };
}

function registers(manifest: SetManifest): MmuRegisters {
  if (manifest.stage === "el1") return guestRegisters(manifest);
  if (manifest.stage === "hyp") {
    const [tcr, ttbr0, mair] = [value(manifest, "tcr"), value(manifest, "ttbr0"), value(manifest, "mair")];
    return { sctlr: K.SCTLR_M, tcr, ttbr0, mair };
  }
  const hcr = K.HCR_VM | K.HCR_DC | (manifest.fwb ? K.HCR_FWB : 0n);
  return { hcr, vtcr: value(manifest, "vtcr"), vttbr: value(manifest, "vttbr") };
}

/** Options of the MMU that a manifest describes; SetError for one that is not of the format. */
export function optionsOf(manifest: SetManifest, image: Uint8Array): MmuOptions {
  const { stage } = manifest;
  if (stage !== "stage2" && stage !== "hyp" && stage !== "el1")
    throw new SetError(`stage is "stage2", "hyp" or "el1", not ${JSON.stringify(stage)}`);
  const physBase = value(manifest, "phys_base");
  if (physBase % BigInt(K.ENTRY_BYTES) !== 0n) throw new SetError("phys_base is not 8-byte aligned");
  return { image, physBase, regime: stage === "hyp" ? "el2" : "el1", registers: registers(manifest) };
}

const ACCESS = /^([RWX])(0?)$/;

function isHex(value: unknown): boolean {
  return typeof value === "string" && /^0x[0-9a-f]{1,16}$/i.test(value);
}

/** Is this object a line of results.jsonl, or of queries? */
export function isQuery(line: object): line is SetQuery {
  const { addr, access, how } = line as Partial<SetQuery>;
  const known = how === undefined || typeof how === "string";
  return isHex(addr) && typeof access === "string" && ACCESS.test(access) && known;
}

/** Is this object a line of changes.jsonl? */
export function isChangedWord(line: object): line is ChangedWord {
  const { offset, before, after } = line as Partial<ChangedWord>;
  return isHex(offset) && isHex(before) && isHex(after);
}

function className(esr: bigint): string {
  const ec = get(esr, K.ESR_EC);
  return CLASSES[ec] ?? hex(ec);
}

function failed(t: TranslationFault, at: boolean, fetch: boolean): object {
  const base = { fsc: hex(t.fsc), kind: t.kind, level: t.level, stage2: t.stage2, s1ptw: t.s1ptw };
  if (t.exception === undefined) return base;
  const { el, esr, far, hpfar } = t.exception;
  if (at) return { ...base, stage2: null, exception: { esr: hex(esr), far: hex(far) } };
  const exception = { esr: hex(esr), far: hex(far), hpfar: hex(hpfar), el, ec: className(esr) };
  const whole = { ...base, exception: fetch ? { ...exception, elr: hex(far) } : exception };
  return t.stage2 ? { ...whole, ipa: hex(t.ipa) } : whole;
}

/** The abort of an access that translates to where the recording machine had nothing. */
function noMemory(manifest: SetManifest, kind: AccessKind, el0: boolean, far: bigint): object {
  const ec = (kind === "x" ? K.EC_INSTRUCTION : K.EC_DATA) + (el0 ? 0 : 1),
    write = kind === "w" ? K.ESR_WNR : 0n;
  const esr = put(ec, K.ESR_EC) | K.ESR_IL | write | put(EXTERNAL_ABORT, K.ESR_FSC);
  const el = manifest.stage === "hyp" ? 2 : 1;
  return { esr: hex(esr), far: hex(far), hpfar: "0x0", el, ec: className(esr) };
}

function translated(manifest: SetManifest, query: SetQuery, t: Translation, nowhere: boolean): SetAnswer {
  const kind = query.access.charAt(0).toLowerCase() as AccessKind;
  const real = query.how === "real";
  const { attr, type, shareability } = t.attributes;
  const known =
    kind === "x"
      ? { par: null, pa: null, attrs: null }
      : { par: hex(t.par), pa: hex(t.pa), attrs: { attr: hex(attr), type, sh: shareability, ns: true } };
  const answer = { ...query, ...known, ok: true, fault: null };
  if (!real || (t.pa < MEMORY_END && !nowhere)) return answer;
  const far = kind === "x" ? BigInt(query.addr) & ~3n : BigInt(query.addr);
  return { ...answer, note: NO_MEMORY, exception: noMemory(manifest, kind, query.access.endsWith("0"), far) };
}

/**
 * Asks one question. `how` is the manifest's mode where the query has none. `nowhere`: the access aborted at its output
 * address, which only the recording machine can know for addresses below its memory.
 */
export function ask(mmu: Mmu, manifest: SetManifest, { addr, access, how }: SetQuery, nowhere = false): SetAnswer {
  const query = { addr, access, how: how ?? manifest.mode ?? "at" };
  const [, letter = "R", zero] = ACCESS.exec(access) ?? [];
  const kind = letter.toLowerCase() as AccessKind,
    el0 = zero === "0" && manifest.stage !== "hyp",
    at = query.how !== "real";
  const t = mmu.translate(BigInt(addr), kind, { el0, at, iss: BYTE_OF_W1 });
  if (t.ok) return translated(manifest, query, t, nowhere);
  const par = at && t.exception === undefined ? hex(t.par) : null;
  return { ...query, par, ok: false, pa: null, attrs: null, fault: failed(t, at, kind === "x") };
}

/** Words that differ between an image and what became of it. */
export function changedWords(before: Uint8Array, after: Uint8Array, base: bigint): ChangedWord[] {
  const [a, b] = [before, after].map((bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const changed: ChangedWord[] = [];
  for (let at = 0, end = K.ENTRY_BYTES; end <= before.length; at = end, end += K.ENTRY_BYTES) {
    if (before[at] === after[at] && Buffer.compare(before.subarray(at, end), after.subarray(at, end)) === 0) continue;
    const [was, is] = [a?.getBigUint64(at, true) ?? 0n, b?.getBigUint64(at, true) ?? 0n];
    changed.push({ offset: hex(at), phys: hex(base + BigInt(at)), before: hex(was), after: hex(is) });
  }
  return changed;
}

/** One field in which two answers differ. */
export interface Difference {
  readonly index: number;
  readonly field: string;
  readonly expected: unknown;
  readonly actual: unknown;
}

/** Instructions of the recording machine, which a table says nothing about. */
const NOT_OURS = new Set(["exception.elr", "fault.exception.elr", "note", "skipped", "data", "how", "addr", "access"]);

function compareFields(index: number, expected: object, actual: object, prefix: string, into: Difference[]): void {
  for (const [name, wanted] of Object.entries(expected)) {
    const field = prefix + name;
    if (wanted === null || NOT_OURS.has(field)) continue;
    const given = Object.hasOwn(actual, name) ? (actual as Record<string, unknown>)[name] : undefined;
    if (typeof wanted !== "object") {
      if (wanted !== given) into.push({ index, field, expected: wanted, actual: given });
    } else if (typeof given === "object" && given !== null) {
      compareFields(index, wanted, given, `${field}.`, into);
    } else {
      into.push({ index, field, expected: wanted, actual: given });
    }
  }
}

/** Did the recording machine find nothing at the output address? */
export function wentNowhere({ ok, exception }: SetAnswer): boolean {
  return ok === true && exception !== undefined;
}

/** Where an answer differs from the recorded one; what was not learnt (null) is not compared. */
export function differences(index: number, recorded: SetAnswer, ours: SetAnswer): Difference[] {
  const found: Difference[] = [];
  compareFields(index, recorded, ours, "", found);
  return found;
}

/** How a whole set compares. */
export interface SetComparison {
  /** Answers without a difference; those that the recording has not are among them. */
  readonly matched: number;
  /** Questions that were not asked then, or whose answer was not learnt. */
  readonly ignored: number;
  readonly differing: readonly Difference[];
  readonly words: { readonly expected: number; readonly matched: number };
  /** Words that we changed and the recording did not, or otherwise. */
  readonly strayWords: readonly ChangedWord[];
}

/** Asks what was asked, in order, and compares answers and, where they were recorded, changed words. */
export function compareSet(
  mmu: Mmu,
  manifest: SetManifest,
  image: Uint8Array,
  recorded: readonly SetAnswer[],
  words: readonly ChangedWord[] | undefined,
): SetComparison {
  const differing: Difference[] = [];
  let matched = 0,
    ignored = 0;
  recorded.forEach((answer, index) => {
    if (typeof answer.ok !== "boolean") ignored++;
    const found =
      typeof answer.ok === "boolean" ? differences(index, answer, ask(mmu, manifest, answer, wentNowhere(answer))) : [];
    if (found.length === 0) matched++;
    differing.push(...found);
  });
  if (words === undefined) return { matched, ignored, differing, words: { expected: 0, matched: 0 }, strayWords: [] };
  const expected = new Map(words.map(({ offset, after }) => [BigInt(offset), BigInt(after)]));
  const changed = changedWords(image, mmu.image(), BigInt(manifest.phys_base));
  const strayWords = changed.filter(({ offset, after }) => expected.get(BigInt(offset)) !== BigInt(after));
  const agreed = changed.length - strayWords.length;
  return { matched, ignored, differing, words: { expected: words.length, matched: agreed }, strayWords };
}
