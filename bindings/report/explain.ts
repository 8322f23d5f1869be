import * as K from "../core/constants.generated.js";
import { decodeAddress, linearBits, packedField } from "../core/descriptor.js";
import { fieldOf, fieldOfMask, get, lowOf, maskOf } from "../core/field.js";
import { shift } from "../core/granule.js";
import { type Granule, granuleShift } from "../model/granule.js";
import { type Cut, cut, type Field, type FieldRule, set } from "./fields.js";

/** The table that a descriptor comes from, as far as it is known. */
export interface ExplainOptions {
  /** A guest's stage-2 table, or the hypervisor's own EL2 stage-1 table. Default "2". */
  stage?: "2" | "hyp";
  /** Default 4096. */
  granule?: Granule;
  /** Level of the entry, -1..3. Without it, a descriptor with two possible meanings has a reading for each. */
  level?: number;
  /** 52-bit descriptors of 4K and 16K pages. Default false. */
  lpa2?: boolean;
  /** Stage 2 with forced write-back. Default: guessed from the memory attributes. */
  fwb?: boolean;
  /** EL2 with VHE's permission bits. Default false. */
  hvhe?: boolean;
  /** Separate execute rights for EL1 and EL0. Default false. */
  xnx?: boolean;
}

/** What a descriptor can be. */
export type ReadingKind = "page" | "block" | "table" | "reserved" | "empty" | "locked" | "annotation";

/** A descriptor read as one kind of entry. */
export interface Reading {
  kind: ReadingKind;
  /** Levels at which it has this meaning: `"3"`, `"-1..2"`. */
  levels: string;
  /** Its meaning in one sentence. */
  summary: string;
  /** All 64 bits, the highest first. */
  fields: Field[];
  /** Remarks on what may surprise. */
  notes: string[];
  /** Output address of a leaf or of the next table. */
  pa?: bigint;
}

interface Context {
  stage: "2" | "hyp";
  shift: number;
  level: number | undefined;
  lpa2: boolean;
  fwb: boolean | undefined;
  hvhe: boolean;
  xnx: boolean;
}

const XN_CODE = fieldOfMask(K.S2_XN_FIELD);
const S2_AP = fieldOfMask(K.S2_R | K.S2_W);
const NT_BIT = lowOf(fieldOfMask(K.NT));

const SHAREABILITY = [
  "non-shareable: this CPU alone",
  "reserved",
  "outer shareable",
  "inner shareable: all CPUs of the system",
];
const S2AP = ["no access: every access faults", "read only", "write only", "read and write"];
const XNX = ["executable at EL1 and EL0", "executable at EL0 only", "not executable", "executable at EL1 only"];

/** Stage-2 memory attributes [FMT-20, FMT-22]. */
function memAttr(v: number, fwb: boolean | undefined): string {
  // 0xf and 0x6 are what KVM writes for normal memory without and with FWB: 0x6 means nothing without it.
  const forced = fwb ?? (v === 6 || v === 7);
  if (v < 4) return `Device-${["nGnRnE", "nGnRE", "nGRE", "GRE"][v]}`;
  const by = forced ? "FWB" : "no FWB";
  if (forced) {
    return (
      (
        {
          5: `Normal non-cacheable (${by})`,
          6: `Normal write-back, whatever the guest says (${by})`,
          7: `as the guest's stage 1 says (${by})`,
        } as Record<number, string>
      )[v] ?? `reserved with FWB`
    );
  }
  const outer = ["", "non-cacheable", "write-through", "write-back"][v >> 2];
  const inner = ["reserved", "non-cacheable", "write-through", "write-back"][v & 3];
  return `Normal ${outer === inner ? outer : `outer ${outer}, inner ${inner}`} (${by}: the guest may make it weaker)`;
}

const MAIR_INDEX = ["Normal write-back", "Normal, tagged", "Normal non-cacheable", "Device-nGnRnE", "Device-nGnRE"];

