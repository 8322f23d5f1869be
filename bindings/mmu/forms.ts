// TLB maintenance instructions: their words for the core, and what each does to each kind of entry, as data.

import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";

/** What a TLBI names, without who hears it. */
const SCOPES = {
  VMALLE1: K.TLBI_STAGE1,
  VMALLS12E1: K.TLBI_VMID,
  ALLE1: K.TLBI_ALL,
  ALLE2: K.TLBI_ALL | K.TLBI_EL2,
  ASIDE1: K.TLBI_ASID,
  VAE1: K.TLBI_VA,
  VAAE1: K.TLBI_VAA,
  VALE1: K.TLBI_VA | K.TLBI_LAST,
  VAALE1: K.TLBI_VAA | K.TLBI_LAST,
  VAE2: K.TLBI_VA | K.TLBI_EL2,
  VALE2: K.TLBI_VA | K.TLBI_LAST | K.TLBI_EL2,
  IPAS2E1: K.TLBI_IPA,
  IPAS2LE1: K.TLBI_IPA | K.TLBI_LAST,
  RVAE1: K.TLBI_VA | K.TLBI_RANGE,
  RVAAE1: K.TLBI_VAA | K.TLBI_RANGE,
  RVALE1: K.TLBI_VA | K.TLBI_LAST | K.TLBI_RANGE,
  RVAALE1: K.TLBI_VAA | K.TLBI_LAST | K.TLBI_RANGE,
  RVAE2: K.TLBI_VA | K.TLBI_EL2 | K.TLBI_RANGE,
  RVALE2: K.TLBI_VA | K.TLBI_LAST | K.TLBI_EL2 | K.TLBI_RANGE,
  RIPAS2E1: K.TLBI_IPA | K.TLBI_RANGE,
  RIPAS2LE1: K.TLBI_IPA | K.TLBI_LAST | K.TLBI_RANGE,
} as const;

/** A TLBI as its mnemonic has it, without IS or OS. */
export type TlbiScope = keyof typeof SCOPES;

/** A TLBI: alone it is for the CPU that issues it, with IS or OS for all in the inner or outer shareable domain. */
export type TlbiForm = TlbiScope | `${TlbiScope}IS` | `${TlbiScope}OS`;

const DOMAINS = ["", "IS", "OS"] as const;

/**
 * Every form that `Tlb.invalidate` knows.
 *
 * @example
 * ```ts
 * import { TLBI_FORMS } from "granule/mmu";
 * console.log(TLBI_FORMS.length, TLBI_FORMS.includes("RIPAS2LE1OS")); // 63 true
 * ```
 */
export const TLBI_FORMS: readonly TlbiForm[] = Object.keys(SCOPES).flatMap((scope) =>
  DOMAINS.map((domain) => `${scope}${domain}` as TlbiForm),
);

const WORDS: ReadonlyMap<string, number> = new Map(
  Object.entries(SCOPES).flatMap(([scope, word]) =>
    DOMAINS.map((domain, i) => [scope + domain, word | (i << K.TLBI_DOMAIN_LOW)] as const),
  ),
);

/** @internal The core's word for a form, without what its CPU adds. */
export function formWord(form: TlbiForm): number {
  const word = WORDS.get(form);
  if (word === undefined) throw invalid("invalidate", `${String(form)} is not a TLBI`);
  return word;
}

/** @internal Do other CPUs hear it? */
export function isBroadcast(form: TlbiForm): boolean {
  return formWord(form) >> K.TLBI_DOMAIN_LOW !== 0;
}

/** Kinds of entries of EL1&0. */
const GUEST_KINDS = [
  // Translations, both stages in one.
  "leaf",
  "leafOfOtherAsid",
  "globalLeaf",
  "leafOfOtherVmid",
  "leafElsewhere",
  // Tables of stage 1 in a walk cache, one of them with its physical address.
  "table1",
  "table1OfOtherAsid",
  "tableOfBoth",
  // What stage 2 alone says.
  "stage2Leaf",
  "stage2LeafElsewhere",
  "stage2LeafOfOtherVmid",
  "stage2Table",
] as const;
/** Of EL2&0, and what each is like where an EL1 form acts on EL2&0. */
const AS_GUEST = {
  hostLeaf: "leaf",
  hostLeafOfOtherAsid: "leafOfOtherAsid",
  globalHostLeaf: "globalLeaf",
  hostLeafElsewhere: "leafElsewhere",
  hostTable: "table1",
  hostTableOfOtherAsid: "table1OfOtherAsid",
} as const;
const HOST_KINDS = Object.keys(AS_GUEST) as (keyof typeof AS_GUEST)[];
const EL2_KINDS = ["el2Leaf", "el2LeafElsewhere", "el2Table"] as const;

