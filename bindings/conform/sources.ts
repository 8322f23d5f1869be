// What a table can be read from beside a running engine: texts, told by their first lines, and images of table memory.

import * as K from "../core/constants.generated.js";
import { get } from "../core/field.js";
import { span } from "../core/granule.js";
import { createEngine } from "../index.js";
import { createMmu, type Mmu } from "../mmu/index.js";
import { granuleShift } from "../model/granule.js";
import { type Leaf, type LeafTable, leafTable } from "../report/leaf-runs.js";
import { parseObject } from "./format.js";
import { type Script, ScriptRun } from "./run.js";
import { optionsOf, type SetManifest } from "./translations.js";

/** What a text is that a table can be read from. */
export type TextKind = "ptdump" | "raw tables" | "operations";

/** A source that holds no table; the message says why, without the source's name. */
export class SourceError extends Error {
  override readonly name = "SourceError";
}

/** Bits of a register and of an address. */
const WORD_BITS = 64;

/** What a text is, by its first line that is not empty; `#` may begin comments above a dump. `line`: that line, if it is nothing. */
export function kindOfText(lines: readonly string[]): TextKind | { readonly line: string | undefined } {
  for (const line of lines) {
    if (line.startsWith("# raw stage-2 tables")) return "raw tables";
    if (line.trim() === "" || line.startsWith("#")) continue;
    if (/^---\[|^0x[0-9a-f]+-0x/i.test(line)) return "ptdump";
    return line.startsWith("{") ? "operations" : { line };
  }
  return { line: undefined };
}

/**
 * The leaves of an image as hardware finds them: each walk ends at one, or at a hole that is passed in one step. Each ends at a
 * descriptor of its own, unless tables are shared or lead to themselves: such an image would have no end of leaves.
 */
function* imageLeaves(mmu: Mmu, bytes: number, inputBits: number, pages: Set<bigint>): Generator<Leaf> {
  const end = 1n << BigInt(inputBits);
  let left = bytes / K.ENTRY_BYTES;
  let at = 0n;
  while (at < end) {
    const { steps } = mmu.explainWalk(at, "r", { at: true }),
      last = steps.at(-1);
    if (last === undefined) return;
    for (const { kind, address, granule } of steps) if (kind !== "unreadable") pages.add(address & -BigInt(granule));
    if (left-- === 0)
      throw new SourceError("a table is reached in several ways: there are more walks than descriptors");
    // A table that is not in memory ends all walks that its parent's entry covers.
    const level = last.kind === "unreadable" ? last.level - 1 : last.level;
    const size = span(granuleShift(last.granule), level);
    if ((last.kind === "block" || last.kind === "page") && last.descriptor !== undefined)
      yield { address: at & -size, level: last.level, descriptor: last.descriptor };
    at = (at & -size) + size;
  }
}

/** A table that was found in an image. */
export interface ImageTable extends LeafTable {
  readonly lpa2: boolean;
  readonly startLevel: number;
  readonly inputBits: number;
  /** Table pages that a walk reaches. */
  readonly pages: number;
}

/**
 * An image's table; the first step of a walk tells how its descriptors are to be read.
 *
 * @throws SourceError for an image without such a table; SetError and GranuleError for registers that make no sense
 */
export function imageTable(manifest: SetManifest, image: Uint8Array): ImageTable {
  if (manifest.stage === "el1") throw new SourceError('the image is of stage "el1": stage2 and hyp can be compared');
  using mmu = createMmu(optionsOf(manifest, image));
  const first = mmu.explainWalk(0n, "r", { at: true }).steps[0];
  const stage = manifest.stage === "hyp" ? "hyp" : "2";
  if (first === undefined) throw new SourceError("its registers allow no walk");
  const register = BigInt((stage === "hyp" ? manifest.tcr : manifest.vtcr) ?? 0);
  const inputBits = WORD_BITS - get(register, K.TCR_T0SZ);
  const { granule, lpa2, level: startLevel } = first;
  const pages = new Set<bigint>();
  const table = leafTable(imageLeaves(mmu, image.length, inputBits, pages), { stage, granule, lpa2 });
  return { ...table, lpa2, startLevel, inputBits, pages: pages.size };
}

/** Does the line destroy the table? Recorded files end so. */
function destroys(line: string, n: number): boolean {
  return line.includes('"destroy"') && parseObject(line, n).op === "destroy";
}

/**
 * Runs an operations file up to its end, or to the line that destroys the table. The caller closes the engine.
 *
 * @throws VectorSyntaxError for a line that is no operation
 */
export function runOperations(lines: Iterable<string>): Script {
  const run = new ScriptRun({ createEngine, quirks: "linux-6.12" });
  try {
    let n = 0;
    for (const line of lines) {
      if (destroys(line, ++n)) break;
      run.line(line);
    }
    return run.finish();
  } catch (error) {
    run.abandon();
    throw error;
  }
}