/** EL2 access permissions [FMT-11]. */
function accessPermission(v: number, hvhe: boolean): string {
  if (hvhe) return ["read and write", "read and write, EL0 too", "read only", "read only, EL0 too"][v] as string;
  return v & 2 ? "read only" : "read and write";
}

function addressRules(c: Context, low: number): FieldRule[] {
  const text = (d: bigint) => `output address 0x${d.toString(16)}`;
  const packed = packedField(c.shift, c.lpa2),
    bits = linearBits(packed),
    wide = packed === K.PACKED_LPA2;
  const rules: FieldRule[] = [];
  // A block of a level that has none may be larger than the addresses in place.
  if (low < bits) {
    const meaning = (v: bigint) => (wide ? "output address, bits 49 and below" : text(v << BigInt(low)));
    rules.push(["OA", fieldOf(bits - 1, low), meaning, "hex"]);
  }
  if (packed !== 0) rules.push(["OAhi", packed, () => `output address, bits 51:${bits}`]);
  return rules;
}

function shareRules(c: Context): FieldRule[] {
  return packedField(c.shift, c.lpa2) === K.PACKED_LPA2 ? [] : [["SH", K.SH, (v) => SHAREABILITY[Number(v)] as string]];
}

function commonRules(c: Context, kind: "page" | "block" | "reserved"): FieldRule[] {
  const type = kind === "block" ? "0: a block, not a table" : kind === "page" ? "1: a page" : "0: reserved at level 3";
  return [
    ["SW", K.SW, (v) => (v === 0n ? "software bits, none set" : "software bits SW3..SW0: the hardware ignores them")],
    ["Cont", K.CONTIGUOUS, set("one of a run of entries that a TLB may cache as one", "contiguous hint, not set")],
    ["DBM", K.DBM, set("the hardware may turn read-only into writable: dirty state", "dirty bit modifier, not set")],
    [
      "AF",
      K.AF,
      set("accessed: may be used and cached", "not accessed yet: the first use faults, or hardware sets it"),
    ],
    ["type", K.TYPE, () => type],
    ["V", K.VALID, () => "valid"],
    ...shareRules(c),
  ];
}

function stage2Rules(c: Context): FieldRule[] {
  const xn: FieldRule[] = c.xnx
    ? [["XN", XN_CODE, (v) => XNX[Number(v)] as string]]
    : [["XN", K.XN, set("execute never", "executable")]];
  return [
    ...xn,
    ["S2AP", S2_AP, (v) => `${S2AP[Number(v)]} (bit 7 write, bit 6 read)`],
    ["MemAttr", K.S2_ATTR, (v) => memAttr(Number(v), c.fwb)],
  ];
}

function hypRules(c: Context): FieldRule[] {
  const xn: FieldRule[] = c.hvhe
    ? [
        ["UXN", K.XN, set("EL0 must not execute", "EL0 may execute")],
        ["PXN", K.PXN, set("EL2 must not execute", "EL2 may execute")],
      ]
    : [["XN", K.XN, set("execute never", "executable")]];
  return [
    ...xn,
    ["GP", K.GP, set("guarded page: branches must land on BTI", "not guarded")],
    ["nG", K.NOT_GLOBAL, set("belongs to one address space only", "global")],
    ["AP", K.S1_AP, (v) => accessPermission(Number(v), c.hvhe)],
    ["NS", K.S1_NS, set("non-secure", "as the current state")],
    ["Attr", K.S1_ATTR, (v) => `MAIR index ${v}: ${MAIR_INDEX[Number(v)] ?? "not used by Linux"} in Linux's order`],
  ];
}

function sizeName(bits: number): string {
  const units = ["B", "K", "M", "G", "T", "P", "E"];
  return `${2 ** (bits % 10)}${units[Math.floor(bits / 10)]}`;
}

