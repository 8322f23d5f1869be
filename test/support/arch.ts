// The functions of one file of assembly/arch/, compiled alone: they are pure, so no engine is needed, and nothing of the
// package's modules has to be exported for the sake of a test. Preconditions are checked.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compile } from "../../bindings/core/compile.mjs";
import { Scratch } from "./scratch.js";

/** A function of arch/: u64 is a signed bigint, everything else a signed number. */
export type Pure = (...values: (number | bigint | boolean)[]) => number | bigint;

function brokenRule(rule: number): never {
  throw new Error(`precondition ${rule} is broken`);
}

/** The exported functions of `assembly/arch/<file>.ts`. Throws what the compiler says. */
export async function compileArch(file: string): Promise<Record<string, Pure>> {
  using scratch = new Scratch();
  const outFile = join(scratch.path, `${file}.wasm`);
  await compile({ entry: `assembly/arch/${file}.ts`, target: "debug", outFile });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  const imports = { env: { memory, abort: brokenRule }, host: { demand: brokenRule } };
  const { instance } = await WebAssembly.instantiate(readFileSync(outFile), imports);
  return instance.exports as unknown as Record<string, Pure>;
}
