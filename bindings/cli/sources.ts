// What `granule diff` compares: a table from ptdump text, raw tables, an image or an operations file.

import { stat } from "node:fs/promises";
import { parseObject, VectorSyntaxError } from "../conform/format.js";
import { type Script, ScriptRun } from "../conform/run.js";
import * as K from "../core/constants.generated.js";
import { GranuleError } from "../core/errors.js";
import { get } from "../core/field.js";
import { span } from "../core/granule.js";
import { createEngine } from "../index.js";
import { type Granule, granuleShift } from "../model/granule.js";
import { type Leaf, type LeafTable, leafTable } from "../report/leaf-runs.js";
import { printableShort } from "../report/printable.js";
import { parsePtdump, ptdumpLeaves } from "../report/ptdump-parse.js";
import { S2RawError } from "../trace/errors.js";
import { parseS2Raw } from "../trace/s2raw.js";
import { type CommandIo, InputError } from "./command.js";
import { type ImageFolder, mmuOf, readImageFolder } from "./image-folder.js";
import { inputName, readLines } from "./input.js";

/** What a source is. */
export type SourceKind = "ptdump" | "raw tables" | "image" | "operations";

/** A table to compare. */
export interface Source {
  readonly name: string;
  readonly kind: SourceKind;
  readonly table: LeafTable;
}

/**
 * The leaves of an image as hardware finds them: each walk ends at one, or at a hole that is passed in one step. Each ends at a
 * descriptor of its own, unless tables are shared or lead to themselves: such an image would have no end of leaves.
 */
function* imageLeaves(folder: ImageFolder, inputBits: number): Generator<Leaf> {
  using mmu = mmuOf(folder);
  const end = 1n << BigInt(inputBits);
  let left = folder.image.length / K.ENTRY_BYTES;
  let at = 0n;
  while (at < end) {
    const last = mmu.explainWalk(at, "r", { at: true }).steps.at(-1);
    if (last === undefined) return;
    if (left-- === 0)
      throw new InputError(
        `${folder.folder}: a table is reached in several ways: there are more walks than descriptors`,
      );
    // A table that is not in memory ends all walks that its parent's entry covers.
    const level = last.kind === "unreadable" ? last.level - 1 : last.level;
    const size = span(granuleShift(last.granule), level);
    if ((last.kind === "block" || last.kind === "page") && last.descriptor !== undefined)
      yield { address: at & -size, level: last.level, descriptor: last.descriptor };
    at = (at & -size) + size;
  }
}

/** An image's table; the first step of a walk tells how its descriptors are to be read. */
function imageTable(folder: ImageFolder): LeafTable {
  const { manifest } = folder;
  if (manifest.stage === "el1")
    throw new InputError(`${folder.folder}: the image is of stage "el1": stage2 and hyp can be compared`);
  using mmu = mmuOf(folder);
  const first = mmu.explainWalk(0n, "r", { at: true }).steps[0];
  const stage = manifest.stage === "hyp" ? "hyp" : "2";
  if (first === undefined) throw new InputError(`${folder.folder}: its registers allow no walk`);
  const register = BigInt((stage === "hyp" ? manifest.tcr : manifest.vtcr) ?? 0);
  const inputBits = WORD_BITS - get(register, K.TCR_T0SZ);
  return leafTable(imageLeaves(folder, inputBits), { stage, granule: first.granule, lpa2: first.lpa2 });
}

/** Does the line destroy the table? Recorded files end so. */
function destroys(line: string, n: number): boolean {
  return line.includes('"destroy"') && parseObject(line, n).op === "destroy";
}

/** Runs an operations file up to its end, or to the line that destroys the table. */
function scriptTable(name: string, lines: readonly string[]): LeafTable {
  const run = new ScriptRun({ createEngine, quirks: "linux-6.12" });
  let script: Script;
  try {
    for (const [i, line] of lines.entries()) {
      if (destroys(line, i + 1)) break;
      run.line(line);
    }
    script = run.finish();
  } catch (error) {
    run.abandon();
    if (error instanceof VectorSyntaxError) throw new InputError(`${name}: ${error.message}`);
    throw error;
  }
  const { table, engine } = script.scenario;
  using _engine = engine;
  const { flags } = table.format;
  const format = { granule: table.granule, lpa2: (flags & K.T_LPA2) !== 0, hvhe: (flags & K.T_HVHE) !== 0 };
  return leafTable(table.leaves(), { stage: table.isHyp ? "hyp" : "2", ...format });
}

/** Bits of a register and of an address. */
const WORD_BITS = 64;

/** What a text is, by its first line that is not empty; `#` may begin comments above a dump. */
function kindOfText(name: string, lines: readonly string[]): SourceKind {
  for (const line of lines) {
    if (line.startsWith("# raw stage-2 tables")) return "raw tables";
    if (line.trim() === "" || line.startsWith("#")) continue;
    if (/^---\[|^0x[0-9a-f]+-0x/i.test(line)) return "ptdump";
    if (line.startsWith("{")) return "operations";
    const begins = printableShort(line, 40);
    throw new InputError(`${name}: neither ptdump text, raw tables nor an operations file: it begins with ${begins}`);
  }
  throw new InputError(`${name}: the file is empty`);
}

function rawTable(lines: readonly string[]): LeafTable {
  const dump = parseS2Raw(lines.join("\n"));
  function* leaves(): Generator<Leaf> {
    for (const { ipa, level, descriptor } of dump.leaves())
      if (descriptor & K.VALID) yield { address: BigInt(ipa), level, descriptor };
  }
  const granule = dump.geometry.granule as Granule;
  return leafTable(leaves(), { stage: "2", granule, lpa2: dump.geometry.ds });
}

function textTable(name: string, kind: SourceKind, lines: readonly string[]): LeafTable {
  try {
    if (kind === "ptdump") return ptdumpLeaves(parsePtdump(lines.join("\n")));
    if (kind === "raw tables") return rawTable(lines);
    return scriptTable(name, lines);
  } catch (error) {
    if (error instanceof S2RawError) throw new InputError(`${name}: ${error.message}`);
    if (error instanceof GranuleError) throw new InputError(`${name}: ${error.hint}`);
    throw error;
  }
}

/** Reads a source, whatever it is; InputError if it is nothing that can be compared. */
export async function readSource(path: string, io: CommandIo): Promise<Source> {
  const name = inputName(path);
  const isFolder = path !== "-" && (await stat(path).catch(() => undefined))?.isDirectory() === true;
  if (isFolder) return { name, kind: "image", table: imageTable(await readImageFolder(path, io)) };
  const lines: string[] = [];
  for await (const some of readLines(path, io)) for (const line of some) lines.push(line);
  const kind = kindOfText(name, lines);
  return { name, kind, table: textTable(name, kind, lines) };
}
