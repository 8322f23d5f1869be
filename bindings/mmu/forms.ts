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

/** @internal The core's word for a form. */
export function formWord(form: TlbiForm): number {
  const word = WORDS.get(form);
  if (word === undefined) throw invalid("invalidate", `${String(form)} is no TLBI`);
  return word;
}

/** @internal Do other CPUs hear it? */
export function isBroadcast(form: TlbiForm): boolean {
  return formWord(form) >> K.TLBI_DOMAIN_LOW !== 0;
}

/**
 * Kinds of entries that `tlbiEffect` tells apart. The operand names one address and one ASID.
 *
 * @example
 * ```ts
 * import { ENTRY_KINDS, tlbiEffect } from "granule/mmu";
 * console.log(ENTRY_KINDS.filter((kind) => tlbiEffect("IPAS2E1", kind) === "drop").join()); // stage2Leaf,stage2Table
 * ```
 */
export const ENTRY_KINDS = [
  // Translations of EL1&0, both stages in one.
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
  // EL2.
  "el2Leaf",
  "el2LeafElsewhere",
  "el2Table",
] as const;

/** A kind of entry. */
export type EntryKind = (typeof ENTRY_KINDS)[number];

/**
 * `drop`: gone once the DSB is through. `may`: the form touches the address, but hardware may keep the entry, and the model
 * does [HWM-38..40]. `keep`: the form does not speak of it.
 */
export type TlbiEffect = "drop" | "may" | "keep";

// One letter a kind: d drop, m may, - keep.  leaves  tables stage2 EL2
const EFFECTS: Readonly<Record<TlbiScope, string>> = {
  VMALLE1: "ddd-d ddd mm-m ---",
  VMALLS12E1: "ddd-d ddd dd-d ---",
  ALLE1: "ddddd ddd dddd ---",
  ALLE2: "----- --- ---- ddd",
  ASIDE1: "d---d d-d ---- ---",
  VAE1: "d-d-- d-d ---- ---",
  VAAE1: "ddd-- ddd ---- ---",
  VALE1: "d-d-- m-m ---- ---",
  VAALE1: "ddd-- mmm ---- ---",
  VAE2: "----- --- ---- d-d",
  VALE2: "----- --- ---- d-m",
  IPAS2E1: "mmm-- --m d--d ---",
  IPAS2LE1: "mmm-- --m d--m ---",
  RVAE1: "d-d-- d-d ---- ---",
  RVAAE1: "ddd-- ddd ---- ---",
  RVALE1: "d-d-- m-m ---- ---",
  RVAALE1: "ddd-- mmm ---- ---",
  RVAE2: "----- --- ---- d-d",
  RVALE2: "----- --- ---- d-m",
  RIPAS2E1: "mmm-- --m d--d ---",
  RIPAS2LE1: "mmm-- --m d--m ---",
};

const LETTERS: Readonly<Record<string, TlbiEffect>> = { d: "drop", m: "may", "-": "keep" };

/**
 * What a TLBI without a level hint does to an entry: the truth table that the core is tested against, cell by cell. A hint
 * makes `may` of `drop` for leaves of another level or granule, and for tables [HWM-39].
 *
 * @example
 * ```ts
 * import { tlbiEffect } from "granule/mmu";
 * console.log(tlbiEffect("IPAS2E1IS", "stage2Leaf"), tlbiEffect("IPAS2E1IS", "leaf")); // drop may
 * ```
 */
export function tlbiEffect(form: TlbiForm, kind: EntryKind): TlbiEffect {
  formWord(form);
  const letters = EFFECTS[form.replace(/(?:IS|OS)$/, "") as TlbiScope].replaceAll(" ", "");
  return LETTERS[letters[ENTRY_KINDS.indexOf(kind)] ?? "-"] as TlbiEffect;
}
