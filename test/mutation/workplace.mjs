// A copy of the working tree in which the tests run against a mutant: nobody's files change, several runs can go on at
// once, and whatever loads the core (sources, dist/, workers, the command line) finds the mutant where the core was.

import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MODULES, outputs } from "../../bindings/core/modules.mjs";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

const COPIED = [
  "assembly",
  "bindings",
  "dist",
  "docs",
  "test",
  "asconfig.json",
  "package.json",
  "tsconfig.json",
  "tsconfig.build.json",
  "vitest.config.ts",
  "README.md",
];

/** The builds of each module that tests load: from build/, from dist/, and as bytes that the bindings have by this name. */
const BUILDS = MODULES.flatMap((module) => [
  { ...module, target: "release", inlined: module.name, built: outputs(module).release },
  { ...module, target: "debug", inlined: `${module.name}.debug`, built: outputs(module).debug },
]);

function inlinedAt(folder, inlined) {
  return join(folder, `bindings/core/bytes.${inlined}.generated.ts`);
}

export class Workplace {
  #standard = new Map();
  #present = new Map();
  #original;

  constructor() {
    this.#mustBeBuilt();
    mkdirSync(join(ROOT, "build"), { recursive: true });
    this.folder = `${mkdtempSync(join(ROOT, "build/mutate-"))}/`;
    for (const path of COPIED) {
      if (existsSync(join(ROOT, path))) cpSync(join(ROOT, path), join(this.folder, path), { recursive: true });
    }
    symlinkSync(join(ROOT, "node_modules"), join(this.folder, "node_modules"));
    mkdirSync(join(this.folder, "build"));
    mkdirSync(join(this.folder, "tmp"));
  }

  #mustBeBuilt() {
    if (!existsSync(join(ROOT, "dist/bindings/index.js"))) {
      throw new Error("the package is not built: npm run build");
    }
  }

  /** Compiles every build without a change; throws if one does not compile. */
  async begin(compiler) {
    for (const build of BUILDS) {
      const { bytes, files, message } = await compiler.compile(build);
      if (!bytes) throw new Error(`${build.entry} does not compile:\n${message}`);
      this.#standard.set(build, { bytes, files });
      this.#inline(build);
      this.#put(build, bytes);
    }
  }

  /**
   * The builds that a changed file makes: "invalid" if one does not compile, "invisible" if all have the same bytes.
   * @param {string[]} [only] names of the builds to make, as the bindings know their bytes; all others stay as they are
   * @returns {Promise<{ file: string, source: string, builds: Map<object, Buffer> } | "invalid" | "invisible">}
   */
  async make(compiler, file, changed, only) {
    const builds = new Map();
    for (const [build, standard] of this.#standard) {
      if (!standard.files.has(file) || only?.includes(build.inlined) === false) continue;
      const { bytes } = await compiler.compile({ ...build, changed: new Map([[file, changed]]) });
      if (!bytes || !WebAssembly.validate(bytes)) return "invalid";
      if (!bytes.equals(standard.bytes)) builds.set(build, bytes);
    }
    return builds.size === 0 ? "invisible" : { file, source: changed, builds };
  }

  /** Puts a mutant in the place of the core: the bytes, and the source for tests that compile it. */
  put({ file, source, builds }) {
    this.restore();
    for (const [build, bytes] of builds) this.#put(build, bytes);
    this.#original = { file, source: readFileSync(join(this.folder, file), "utf8") };
    writeFileSync(join(this.folder, file), source);
  }

  /** Puts the core back. */
  restore() {
    for (const [build, { bytes }] of this.#standard) this.#put(build, bytes);
    if (this.#original) writeFileSync(join(this.folder, this.#original.file), this.#original.source);
    this.#original = undefined;
  }

  #put(build, bytes) {
    if (this.#present.get(build)?.equals(bytes)) return;
    this.#present.set(build, bytes);
    writeFileSync(this.#bytesOf(build), bytes.toString("base64"));
    writeFileSync(join(this.folder, build.built), bytes);
    const file = join(this.folder, `dist/${build.inlined}.wasm`);
    if (existsSync(file)) writeFileSync(file, bytes);
  }

  #bytesOf({ inlined }) {
    return join(this.folder, `${inlined}.base64`);
  }

  /** The modules that hold the bytes read them when they are loaded, so that nothing is transformed anew for a mutant. */
  #inline(build) {
    const text = `import { readFileSync } from "node:fs";
export const BYTES = readFileSync(${JSON.stringify(this.#bytesOf(build))}, "latin1");
`;
    if (!existsSync(inlinedAt(this.folder, build.inlined))) return;
    writeFileSync(inlinedAt(this.folder, build.inlined), text);
    const built = join(this.folder, `dist/bindings/core/bytes.${build.inlined}.generated.js`);
    if (existsSync(built)) writeFileSync(built, text);
  }

  remove() {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Names that the facade has a copy of: a mutant of one side alone would be found at once, and tell nothing. */
export function sharedConstants() {
  const folder = join(ROOT, "bindings/core");
  const files = readdirSync(folder).filter((name) => name.endsWith(".generated.ts") && !name.startsWith("bytes."));
  const texts = files.map((name) => readFileSync(join(folder, name), "utf8"));
  return new Set(texts.flatMap((text) => [...text.matchAll(/^export const (\w+)/gm)].map(([, name]) => name)));
}
