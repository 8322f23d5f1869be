// Builds the core: asc compiles assembly/ for both targets, Binaryen optimises the release build.
// asc's own -O3 either inlines by cases and makes 49 KB, or hardly inlines and is slow. Here small functions are
// inlined up to a size that was measured (see bench/): the walker as fast, the module a fifth smaller.

import { readFileSync, writeFileSync } from "node:fs";
import asc from "assemblyscript/asc";
import binaryen from "assemblyscript/binaryen";

const INLINE_UP_TO = 27;
const ROUNDS = 3;
const root = new URL("../../", import.meta.url);
const at = (file) => new URL(file, root);

async function compile(target) {
  const { error, stderr } = await asc.main(["assembly/index.ts", "--target", target, "--baseDir", root.pathname]);
  if (error) {
    process.stderr.write(stderr.toString());
    throw error;
  }
}

function optimise(file) {
  const module = binaryen.readBinary(readFileSync(file));
  const f = binaryen.Features;
  module.setFeatures(
    f.Atomics | f.BulkMemory | f.BulkMemoryOpt | f.SIMD128 | f.MutableGlobals | f.SignExt | f.NontrappingFPToInt,
  );
  binaryen.setOptimizeLevel(3);
  binaryen.setShrinkLevel(1);
  binaryen.setAlwaysInlineMaxSize(INLINE_UP_TO);
  for (let i = 0; i < ROUNDS; i++) module.optimize();
  module.runPasses(["strip"]); // names are for the debug build
  if (!module.validate()) throw new Error("the optimised core is not valid");
  const bytes = module.emitBinary();
  module.dispose();
  return withoutCustom(bytes);
}

/** The module without custom sections: Binaryen leaves an empty one for names. */
function withoutCustom(bytes) {
  const kept = [bytes.subarray(0, 8)];
  for (let at = 8; at < bytes.length; ) {
    const start = at;
    const id = bytes[at++];
    let size = 0;
    for (let shift = 0, byte = 0x80; byte & 0x80; shift += 7) {
      byte = bytes[at++];
      size |= (byte & 0x7f) << shift;
    }
    at += size;
    if (id !== 0) kept.push(bytes.subarray(start, at));
  }
  return Buffer.concat(kept);
}

await Promise.all([compile("release"), compile("debug")]);
writeFileSync(at("build/granule.wasm"), optimise(at("build/granule.raw.wasm")));
