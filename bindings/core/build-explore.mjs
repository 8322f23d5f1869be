// npm run build:explore: the core with every shared access a place where another walker may come in (docs/explore.md).
// What is built is kept under build/explore by a hash of the sources and of these scripts, and not built again.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { compile } from "./compile.mjs";
import { FLAWS } from "./flaws.mjs";
import { asyncify, instrument, linesOf } from "./instrument.mjs";
import { MODULES } from "./modules.mjs";

const root = new URL("../../", import.meta.url);
const folder = new URL("build/explore/", root);
const SCRIPTS = ["build-explore.mjs", "instrument.mjs", "compile.mjs", "modules.mjs"].map(
  (name) => `bindings/core/${name}`,
);
const OBSERVER = "assembly/memory/schedule.ts";

/** A flaw of what only the module of the VM has. */
const isOfVm = ({ file }) => /^assembly\/(vm|sim|mmu)\//.test(file);
const OF_ENGINE = FLAWS.filter((flaw) => !isOfVm(flaw));
const OF_VM = FLAWS.filter(isOfVm);
const { instead } = MODULES.find(({ name }) => name === "vm");

/** What is built: the engine, the engine with hardware and VM in one module, and both with all their flaws. */
const BUILDS = [
  { name: "engine", entry: "assembly/engine.ts", flaws: [] },
  { name: "mutants", entry: "assembly/engine.ts", flaws: OF_ENGINE },
  { name: "vm", entry: "assembly/explored.ts", flaws: [], instead },
  { name: "vm-mutants", entry: "assembly/explored.ts", flaws: OF_VM, instead },
];

function sources() {
  const names = readdirSync(new URL("assembly/", root), { recursive: true }).map((name) => `assembly/${name}`);
  return [...names.filter((name) => name.endsWith(".ts")), ...SCRIPTS, "asconfig.json"].sort();
}

/** A hash of everything that a build with these flaws depends on. */
function hashOfInputs(flaws) {
  const hash = createHash("sha256");
  for (const name of sources()) hash.update(`${name}\0`).update(readFileSync(new URL(name, root)));
  const compiler = JSON.parse(readFileSync(new URL("package.json", root), "utf8")).devDependencies;
  hash.update(`${compiler.assemblyscript} ${compiler.binaryen}`);
  if (flaws.length > 0) hash.update(JSON.stringify(flaws));
  return hash.digest("hex").slice(0, 16);
}

/** The text of a source with its flaws put in, each to be switched on by number; flaw n of the list is n + 1. */
function withFlaws(name, text, flaws) {
  const here = flaws.filter(({ file }) => file === name);
  if (here.length === 0) return text;
  for (const flaw of here) {
    for (const [find, put] of [[flaw.find, flaw.put], ...(flaw.also ? [flaw.also] : [])]) {
      if (text.split(find).length !== 2) throw new Error(`${flaw.name}: not once in ${name}: ${find}`);
      text = text.replace(find, () => put.replaceAll("FLAW", `hasFlaw(${flaws.indexOf(flaw) + 1})`));
    }
  }
  const depth = name.split("/").length - 2;
  const observer = `${"../".repeat(depth) || "./"}memory/schedule`;
  return `import { hasFlaw } from "${observer}"; ${text}`;
}

/** Builds one of BUILDS into `file` and `file`.json, which names the sites of its accesses. */
async function build({ name, entry, flaws, instead }, file) {
  const raw = `build/explore/${name}.raw.wasm`;
  const edit = (source, text) => withFlaws(instead?.[source] ?? source, text, flaws);
  await compile({ entry, target: "debug", outFile: raw, options: [OBSERVER, "--use", "EXPLORE=1"], instead, edit });
  const { bytes, sites } = instrument(readFileSync(new URL(raw, root)));
  const lineOf = linesOf(readFileSync(new URL(`${raw}.map`, root), "utf8"));
  const described = sites.map(({ kind, bytes: size, name: fn, offset }) => ({
    kind,
    bytes: size,
    name: fn,
    line: lineOf(offset),
  }));
  const core = asyncify(bytes);
  writeFileSync(
    new URL(`${file}.json`, folder),
    JSON.stringify({ sites: described, flaws: flaws.map((flaw) => flaw.name) }),
  );
  writeFileSync(new URL(file, folder), core);
  for (const old of [raw, `${raw}.map`]) rmSync(new URL(old, root));
  return `${core.length} bytes, ${sites.length} accesses`;
}

mkdirSync(folder, { recursive: true });
const current = Object.fromEntries(BUILDS.map(({ name, flaws }) => [name, `${name}-${hashOfInputs(flaws)}.wasm`]));
const wanted = process.argv.slice(2); // names of BUILDS; all of them if none is given
for (const made of BUILDS) {
  if (wanted.length > 0 && !wanted.includes(made.name)) continue;
  const file = current[made.name];
  if (existsSync(new URL(file, folder))) continue;
  console.log(`explore build of ${made.name}: ${await build(made, file)}`);
}
writeFileSync(new URL("current.json", folder), JSON.stringify(current));
for (const file of readdirSync(folder)) {
  const kept = file === "current.json" || Object.values(current).some((name) => file.startsWith(name));
  if (!kept) rmSync(new URL(file, folder));
}
