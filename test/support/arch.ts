// The functions of one file of assembly/arch/, compiled alone: they are pure, so no engine is needed, and nothing of the
// package's modules has to be exported for the sake of a test.

import asc from "assemblyscript/asc";

const ROOT = new URL("../../", import.meta.url);
const OPTIONS = ["--runtime", "stub", "-O2", "--noAssert", "--baseDir", ROOT.pathname, "--outFile", "arch.wasm"];

/** A function of arch/: u64 is a signed bigint, everything else a signed number. */
export type Pure = (...values: (number | bigint | boolean)[]) => number | bigint;

/** The exported functions of `assembly/arch/<file>.ts`. Throws what the compiler says. */
export async function compileArch(file: string): Promise<Record<string, Pure>> {
  let binary: Uint8Array | undefined;
  const { error, stderr } = await asc.main([`assembly/arch/${file}.ts`, ...OPTIONS], {
    writeFile: (_name, contents) => {
      if (typeof contents !== "string") binary = contents;
    },
  });
  if (error || !binary) throw new Error(`assembly/arch/${file}.ts: ${stderr.toString()}`);
  const { instance } = await WebAssembly.instantiate(binary as Uint8Array<ArrayBuffer>, {});
  return instance.exports as unknown as Record<string, Pure>;
}
