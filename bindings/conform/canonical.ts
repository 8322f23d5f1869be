import { T_LPA2 } from "../core/constants.generated.js";
import type { EntryOptions, Table } from "../tables/table.js";

const LINE_BYTES = 96;
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
/** The two digits of every byte, one after the other. */
const DIGITS = ascii(Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0")).join(""));
const KINDS = ["I", "P", "B", "T"];
/** ` L<level> <kind> ` by (level + 1) * 4 + kind. */
const MIDDLES = [-1, 0, 1, 2, 3].flatMap((level) => KINDS.map((kind) => ascii(` L${level} ${kind} `)));
const NO_COUNT = ascii(" -\n");
const INVALID = 0;
const PAGE = 1;
const BLOCK = 2;
const TABLE = 3;

function putWord(out: Uint8Array, at: number, word: number): number {
  for (let shift = 24; shift >= 0; shift -= 8) {
    const digit = ((word >>> shift) & 255) * 2;
    out[at] = DIGITS[digit] as number;
    out[at + 1] = DIGITS[digit + 1] as number;
    at += 2;
  }
  return at;
}

function putText(out: Uint8Array, at: number, text: Uint8Array): number {
  for (let i = 0; i < text.length; i++) out[at + i] = text[i] as number;
  return at + text.length;
}

function kindOf(low: number, level: number): number {
  if (!(low & 1)) return INVALID;
  if (level === 3) return PAGE;
  return low & 2 ? TABLE : BLOCK;
}

/**
 * The canonical dump of vectors/FORMAT.md as bytes: one line per entry that is not zero, parents first.
 * `root` names a detached page and the level of its entries.
 */
export function canonicalDump(table: Table, root?: EntryOptions["root"]): Uint8Array<ArrayBuffer> {
  const { engine, format } = table;
  const mask = engine.core.outputMask(format.ps, format.flags & T_LPA2 ? 1 : 0);
  const keepLow = ~Number(BigInt.asUintN(32, mask));
  const keepHigh = ~Number(BigInt.asUintN(32, mask >> 32n));
  const { u32 } = engine;
  let out = new Uint8Array(1 << 16);
  let at = 0;
  for (const word of table.scan(root ? { tables: true, root } : { tables: true })) {
    if (at + LINE_BYTES > out.length) {
      const larger = new Uint8Array(out.length * 2);
      larger.set(out);
      out = larger;
    }
    const level = (u32[word + 4] as number) | 0;
    const low = u32[word + 2] as number;
    const kind = kindOf(low, level);
    const isTable = kind === TABLE;
    at = putWord(out, putWord(out, at, u32[word + 1] as number), u32[word] as number);
    at = putText(out, at, MIDDLES[(level + 1) * 4 + kind] as Uint8Array);
    const high = u32[word + 3] as number;
    at = putWord(out, putWord(out, at, isTable ? high & keepHigh : high), isTable ? low & keepLow : low);
    at = putText(out, at, isTable ? ascii(` ${(u32[word + 5] as number) | 0}\n`) : NO_COUNT);
  }
  return out.subarray(0, at);
}
