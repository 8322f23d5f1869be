// Builds the modules: asc compiles each of them from assembly/, Binaryen optimises the release builds.
// asc's own -O3 either inlines by cases and makes 49 KB, or hardly inlines and is slow. Here small functions are
// inlined up to a size that was measured (see bench/): the walker as fast, the module a fifth smaller.

import { readFileSync, writeFileSync } from "node:fs";
import binaryen from "assemblyscript/binaryen";
import { COLD } from "./cold.mjs";
import { compile } from "./compile.mjs";
import { MODULES, outputs } from "./modules.mjs";

const INLINE_UP_TO = 27;
const ANY_SIZE = 2 ** 30;
const ROUNDS = 3;
const root = new URL("../../", import.meta.url);
const at = (file) => new URL(file, root);

function optimise(file, { inline = INLINE_UP_TO, whole = false }) {
  const module = binaryen.readBinary(readFileSync(file));
  const f = binaryen.Features;
  module.setFeatures(
    f.Atomics | f.BulkMemory | f.BulkMemoryOpt | f.SIMD128 | f.MutableGlobals | f.SignExt | f.NontrappingFPToInt,
  );
  binaryen.setOptimizeLevel(3);
  binaryen.setShrinkLevel(1);
  binaryen.setAlwaysInlineMaxSize(inline);
  const once = binaryen.getOneCallerInlineMaxSize(); // as asc leaves it
  if (whole) binaryen.setOneCallerInlineMaxSize(ANY_SIZE);
  for (const name of COLD) {
    binaryen.setPassArgument("no-inline", name);
    module.runPasses(["no-inline"]);
  }
  for (let i = 0; i < ROUNDS; i++) module.optimize();
  binaryen.setOneCallerInlineMaxSize(once);
  module.runPasses(["strip"]);
  if (!module.validate()) throw new Error(`${file} is not valid once optimised`);
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

async function build(module) {
  const { raw, release, debug } = outputs(module);
  const { instead } = module;
  await compile({ entry: module.entry, target: "release", outFile: raw, options: ["--debug"], instead }); // for names
  writeFileSync(at(release), optimise(at(raw), module));
  await compile({ entry: module.entry, target: "debug", outFile: debug, instead });
}

for (const module of MODULES) await build(module);
