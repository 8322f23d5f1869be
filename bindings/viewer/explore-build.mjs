// Puts the explorer's builds of the core beside the live page, which loads them when somebody asks for them: dist/viewer/explore. Run
// by `npm run build:explore`, and whenever the page is built again; where there is no such build, the page does without.

import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const from = new URL("../../build/explore/", import.meta.url);
const to = new URL("../../dist/viewer/explore/", import.meta.url);

export function copyExploreBuilds() {
  const list = new URL("current.json", from);
  if (!existsSync(list)) return;
  mkdirSync(to, { recursive: true });
  for (const name of ["engine", "mutants"]) {
    const file = JSON.parse(readFileSync(list, "utf8"))[name];
    const hash = /-([0-9a-f]{8})/.exec(file)?.[1];
    const described = JSON.parse(readFileSync(new URL(`${file}.json`, from), "utf8"));
    copyFileSync(new URL(file, from), new URL(`${name}.wasm`, to));
    writeFileSync(new URL(`${name}.json`, to), JSON.stringify({ hash, ...described }));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) copyExploreBuilds();
