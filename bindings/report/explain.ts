import type { Granule } from "../model/granule.js";
import { granuleShift } from "../model/granule.js";
import { type Cut, cut, type Field, type FieldRule, outputAddress, set } from "./fields.js";

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

const VALID = 1n;
const TABLE = 3n;

const field = (d: bigint, high: number, low: number) =>
  Number((d >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));

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
  if (c.lpa2 && c.shift < 16) {
    return [
      ["OA", 49, low, () => "output address, bits 49 and below", "hex"],
      ["OAhi", 9, 8, () => "output address, bits 51:50"],
    ];
  }
  const rules: FieldRule[] = [["OA", 47, low, (v) => text(v << BigInt(low)), "hex"]];
  if (c.shift === 16) rules.push(["OAhi", 15, 12, () => "output address, bits 51:48"]);
  return rules;
}

function shareRules(c: Context): FieldRule[] {
  return c.lpa2 && c.shift < 16 ? [] : [["SH", 9, 8, (v) => SHAREABILITY[Number(v)] as string]];
}

function commonRules(c: Context, kind: "page" | "block" | "reserved"): FieldRule[] {
  const type = kind === "block" ? "0: a block, not a table" : kind === "page" ? "1: a page" : "0: reserved at level 3";
  return [
    ["SW", 58, 55, (v) => (v === 0n ? "software bits, none set" : "software bits SW3..SW0: the hardware ignores them")],
    ["Cont", 52, 52, set("one of a run of entries that a TLB may cache as one", "contiguous hint, not set")],
    ["DBM", 51, 51, set("the hardware may turn read-only into writable: dirty state", "dirty bit modifier, not set")],
    [
      "AF",
      10,
      10,
      set("accessed: may be used and cached", "not accessed yet: the first use faults, or hardware sets it"),
    ],
    ["type", 1, 1, () => type],
    ["V", 0, 0, () => "valid"],
    ...shareRules(c),
  ];
}

function stage2Rules(c: Context): FieldRule[] {
  const xn: FieldRule[] = c.xnx
    ? [["XN", 54, 53, (v) => XNX[Number(v)] as string]]
    : [["XN", 54, 54, set("execute never", "executable")]];
  return [
    ...xn,
    ["S2AP", 7, 6, (v) => `${S2AP[Number(v)]} (bit 7 write, bit 6 read)`],
    ["MemAttr", 5, 2, (v) => memAttr(Number(v), c.fwb)],
  ];
}

function hypRules(c: Context): FieldRule[] {
  const xn: FieldRule[] = c.hvhe
    ? [
        ["UXN", 54, 54, set("EL0 must not execute", "EL0 may execute")],
        ["PXN", 53, 53, set("EL2 must not execute", "EL2 may execute")],
      ]
    : [["XN", 54, 54, set("execute never", "executable")]];
  return [
    ...xn,
    ["GP", 50, 50, set("guarded page: branches must land on BTI", "not guarded")],
    ["nG", 11, 11, set("belongs to one address space only", "global")],
    ["AP", 7, 6, (v) => accessPermission(Number(v), c.hvhe)],
    ["NS", 5, 5, set("non-secure", "as the current state")],
    ["Attr", 4, 2, (v) => `MAIR index ${v}: ${MAIR_INDEX[Number(v)] ?? "not used by Linux"} in Linux's order`],
  ];
}

function sizeName(bits: number): string {
  const units = ["B", "K", "M", "G", "T", "P", "E"];
  return `${2 ** (bits % 10)}${units[Math.floor(bits / 10)]}`;
}

