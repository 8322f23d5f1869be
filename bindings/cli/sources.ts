// What `granule diff` compares: a table from ptdump text, raw tables, an image or an operations file.

import { stat } from "node:fs/promises";
import { VectorSyntaxError } from "../conform/format.js";
import { imageTable, kindOfText, runOperations, type TextKind } from "../conform/sources.js";
import * as K from "../core/constants.generated.js";
import { GranuleError } from "../core/errors.js";
import type { Granule } from "../model/granule.js";
import { type Leaf, type LeafTable, leafTable } from "../report/leaf-runs.js";
import { printableShort } from "../report/printable.js";
import { parsePtdump, ptdumpLeaves } from "../report/ptdump-parse.js";
import { S2RawError } from "../trace/errors.js";
import { parseS2Raw } from "../trace/s2raw.js";
import { type CommandIo, InputError } from "./command.js";
import { type ImageFolder, imageError, readImageFolder } from "./image-folder.js";
import { inputName, readLines } from "./input.js";

/** What a source is. */
export type SourceKind = TextKind | "image";

/** A table to compare. */
export interface Source {
  readonly name: string;
  readonly kind: SourceKind;
  readonly table: LeafTable;
}

/** The table of an image in a folder. */
function folderTable({ folder, manifest, image }: ImageFolder): LeafTable {
  try {
    return imageTable(manifest, image);
  } catch (error) {
    throw imageError(folder, error);
  }
}

/** The table of an operations file. */
function scriptTable(lines: readonly string[]): LeafTable {
  const { table, engine } = runOperations(lines).scenario;
  using _engine = engine;
  const { flags } = table.format;
  const format = { granule: table.granule, lpa2: (flags & K.T_LPA2) !== 0, hvhe: (flags & K.T_HVHE) !== 0 };
  return leafTable(table.leaves(), { stage: table.isHyp ? "hyp" : "2", ...format });
}

/** What a text is; InputError for one that holds no table. */
function kindOf(name: string, lines: readonly string[]): TextKind {
  const kind = kindOfText(lines);
  if (typeof kind === "string") return kind;
  if (kind.line === undefined) throw new InputError(`${name}: the file is empty`);
  const begins = printableShort(kind.line, 40);
  throw new InputError(`${name}: neither ptdump text, raw tables nor an operations file: it begins with ${begins}`);
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

function textTable(name: string, kind: TextKind, lines: readonly string[]): LeafTable {
  try {
    if (kind === "ptdump") return ptdumpLeaves(parsePtdump(lines.join("\n")));
    if (kind === "raw tables") return rawTable(lines);
    return scriptTable(lines);
  } catch (error) {
    if (error instanceof S2RawError || error instanceof VectorSyntaxError)
      throw new InputError(`${name}: ${error.message}`);
    if (error instanceof GranuleError) throw new InputError(`${name}: ${error.hint}`);
    throw error;
  }
}

/** Reads a source, whatever it is; InputError if it is nothing that can be compared. */
export async function readSource(path: string, io: CommandIo): Promise<Source> {
  const name = inputName(path);
  const isFolder = path !== "-" && (await stat(path).catch(() => undefined))?.isDirectory() === true;
  if (isFolder) return { name, kind: "image", table: folderTable(await readImageFolder(path, io)) };
  const lines: string[] = [];
  for await (const some of readLines(path, io)) for (const line of some) lines.push(line);
  const kind = kindOf(name, lines);
  return { name, kind, table: textTable(name, kind, lines) };
}