function leafRights(d: bigint, c: Context): string[] {
  const never = (d & K.XN) !== 0n;
  if (c.stage === "2") {
    const execute = c.xnx ? (XNX[get(d, XN_CODE)] as string) : never ? "not executable" : "executable";
    return [
      S2AP[get(d, S2_AP)] as string,
      execute,
      memAttr(get(d, K.S2_ATTR), c.fwb).replace(/(?:, whatever| \().*/, ""),
    ];
  }
  const execute = never && (!c.hvhe || d & K.PXN) ? "not executable" : "executable";
  return [accessPermission(get(d, K.S1_AP), c.hvhe), execute, MAIR_INDEX[get(d, K.S1_ATTR)] ?? "unused MAIR index"];
}

function leafNotes(d: bigint, c: Context, kind: "page" | "block" | "reserved"): string[] {
  const notes: string[] = [];
  if (kind === "reserved")
    notes.push("Valid with type 0 at level 3: hardware faults on it, software treats it as a leaf [FMT-5].");
  const minimum = c.shift === K.PS_4K ? 1 : 2;
  if (kind === "block" && c.level !== undefined && c.level < minimum) {
    notes.push(`KVM makes no blocks at level ${c.level} with this granule [GEO-3].`);
  }
  if (kind === "block" && c.level === undefined)
    notes.push("Without --level neither the size nor the number of address bits is known.");
  if (c.stage === "2" && c.fwb === undefined)
    notes.push("Memory type read as KVM writes it; --fwb or --no-fwb says what the CPU does.");
  if (c.stage === "2" && !c.xnx && d & K.PXN) notes.push("Bit 53 is set: with FEAT_XNX it is part of XN (--xnx).");
  return notes;
}

function leaf(d: bigint, c: Context, kind: "page" | "block" | "reserved"): Reading {
  const low = kind === "block" && c.level !== undefined ? shift(c.shift, c.level) : c.shift;
  const rules: Cut = [
    ...commonRules(c, kind),
    ...(c.stage === "2" ? stage2Rules(c) : hypRules(c)),
    ...addressRules(c, low),
  ];
  if (kind === "block" && low > NT_BIT + 1)
    rules.push(["nT", K.NT, set("block size is being changed (FEAT_BBM)", "not in a change of size")]);
  const pa = (decodeAddress(c.shift, c.lpa2, d) >> BigInt(low)) << BigInt(low);
  const size =
    kind === "block" ? (c.level === undefined ? "block" : `block of ${sizeName(low)}`) : `${sizeName(low)} page`;
  const [access, execute, memory] = leafRights(d, c);
  const age = d & K.AF ? "accessed" : "not accessed yet";
  return {
    kind,
    levels: c.level === undefined ? (kind === "block" ? "0..2" : "3") : String(c.level),
    summary: `A ${kind === "reserved" ? "reserved entry" : size} at 0x${pa.toString(16)}: ${access}, ${execute}, ${memory}, ${age}.`,
    fields: cut(d, rules),
    notes: leafNotes(d, c, kind),
    pa,
  };
}

function table(d: bigint, c: Context): Reading {
  const pa = decodeAddress(c.shift, c.lpa2, d);
  const limits: FieldRule[] =
    c.stage === "2"
      ? []
      : [
          ["NST", K.NS_TABLE, set("the tables below are non-secure", "no limit")],
          [
            "APT",
            K.AP_TABLE_READ_ONLY | K.AP_TABLE_EL0,
            (v) => (v === 0n ? "no limit on access below" : "limits access below"),
          ],
          ["XNT", K.XN_TABLE, set("nothing below is executable", "no limit on execution below")],
          ["PXNT", K.PXN_TABLE, set("nothing below is executable at EL2", "no limit on EL2 execution below")],
        ];
  const next: FieldRule[] = addressRules(c, c.shift).map(([name, bits, , form]) => [
    name === "OA" ? "next" : "nextHi",
    bits,
    () => (name === "OA" ? `next table at 0x${pa.toString(16)}` : "next table, upper bits"),
    form,
  ]);
  return {
    kind: "table",
    levels: c.level === undefined ? "-1..2" : String(c.level),
    summary: `The next table, at 0x${pa.toString(16)}: the walk continues there, one level down.`,
    fields: cut(d, [...limits, ...next, ["type", K.TYPE, () => "1: a table"], ["V", K.VALID, () => "valid"]]),
    notes: c.stage === "2" ? [] : ["KVM writes address and type only: no limits for the tables below [FMT-7]."],
    pa,
  };
}

const TYPES_7X = [
  "not typed",
  "locked: a walker is changing this entry",
  "donated by the host",
  "poisoned for the guest",
];

function typed(d: bigint): Reading {
  const type = get(d, K.ANNOTATION_TYPE);
  const meaning = TYPES_7X[type] ?? "not known";
  return {
    kind: type === K.TYPE_LOCKED ? "locked" : "annotation",
    levels: "any",
    summary: `Not valid; annotated as Linux 7.x does: ${meaning}.`,
    fields: cut(d, [
      ["type", K.ANNOTATION_TYPE, () => meaning],
      ["payload", K.ANNOTATION_PAYLOAD, () => "belongs to the type", "hex"],
      ["V", K.VALID, () => "not valid"],
    ]),
    notes: [
      "Hardware looks at bit 0 only: a translation fault.",
      "Read in the encoding of 7.x, since bits 63:60 are set [FMT-41].",
    ],
  };
}

function invalid(d: bigint): Reading {
  const locked = (d & K.LOCKED_612) !== 0n;
  const owner = get(d, K.ANNOTATION_OWNER);
  const kind: ReadingKind = d === 0n ? "empty" : locked ? "locked" : "annotation";
  const says = {
    empty: "nothing is mapped",
    locked: "a walker is changing this entry",
    annotation: `the page is owned by ${owner}`,
  };
  return {
    kind,
    levels: "any",
    summary: `Not valid: ${says[kind as "empty"]}.`,
    fields: cut(d, [
      ["lock", K.LOCKED_612, set("locked: a walker is changing this entry", "not locked")],
      [
        "owner",
        K.ANNOTATION_OWNER,
        (v) => (v === 0n ? "no owner named" : v === 1n ? "the hypervisor" : "no owner that Linux has"),
      ],
      ["V", K.VALID, () => "not valid"],
    ]),
    notes: [
      "Hardware looks at bit 0 only: a translation fault.",
      ...(kind === "empty" ? [] : ["Read in the encoding of Linux up to 7.0 [FMT-40]."]),
    ],
  };
}

/**
 * Explains a 64-bit descriptor, field by field. It returns one reading, or two with the likelier first where the meaning
 * depends on a level that is not given.
 *
 * @example
 * ```ts
 * import { explain } from "granule/report";
 * const [reading] = explain(0x0040_0000_4000_07ffn, { level: 3 });
 * console.log(reading?.kind); // page
 * ```
 */
export function explain(descriptor: bigint, options: ExplainOptions = {}): Reading[] {
  const c: Context = {
    stage: options.stage ?? "2",
    shift: granuleShift(options.granule ?? 4096),
    level: options.level,
    lpa2: options.lpa2 ?? false,
    fwb: options.fwb,
    hvhe: options.hvhe ?? false,
    xnx: options.xnx ?? false,
  };
  if (!(descriptor & K.VALID))
    return [get(descriptor, K.ANNOTATION_TYPE) === 0 ? invalid(descriptor) : typed(descriptor)];
  if (!(descriptor & K.TYPE)) return [leaf(descriptor, c, c.level === 3 ? "reserved" : "block")];
  if (c.level === 3) return [leaf(descriptor, c, "page")];
  if (c.level !== undefined) return [table(descriptor, c)];
  const readings = [leaf(descriptor, c, "page"), table(descriptor, c)];
  // A leaf always has attributes; nothing but address and type is a table as KVM writes it [FMT-7].
  return onlyAddress(descriptor, c) ? readings.reverse() : readings;
}

function onlyAddress(d: bigint, c: Context): boolean {
  const packed = packedField(c.shift, c.lpa2),
    address = packed === K.PACKED_LPA2 ? maskOf(packed) : 0n;
  return (d & K.LEAF_ATTRIBUTES & ~address) === 0n;
}
