// A warm compiler: modules of assembly/ in one process, without Binaryen, with one file's text replaced.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import asc from "assemblyscript/asc";
import { withoutDemands } from "../../bindings/core/compile.mjs";

/** The debug core unoptimised: it is for the tests that load it, not for speed. */
const TARGETS = { release: [], debug: ["--optimizeLevel", "0", "--sourceMap", "false"] };

export class Compiler {
  #folder;
  #texts = new Map();

  /** @param {string} folder that holds assembly/ and asconfig.json */
  constructor(folder) {
    this.#folder = folder;
  }

  /** A file below the folder, read once; null where there is none. */
  text(path) {
    let text = this.#texts.get(path);
    if (text === undefined) {
      try {
        text = readFileSync(join(this.#folder, path), "utf8");
      } catch {
        text = null;
      }
      this.#texts.set(path, text);
    }
    return text;
  }

  /**
   * The bytes of a module, or null if it does not compile; and the files that it was made of.
   * @param {{ entry: string, target: "release" | "debug", changed?: Map<string, string>, instead?: Record<string, string> }} what
   * `instead`: files that are read in place of others
   */
  async compile({ entry, target, changed = new Map(), instead = {} }) {
    const files = new Set();
    let bytes = null;
    const readFile = (asked) => {
      const name = instead[asked] ?? asked;
      const text = changed.get(name) ?? this.text(name);
      if (text === null || !name.startsWith("assembly/")) return text;
      files.add(name);
      return target === "debug" ? text : withoutDemands(text);
    };
    const writeFile = (name, contents) => {
      if (name.endsWith(".wasm")) bytes = Buffer.from(contents);
    };
    const args = [entry, "--target", target, "--outFile", "module.wasm", "--baseDir", this.#folder, ...TARGETS[target]];
    const { error, stderr } = await asc.main(args, { readFile, writeFile, listFiles: () => [] });
    return { bytes: error ? null : bytes, files, message: error ? stderr.toString() : "" };
  }
}
