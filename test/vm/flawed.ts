// The VM's module with one line changed: what a test must notice.

import { readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { expect } from "vitest";
import { compile } from "../../bindings/core/compile.mjs";
import { MODULES } from "../../bindings/core/modules.mjs";
import { ROOT } from "../house/sources.js";
import { Scratch } from "../support/scratch.js";

type Bytes = Uint8Array<ArrayBuffer>;

/** Compiles the VM's module with `to` in place of `from`, which stands once in assembly/`file`. */
export async function broken(
  file: string,
  from: string,
  to: string,
  target: "release" | "debug" = "release",
): Promise<Bytes> {
  const path = `assembly/${file}`;
  const source = readFileSync(join(ROOT, path), "utf8");
  expect(source.split(from).length, `${path} has ${from} once`).toBe(2);
  using scratch = new Scratch();
  const flaw = join(scratch.path, "flaw.ts");
  writeFileSync(flaw, source.replace(from, to));
  return await built(join(scratch.path, "vm.wasm"), target, { [path]: relative(ROOT, flaw) });
}

async function built(outFile: string, target: "release" | "debug", instead: Record<string, string>): Promise<Bytes> {
  const module = MODULES.find(({ name }) => name === "vm");
  if (!module) throw new Error("there is no module of the VM");
  const own = Object.fromEntries(
    Object.entries(module.instead ?? {}).map(([name, other]) => [name, instead[other] ?? other]),
  );
  await compile({ entry: module.entry, target, outFile, instead: { ...instead, ...own } });
  return new Uint8Array(readFileSync(outFile));
}

/** The debug build of the module. */
export function debugModule(): Bytes {
  return new Uint8Array(readFileSync(join(ROOT, "build/vm.debug.wasm")));
}