function leafRights(d: bigint, c: Context): string[] {
  const xn54 = field(d, 54, 54);
  if (c.stage === "2") {
    const execute = c.xnx ? (XNX[field(d, 54, 53)] as string) : xn54 ? "not executable" : "executable";
    return [
      S2AP[field(d, 7, 6)] as string,
      execute,
      memAttr(field(d, 5, 2), c.fwb).replace(/(?:, whatever| \().*/, ""),
    ];
  }
  const execute = xn54 && (!c.hvhe || field(d, 53, 53)) ? "not executable" : "executable";
  return [accessPermission(field(d, 7, 6), c.hvhe), execute, MAIR_INDEX[field(d, 4, 2)] ?? "unused MAIR index"];
}

function leafNotes(d: bigint, c: Context, kind: "page" | "block" | "reserved"): string[] {
  const notes: string[] = [];
  if (kind === "reserved")
    notes.push("Valid with type 0 at level 3: hardware faults on it, software treats it as a leaf [FMT-5].");
  const minimum = c.shift === 12 ? 1 : 2;
  if (kind === "block" && c.level !== undefined && c.level < minimum) {
    notes.push(`KVM makes no blocks at level ${c.level} with this granule [GEO-3].`);
  }
  if (kind === "block" && c.level === undefined)
    notes.push("Without --level neither the size nor the number of address bits is known.");
  if (c.stage === "2" && c.fwb === undefined)
    notes.push("Memory type read as KVM writes it; --fwb or --no-fwb says what the CPU does.");
  if (c.stage === "2" && !c.xnx && field(d, 53, 53))
    notes.push("Bit 53 is set: with FEAT_XNX it is part of XN (--xnx).");
  return notes;
}

function leaf(d: bigint, c: Context, kind: "page" | "block" | "reserved"): Reading {
  const low = kind === "block" && c.level !== undefined ? (4 - c.level) * (c.shift - 3) + 3 : c.shift;
  const rules: Cut = [
    ...commonRules(c, kind),
    ...(c.stage === "2" ? stage2Rules(c) : hypRules(c)),
    ...addressRules(c, low),
  ];
  if (kind === "block" && low > 17)
    rules.push(["nT", 16, 16, set("block size is being changed (FEAT_BBM)", "not in a change of size")]);
  const pa = (outputAddress(c.shift, c.lpa2, d) >> BigInt(low)) << BigInt(low);
  const size =
    kind === "block" ? (c.level === undefined ? "block" : `block of ${sizeName(low)}`) : `${sizeName(low)} page`;
  const [access, execute, memory] = leafRights(d, c);
  const age = field(d, 10, 10) ? "accessed" : "not accessed yet";
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
  const pa = outputAddress(c.shift, c.lpa2, d);
  const limits: FieldRule[] =
    c.stage === "2"
      ? []
      : [
          ["NST", 63, 63, set("the tables below are non-secure", "no limit")],
          ["APT", 62, 61, (v) => (v === 0n ? "no limit on access below" : "limits access below")],
          ["XNT", 60, 60, set("nothing below is executable", "no limit on execution below")],
          ["PXNT", 59, 59, set("nothing below is executable at EL2", "no limit on EL2 execution below")],
        ];
  const next: FieldRule[] = addressRules(c, c.shift).map(([name, high, low, , form]) => [
    name === "OA" ? "next" : "nextHi",
    high,
    low,
    () => (name === "OA" ? `next table at 0x${pa.toString(16)}` : "next table, upper bits"),
    form,
  ]);
  return {
    kind: "table",
    levels: c.level === undefined ? "-1..2" : String(c.level),
    summary: `The next table, at 0x${pa.toString(16)}: the walk continues there, one level down.`,
    fields: cut(d, [...limits, ...next, ["type", 1, 1, () => "1: a table"], ["V", 0, 0, () => "valid"]]),
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
  const type = field(d, 63, 60);
  const meaning = TYPES_7X[type] ?? "not known";
  return {
    kind: type === 1 ? "locked" : "annotation",
    levels: "any",
    summary: `Not valid; annotated as Linux 7.x does: ${meaning}.`,
    fields: cut(d, [
      ["type", 63, 60, () => meaning],
      ["payload", 59, 1, () => "belongs to the type", "hex"],
      ["V", 0, 0, () => "not valid"],
    ]),
    notes: [
      "Hardware looks at bit 0 only: a translation fault.",
      "Read in the encoding of 7.x, since bits 63:60 are set [FMT-41].",
    ],
  };
}

function invalid(d: bigint): Reading {
  const locked = field(d, 10, 10) === 1;
  const owner = field(d, 9, 2);
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
      ["lock", 10, 10, set("locked: a walker is changing this entry", "not locked")],
      ["owner", 9, 2, (v) => (v === 0n ? "no owner named" : v === 1n ? "the hypervisor" : "no owner that Linux has")],
      ["V", 0, 0, () => "not valid"],
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
  if (!(descriptor & VALID)) return [descriptor >> 60n === 0n ? invalid(descriptor) : typed(descriptor)];
  if ((descriptor & TABLE) !== TABLE) return [leaf(descriptor, c, c.level === 3 ? "reserved" : "block")];
  if (c.level === 3) return [leaf(descriptor, c, "page")];
  if (c.level !== undefined) return [table(descriptor, c)];
  const readings = [leaf(descriptor, c, "page"), table(descriptor, c)];
  // A leaf always has attributes; nothing but address and type is a table as KVM writes it [FMT-7].
  return onlyAddress(descriptor, c) ? readings.reverse() : readings;
}

function onlyAddress(d: bigint, c: Context): boolean {
  const attributes = c.lpa2 && c.shift < 16 ? 0xcfcn : 0xffcn;
  return (d & attributes) === 0n && d >> 50n === 0n;
}
