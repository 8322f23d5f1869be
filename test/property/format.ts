// Geometry and stage-2 descriptors for the model, written from part A of docs/spec on plain numbers
// and independent of assembly/ and bindings/: a test must not share code with what it tests.

/** What a table is made with, as far as descriptors depend on it. */
export interface Shape {
  ps: number;
  inputBits: number;
  lpa2: boolean;
  fwb: boolean;
  xnx: boolean;
  typed: boolean;
  linux: boolean;
  /** 52-bit output with 64K pages. */
  wide: boolean;
}

export type MemoryType = "normal" | "device" | "nc" | "stage1";

/** One leaf as software means it; `pa` in bytes (below 2^53). */
export interface Leaf {
  kind: "leaf";
  pa: number;
  r: boolean;
  w: boolean;
  px: boolean;
  ux: boolean;
  type: MemoryType;
  af: boolean;
  sw: number;
}

/** An invalid entry that says something: owner or typed annotation, as its two words. */
export interface Annotation {
  kind: "annotation";
  lo: number;
  hi: number;
}

export type Content = Leaf | Annotation;

const WORD = 2 ** 32;

/** Index bits of one level [GEO-1]. */
export function levelBits(ps: number): number {
  return ps - 3;
}

/** Pages that an entry of `level` covers [GEO-2]. */
export function spanPages(ps: number, level: number): number {
  return 2 ** ((3 - level) * levelBits(ps));
}

/** First level with blocks [GEO-3]. */
export function minBlock(ps: number): number {
  return ps === 12 ? 1 : 2;
}

/** Stage-2 start level [GEO-8]. */
export function stage2Start(ps: number, bits: number): number {
  return 4 - Math.max(Math.floor((bits - 8) / levelBits(ps)), 2);
}

/** Start tables [GEO-9]. */
export function rootPages(ps: number, bits: number, start: number): number {
  return Math.max(1, 2 ** (bits - ps) / spanPages(ps, start - 1));
}

/** log2 of the first output address that is not valid [GEO-5]. */
export function outputBits(shape: Shape): number {
  return shape.lpa2 || (shape.ps === 16 && shape.wide) ? 52 : 48;
}

function memAttr(type: MemoryType, fwb: boolean): number {
  if (type === "device") return 1;
  if (type === "nc") return 5;
  if (type === "stage1") return fwb ? 7 : 15;
  return fwb ? 6 : 15;
}

/** Bits 54:53 as they stand in the upper word [FMT-25]. */
function executeNever(leaf: Leaf, xnx: boolean): number {
  if (!xnx) return leaf.px ? 0 : 2 << 21;
  const code = leaf.px ? (leaf.ux ? 0 : 3) : leaf.ux ? 1 : 2;
  return code << 21;
}

/** Lower and upper word of a leaf [FMT-1, FMT-8, FMT-20..25]. */
export function encodeLeaf(shape: Shape, leaf: Leaf, level: number): [number, number] {
  const low = leaf.pa % WORD;
  const high = Math.floor(leaf.pa / WORD);
  let lo = low & ~((1 << shape.ps) - 1);
  let hi = shape.lpa2 ? high & 0x3ffff : high & 0xffff;
  if (shape.lpa2) lo |= ((high >> 18) & 3) << 8;
  else lo |= 3 << 8;
  if (shape.ps === 16) lo |= ((high >> 16) & 15) << 12;
  lo |= (memAttr(leaf.type, shape.fwb) << 2) | (leaf.r ? 1 << 6 : 0) | (leaf.w ? 1 << 7 : 0) | (leaf.af ? 1 << 10 : 0);
  lo |= level === 3 ? 3 : 1;
  hi |= executeNever(leaf, shape.xnx) | (leaf.sw << 23);
  return [lo >>> 0, hi >>> 0];
}

/** Lower and upper word of any content. */
export function encode(shape: Shape, content: Content, level: number): [number, number] {
  return content.kind === "leaf" ? encodeLeaf(shape, content, level) : [content.lo, content.hi];
}

/** Output address of a descriptor's words. */
export function outputAddress(shape: Shape, lo: number, hi: number): number {
  const low = (lo & ~((1 << shape.ps) - 1)) >>> 0;
  let high = shape.lpa2 ? hi & 0x3ffff : hi & 0xffff;
  if (shape.lpa2) high |= ((lo >> 8) & 3) << 18;
  else if (shape.ps === 16) high |= ((lo >> 12) & 15) << 16;
  return high * WORD + low;
}

const PROT = { X: 1, W: 2, R: 4, DEVICE: 8, NC: 16, PX: 32, UX: 64, STAGE1: 128 };

/** Protection bits as a leaf without an address; undefined for what stage 2 cannot have [FMT-25, FMT-28]. */
export function leafOf(prot: number, xnx: boolean): Omit<Leaf, "pa"> | undefined {
  const px = (prot & (PROT.X | PROT.PX)) !== 0,
    ux = (prot & (PROT.X | PROT.UX)) !== 0;
  const types = (
    [
      ["device", PROT.DEVICE],
      ["nc", PROT.NC],
      ["stage1", PROT.STAGE1],
    ] as const
  ).filter(([, bit]) => prot & bit);
  const type = types[0]?.[0] ?? "normal";
  if (prot >>> 12 || types.length > 1 || (px !== ux && !xnx)) return undefined;
  if ((px || ux) && (type === "device" || type === "nc")) return undefined;
  return {
    kind: "leaf",
    r: (prot & PROT.R) !== 0,
    w: (prot & PROT.W) !== 0,
    px,
    ux,
    type,
    af: true,
    sw: (prot >> 8) & 15,
  };
}
