import { checkChoice, checkOptions, describe, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { decodeAddress, linearBits, packedField } from "../core/descriptor.js";
import { invalid as refuse } from "../core/errors.js";
import { fieldOf, fieldOfMask, get, lowOf, maskOf } from "../core/field.js";
import { shift } from "../core/granule.js";
import { type Granule, granuleShift } from "../model/granule.js";
import { type Cut, cut, type Field, type FieldRule, set } from "./fields.js";

/** The table that a descriptor comes from, as far as it is known. */
export interface ExplainOptions {
  /**
   * A guest's stage-2 table, the hypervisor's own EL2 stage-1 table, or a stage-1 table of EL1&0, as every kernel and every
   * process has one. Default "2".
   */
  stage?: "2" | "hyp" | "el1";
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

/** What a descriptor can be. An `invalid` one is software's own: stage 1 of EL1&0 has no annotations of KVM. */
export type ReadingKind = "page" | "block" | "table" | "reserved" | "empty" | "locked" | "annotation" | "invalid";

/** A descriptor read as one kind of entry. */
export interface Reading {
  /** What kind of entry this reading makes of it. */
  kind: ReadingKind;
  /** Levels at which it has this meaning: `"3"`, `"-1..2"`. */
  levels: string;
  /** Its meaning in one sentence. */
  summary: string;
  /** The same in a few words, for a line of a list: `2M block at 0x80000000: rw-, Normal write-back`. */
  brief: string;
  /** All 64 bits, the highest first. */
  fields: Field[];
  /** Remarks on what may surprise. */
  notes: string[];
  /** Output address of a leaf or of the next table. */
  pa?: bigint;
}

interface Context {
  stage: "2" | "hyp" | "el1";
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
const XNX_LETTERS = "xu-p";
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

/** AP[2:1] with which EL0 may write. */
const EL0_WRITES = 1;
const TABLE_ACCESS = [
  "no limit on access below",
  "nothing below is for EL0",
  "nothing below is writable",
  "nothing below is writable or for EL0",
];
const MAIR_INDEX = ["Normal write-back", "Normal, tagged", "Normal non-cacheable", "Device-nGnRnE", "Device-nGnRE"];

/** Has the regime two privilege levels: EL1&0, and EL2&0 of hVHE? */
function isSplit(c: Context): boolean {
  return c.stage === "el1" || c.hvhe;
}

/** The privileged level of a stage-1 regime. */
function privileged(c: Context): string {
  return c.stage === "el1" ? "EL1" : "EL2";
}

/** Stage-1 access permissions [FMT-11]. */
function accessPermission(v: number, c: Context): string {
  const access = v & 2 ? "read only" : "read and write";
  if (c.stage === "el1") return `${access} for EL1${v & 1 ? " and EL0" : ", nothing for EL0"}`;
  return c.hvhe && v & 1 ? `${access}, EL0 too` : access;
}

/** Who may execute a stage-1 leaf: UXN and PXN, and EL1 never what EL0 may write (Arm ARM D8.4.1). */
function stage1Execute(d: bigint, c: Context): string {
  if (!isSplit(c)) return d & K.XN ? "not executable" : "executable";
  const el0 = (d & K.XN) === 0n,
    el1 = (d & K.PXN) === 0n && get(d, K.S1_AP) !== EL0_WRITES;
  if (c.stage === "hyp") return el0 || el1 ? "executable" : "not executable";
  if (el0 && el1) return "executable at EL1 and EL0";
  if (!el0 && !el1) return "not executable";
  return `executable at ${el0 ? "EL0" : "EL1"} only`;
}

/** Software bits, as Linux uses two of them in stage-1 entries. */
function softwareBits(v: number, c: Context): string {
  if (v === 0) return "software bits, none set";
  if (c.stage !== "el1") return "software bits SW3..SW0: the hardware ignores them";
  const names = ["dirty", "special", "SW2", "SW3"].filter((_, i) => v & (1 << i));
  return `software bits: ${names.join(", ")} (dirty, special: Linux's meaning)`;
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
    ["SW", K.SW, (v) => softwareBits(Number(v), c)],
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

function stage1Rules(c: Context): FieldRule[] {
  const el = privileged(c);
  const xn: FieldRule[] = isSplit(c)
    ? [
        ["UXN", K.XN, set("EL0 must not execute", "EL0 may execute")],
        ["PXN", K.PXN, set(`${el} must not execute`, `${el} may execute`)],
      ]
    : [["XN", K.XN, set("execute never", "executable")]];
  return [
    ...xn,
    ["GP", K.GP, set("guarded page: branches must land on BTI", "not guarded")],
    ["nG", K.NOT_GLOBAL, set("belongs to one address space only", "global")],
    ["AP", K.S1_AP, (v) => accessPermission(Number(v), c)],
    ["NS", K.S1_NS, set("non-secure", "as the current state")],
    ["Attr", K.S1_ATTR, (v) => `MAIR index ${v}: ${MAIR_INDEX[Number(v)] ?? "not used by Linux"} in Linux's order`],
  ];
}

function sizeName(bits: number): string {
  const units = ["B", "K", "M", "G", "T", "P", "E"];
  return `${2 ** (bits % 10)}${units[Math.floor(bits / 10)]}`;
}

function leafRights(d: bigint, c: Context): string[] {
  if (c.stage === "2") {
    const execute = c.xnx ? (XNX[get(d, XN_CODE)] as string) : d & K.XN ? "not executable" : "executable";
    return [
      S2AP[get(d, S2_AP)] as string,
      execute,
      memAttr(get(d, K.S2_ATTR), c.fwb).replace(/(?:, whatever| \().*/, ""),
    ];
  }
  const memory = MAIR_INDEX[get(d, K.S1_ATTR)] ?? "unused MAIR index";
  return [accessPermission(get(d, K.S1_AP), c), stage1Execute(d, c), memory];
}

/** Rights as letters. With FEAT_XNX, u stands for execution at EL0 only, p for EL1 only. */
function leafLetters(d: bigint, c: Context): string {
  const word = (read: boolean, write: boolean, execute: string) => `${read ? "r" : "-"}${write ? "w" : "-"}${execute}`;
  if (c.stage === "2") {
    const execute = c.xnx ? XNX_LETTERS.charAt(get(d, XN_CODE)) : d & K.XN ? "-" : "x";
    return word((d & K.S2_R) !== 0n, (d & K.S2_W) !== 0n, execute);
  }
  const ap = get(d, K.S1_AP),
    writes = (ap & 2) === 0,
    user = (ap & 1) !== 0;
  if (!isSplit(c)) return word(true, writes, d & K.XN ? "-" : "x");
  const own = word(true, writes, d & K.PXN || ap === EL0_WRITES ? "-" : "x");
  return `${privileged(c)} ${own}, EL0 ${word(user, user && writes, d & K.XN ? "-" : "x")}`;
}

function leafBrief(d: bigint, c: Context, what: string, memory: string): string {
  const marks = [
    d & K.AF ? "" : ", not accessed",
    d & K.DBM ? ", DBM" : "",
    d & K.CONTIGUOUS ? ", contiguous" : "",
  ].join("");
  return `${what}: ${leafLetters(d, c)}, ${memory}${marks}`;
}

function leafNotes(d: bigint, c: Context, kind: "page" | "block" | "reserved"): string[] {
  const notes: string[] = [];
  if (kind === "reserved")
    notes.push("Valid with type 0 at level 3: hardware faults on it, software treats it as a leaf [FMT-5].");
  const minimum = c.shift === K.PS_4K ? 1 : 2;
  if (kind === "block" && c.stage !== "el1" && c.level !== undefined && c.level < minimum) {
    notes.push(`KVM makes no blocks at level ${c.level} with this granule [GEO-3].`);
  }
  if (kind === "block" && c.level === undefined)
    notes.push("Without --level neither the size nor the number of address bits is known.");
  if (c.stage === "2" && c.fwb === undefined)
    notes.push("Memory type read as KVM writes it; --fwb or --no-fwb says what the CPU does.");
  if (c.stage === "2" && !c.xnx && d & K.PXN) notes.push("Bit 53 is set: with FEAT_XNX it is part of XN (--xnx).");
  if (c.stage === "2" && d & K.NOT_GLOBAL)
    notes.push("Bit 11 is set, which KVM never does: if this is an entry of stage 1, say so (--stage el1).");
  if (c.stage === "el1") notes.push(...el1Notes(d));
  return notes;
}

function el1Notes(d: bigint): string[] {
  const notes = ["Memory type in Linux's order of MAIR_EL1; other systems number the types as they like."];
  const ap = get(d, K.S1_AP);
  if (ap === EL0_WRITES && !(d & K.PXN)) notes.push("EL0 may write it, so EL1 may not execute it, whatever PXN says.");
  if (d & K.DBM && ap & 2)
    notes.push("Clean but writable: the first write clears AP[2], where hardware keeps dirty state (TCR_EL1.HD).");
  return notes;
}

function leaf(d: bigint, c: Context, kind: "page" | "block" | "reserved"): Reading {
  const low = kind === "block" && c.level !== undefined ? shift(c.shift, c.level) : c.shift;
  const rules: Cut = [
    ...commonRules(c, kind),
    ...(c.stage === "2" ? stage2Rules(c) : stage1Rules(c)),
    ...addressRules(c, low),
  ];
  if (kind === "block" && low > NT_BIT + 1)
    rules.push(["nT", K.NT, set("block size is being changed (FEAT_BBM)", "not in a change of size")]);
  const pa = (decodeAddress(c.shift, c.lpa2, d) >> BigInt(low)) << BigInt(low);
  const known = kind !== "block" || c.level !== undefined,
    size = known ? sizeName(low) : "";
  const what = kind === "block" ? (known ? `block of ${size}` : "block") : `${size} page`;
  const [access = "", execute = "", memory = ""] = leafRights(d, c);
  const age = d & K.AF ? "accessed" : "not accessed yet";
  return {
    kind,
    levels: c.level === undefined ? (kind === "block" ? "0..2" : "3") : String(c.level),
    brief: leafBrief(d, c, `${known ? `${size} ` : ""}${kind} at 0x${pa.toString(16)}`, memory),
    summary: `A ${kind === "reserved" ? "reserved entry" : what} at 0x${pa.toString(16)}: ${access}, ${execute}, ${memory}, ${age}.`,
    fields: cut(d, rules),
    notes: leafNotes(d, c, kind),
    pa,
  };
}

function table(d: bigint, c: Context): Reading {
  const pa = decodeAddress(c.shift, c.lpa2, d),
    el = privileged(c);
  const limits: FieldRule[] =
    c.stage === "2"
      ? []
      : [
          ["NST", K.NS_TABLE, set("the tables below are non-secure", "no limit")],
          ["APT", K.AP_TABLE_READ_ONLY | K.AP_TABLE_EL0, (v) => TABLE_ACCESS[Number(v)] as string],
          ...(isSplit(c)
            ? ([
                ["UXNT", K.XN_TABLE, set("nothing below is executable at EL0", "no limit on EL0 execution below")],
              ] as Cut)
            : ([["XNT", K.XN_TABLE, set("nothing below is executable", "no limit on execution below")]] as Cut)),
          ["PXNT", K.PXN_TABLE, set(`nothing below is executable at ${el}`, `no limit on ${el} execution below`)],
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
    brief: `table at 0x${pa.toString(16)}`,
    summary: `The next table, at 0x${pa.toString(16)}: the walk continues there, one level down.`,
    fields: cut(d, [...limits, ...next, ["type", K.TYPE, () => "1: a table"], ["V", K.VALID, () => "valid"]]),
    notes: c.stage !== "hyp" ? [] : ["KVM writes address and type only: no limits for the tables below [FMT-7]."],
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
    brief: `not valid: ${meaning}`,
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

/** Stage 1 of EL1&0: what is not valid is software's own. */
function unused(d: bigint): Reading {
  return {
    kind: d === 0n ? "empty" : "invalid",
    levels: "any",
    summary: d === 0n ? "Not valid: nothing is mapped." : "Not valid: hardware looks at no other bit, software may.",
    brief: d === 0n ? "empty" : "not valid: software's own",
    fields: cut(d, [
      [
        "software",
        fieldOf(63, 1),
        () => "what software keeps here: Linux notes where a page was swapped out to",
        "hex",
      ],
      ["V", K.VALID, () => "not valid"],
    ]),
    notes: ["An access takes a translation fault."],
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
    brief: d === 0n ? "empty" : `not valid: ${says[kind as "empty"]}`,
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

const OPTIONS: OptionKinds<ExplainOptions> = {
  stage: "any",
  granule: "any",
  level: "number",
  lpa2: "boolean",
  fwb: "boolean",
  hvhe: "boolean",
  xnx: "boolean",
};

function checkExplain(descriptor: bigint, options: ExplainOptions): void {
  const { stage, granule, level } = checkOptions("explain", options, OPTIONS);
  if (typeof descriptor !== "bigint" || BigInt.asUintN(64, descriptor) !== descriptor) {
    throw refuse("explain", `the descriptor is ${describe(descriptor)}: a bigint of 64 bits, 0 or more`);
  }
  checkChoice("explain", "stage", stage, [undefined, "2", "hyp", "el1"]);
  checkChoice("explain", "granule", granule, [undefined, 4096, 16384, 65536]);
  checkChoice("explain", "level", level, [undefined, -1, 0, 1, 2, 3]);
}

/**
 * Explains a 64-bit descriptor, field by field. It returns one reading, or two with the likelier first where the meaning
 * depends on a level that is not given. EINVAL for more than 64 bits, and for options that do not exist or fit.
 *
 * @example
 * ```ts
 * import { explain } from "granule/report";
 * const [reading] = explain(0x0040_0000_4000_07ffn, { level: 3 });
 * console.log(reading?.kind); // page
 * const [user] = explain(0x00e8_0000_8123_4f43n, { stage: "el1", level: 3 });
 * console.log(user?.summary.slice(0, 57)); // A 4K page at 0x81234000: read and write for EL1 and EL0,
 * ```
 */
export function explain(descriptor: bigint, options: ExplainOptions = {}): Reading[] {
  checkExplain(descriptor, options);
  const c: Context = {
    stage: options.stage ?? "2",
    shift: granuleShift(options.granule ?? 4096),
    level: options.level,
    lpa2: options.lpa2 ?? false,
    fwb: options.fwb,
    hvhe: options.hvhe ?? false,
    xnx: options.xnx ?? false,
  };
  if (!(descriptor & K.VALID) && c.stage === "el1") return [unused(descriptor)];
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