/**
 * Kinds of entries that `tlbiEffect` tells apart. The operand names one address and one ASID.
 *
 * @example
 * ```ts
 * import { ENTRY_KINDS, tlbiEffect } from "granule/mmu";
 * console.log(ENTRY_KINDS.filter((kind) => tlbiEffect("IPAS2E1", kind) === "drop").join()); // stage2Leaf,stage2Table
 * ```
 */
export const ENTRY_KINDS: readonly (
  | (typeof GUEST_KINDS)[number]
  | keyof typeof AS_GUEST
  | (typeof EL2_KINDS)[number]
)[] = [...GUEST_KINDS, ...HOST_KINDS, ...EL2_KINDS];

/**
 * A kind of entry.
 *
 * @example
 * ```ts
 * import { type EntryKind, tlbiEffect } from "granule/mmu";
 * const survives = (kind: EntryKind) => tlbiEffect("IPAS2E1IS", kind) !== "drop";
 * console.log(survives("leaf"), survives("stage2Leaf")); // true false
 * ```
 */
export type EntryKind = (typeof ENTRY_KINDS)[number];

/**
 * `drop`: gone once the DSB is through. `may`: the form touches the address, but hardware may keep the entry, and the model
 * does [HWM-38..40]. `keep`: the form does not speak of it.
 */
export type TlbiEffect = "drop" | "may" | "keep";

/** HCR_EL2.E2H and TGE of the CPU that issues a TLBI: they choose the regime that it acts on (Arm ARM C5.5). */
export interface HostBits {
  /** EL2 runs a host: the forms of EL2 act on EL2&0. Default false. */
  e2h?: boolean;
  /** With `e2h`: the EL1 forms of stage 1 act on EL2&0 too. Default false. */
  tge?: boolean;
}

// One letter a kind: d drop, m may, - keep.
const EL1_EFFECTS: Readonly<Record<string, string>> = {
  //          leaves tables stage 2
  VMALLE1: "ddd-d ddd mm-m",
  VMALLS12E1: "ddd-d ddd dd-d",
  ALLE1: "ddddd ddd dddd",
  ASIDE1: "d---d d-d ----",
  VAE1: "d-d-- d-d ----",
  VAAE1: "ddd-- ddd ----",
  VALE1: "d-d-- m-m ----",
  VAALE1: "ddd-- mmm ----",
  IPAS2E1: "mmm-- --m d--d",
  IPAS2LE1: "mmm-- --m d--m",
  RVAE1: "d-d-- d-d ----",
  RVAAE1: "ddd-- ddd ----",
  RVALE1: "d-d-- m-m ----",
  RVAALE1: "ddd-- mmm ----",
  RIPAS2E1: "mmm-- --m d--d",
  RIPAS2LE1: "mmm-- --m d--m",
};
const EL2_EFFECTS: Readonly<Record<string, string>> = {
  //     host's EL2's
  ALLE2: "dddddd ddd",
  VAE2: "d-d-d- d-d",
  VALE2: "d-d-m- d-m",
  RVAE2: "d-d-d- d-d",
  RVALE2: "d-d-m- d-m",
};
const LETTERS: Readonly<Record<string, TlbiEffect>> = { d: "drop", m: "may", "-": "keep" };

/** The letter of a kind in a row whose letters are for `kinds`. */
function letterOf(row: string | undefined, kinds: readonly string[], kind: string | undefined): string {
  return row?.replaceAll(" ", "")[kinds.indexOf(kind ?? "")] ?? "-";
}

function effectLetter(scope: string, kind: EntryKind, { e2h = false, tge = false }: HostBits): string {
  const ofEl2 = EL2_EFFECTS[scope];
  const guestKind: string | undefined = (AS_GUEST as Readonly<Record<string, string>>)[kind];
  if (ofEl2 !== undefined) {
    const isHost = guestKind !== undefined;
    return isHost === e2h ? letterOf(ofEl2, [...HOST_KINDS, ...EL2_KINDS], kind) : "-";
  }
  const host = e2h && tge && !/IPAS2|S12|^ALL/.test(scope);
  return letterOf(EL1_EFFECTS[scope], GUEST_KINDS, host ? guestKind : kind);
}

/**
 * What a TLBI without a level hint does to an entry: the truth table that the core is tested against, cell by cell. A hint
 * makes `may` of `drop` for leaves of another level or granule, and for tables [HWM-39].
 *
 * @example
 * ```ts
 * import { tlbiEffect } from "granule/mmu";
 * console.log(tlbiEffect("IPAS2E1IS", "stage2Leaf"), tlbiEffect("IPAS2E1IS", "leaf")); // drop may
 * // A VHE host that has not cleared TGE flushes itself, and not the guest.
 * console.log(tlbiEffect("VMALLE1IS", "leaf", { e2h: true, tge: true })); // keep
 * ```
 */
export function tlbiEffect(form: TlbiForm, kind: EntryKind, host: HostBits = {}): TlbiEffect {
  formWord(form);
  const scope = form.replace(/(?:IS|OS)$/, "");
  return LETTERS[effectLetter(scope, kind, host)] as TlbiEffect;
}
