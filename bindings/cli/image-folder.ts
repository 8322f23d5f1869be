// A folder with table memory and what an MMU must be told to walk it: image.bin (or .gz) and manifest.json.

import { mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseObject, VectorSyntaxError } from "../conform/format.js";
import { SourceError } from "../conform/sources.js";
import { optionsOf, SetError, type SetManifest } from "../conform/translations.js";
import { GranuleError } from "../core/errors.js";
import { createMmu } from "../mmu/index.js";
import type { Mmu } from "../mmu/mmu.js";
import type { TableImage } from "../report/image.js";
import { type CommandIo, InputError } from "./command.js";
import { readDocument, readImage, unreadable } from "./input.js";

export const MANIFEST = "manifest.json";
export const IMAGE = "image.bin";

export interface ImageFolder {
  readonly folder: string;
  readonly manifest: SetManifest;
  readonly image: Uint8Array;
}

/** Is there anything of that name? */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** The file `name` of a folder, plain or gzipped. */
export async function fileOf(folder: string, name: string): Promise<string | undefined> {
  for (const file of [join(folder, `${name}.gz`), join(folder, name)]) if (await exists(file)) return file;
  return undefined;
}

/** The manifest of a folder; InputError if it cannot be read. */
export async function readManifest(folder: string, io: CommandIo): Promise<SetManifest> {
  const path = join(folder, MANIFEST);
  try {
    return parseObject(await readDocument(path, io), 1) as unknown as SetManifest;
  } catch (error) {
    if (error instanceof VectorSyntaxError) throw new InputError(`${path}: ${error.problem}`);
    throw error;
  }
}

/** The table memory of a folder; InputError if it cannot be read. */
export async function readTableMemory(folder: string, io: CommandIo): Promise<Uint8Array> {
  const path = await fileOf(folder, IMAGE);
  if (path === undefined) throw new InputError(`${folder}: ${IMAGE} is missing`);
  const image = await readImage(path, io);
  if (image.length === 0 || image.length % 8 !== 0) throw new InputError(`${path}: no whole number of 64-bit words`);
  return image;
}

/** Both; InputError if one cannot be read. */
export async function readImageFolder(folder: string, io: CommandIo): Promise<ImageFolder> {
  const manifest = await readManifest(folder, io);
  return { folder, manifest, image: await readTableMemory(folder, io) };
}

/** Writes both into a folder, which is made if it is not there; InputError if that fails. */
export async function writeImageFolder(folder: string, { manifest, image }: TableImage): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, IMAGE), image);
    await writeFile(join(folder, MANIFEST), `${JSON.stringify(manifest)}\n`);
  } catch (error) {
    throw unreadable(folder, error);
  }
}

/** What is wrong with an image of `folder`, as an InputError; any other error as it is. */
export function imageError(folder: string, error: unknown): unknown {
  if (error instanceof SetError) return new InputError(`${join(folder, MANIFEST)}: ${error.message}`);
  if (error instanceof SourceError) return new InputError(`${folder}: ${error.message}`);
  if (error instanceof GranuleError) return new InputError(`${folder}: ${error.hint}`);
  return error;
}

/** An MMU on a copy of the image, with the registers of the manifest; InputError if these make no sense. */
export function mmuOf({ folder, manifest, image }: ImageFolder): Mmu {
  try {
    return createMmu(optionsOf(manifest, image));
  } catch (error) {
    throw imageError(folder, error);
  }
}
