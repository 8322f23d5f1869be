// The VM's module with a defect: some lines of one file of assembly/ changed, and all of it compiled.

import { readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { it } from "vitest";
import { compile } from "../../bindings/core/compile.mjs";
import { MODULES } from "../../bindings/core/modules.mjs";
import { ROOT } from "../house/sources.js";
import { Scratch } from "../support/scratch.js";

/** What stands there once, and what stands there then. */
export type Change = readonly [from: string, to: string];

/**
 * A test that compiles such a module. `npm run mutate` leaves it out: it would fail whenever a mutant changes the line that it replaces,
 * and say nothing of the mutant.
 */
export const itFlawed: typeof it.skip = it.skipIf(process.env.GRANULE_MUTANT !== undefined);

/** The debug build as it is. */
export function debugModule(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(join(ROOT, "build/vm.debug.wasm")));
}

/** The module with `changes` in `file`, a path below assembly/. Throws unless each stands there once. */
export async function flawed(
  file: string,
  changes: readonly Change[],
  target: "release" | "debug" = "debug",
): Promise<Uint8Array<ArrayBuffer>> {
  const path = `assembly/${file}`;
  let source = readFileSync(join(ROOT, path), "utf8");
  for (const [from, to] of changes) {
    if (source.split(from).length !== 2) throw new Error(`${path} does not have ${from} once`);
    source = source.replace(from, () => to);
  }
  using scratch = new Scratch();
  const flaw = join(scratch.path, "flaw.ts");
  writeFileSync(flaw, source);
  return await compiled(join(scratch.path, "vm.wasm"), target, path, relative(ROOT, flaw));
}

async function compiled(
  outFile: string,
  target: "release" | "debug",
  path: string,
  flaw: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const module = MODULES.find(({ name }) => name === "vm");
  if (!module) throw new Error("there is no module of the VM");
  const others = Object.entries(module.instead ?? {});
  const instead = Object.fromEntries(others.map(([name, other]) => [name, other === path ? flaw : other]));
  await compile({ entry: module.entry, target, outFile, instead: { [path]: flaw, ...instead } });
  return new Uint8Array(readFileSync(outFile));
}

/** The module with one change. */
export function broken(
  file: string,
  from: string,
  to: string,
  target: "release" | "debug" = "release",
): Promise<Uint8Array<ArrayBuffer>> {
  return flawed(file, [[from, to]], target);
}
