// Reads the explore build that `npm run build:explore` has made.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ExploreBuild } from "./build.js";

/** Builds there are: the engine as it ships, or with hardware and VM; and both with flaws that can be switched on. */
export type BuildName = "engine" | "mutants" | "vm" | "vm-mutants";

/** Where this file may lie below the project: as a source, and in dist/. */
const FOLDERS = ["../../build/explore/", "../../../build/explore/"];

function folder(): URL {
  for (const name of FOLDERS) {
    const url = new URL(name, import.meta.url);
    if (existsSync(new URL("current.json", url))) return url;
  }
  throw new Error(
    "there is no explore build of the core: `npm run build:explore` in a checkout makes it (the package has none)",
  );
}

/**
 * The explore build of this checkout. The package has none: scenarios of the core need a checkout, or a build that you pass yourself.
 *
 * @throws Error when there is none.
 * @example
 * ```ts
 * import { explore, scenario } from "granule/explore";
 * import { loadBuild } from "granule/explore/node";
 * const { complete, violations } = await explore(scenario("fault-fault"), { build: loadBuild() });
 * console.log(complete, violations.length); // true 0
 * ```
 */
export function loadBuild(name: BuildName = "engine"): ExploreBuild {
  const at = folder(),
    current = JSON.parse(readFileSync(new URL("current.json", at), "utf8")) as Record<string, string>,
    file = current[name];
  if (file === undefined) throw new Error(`there is no explore build ${name}`);
  const { sites, flaws } = JSON.parse(readFileSync(new URL(`${file}.json`, at), "utf8")) as Pick<
    ExploreBuild,
    "sites" | "flaws"
  >;
  const hash = /-([0-9a-f]{8})[0-9a-f]{8}/.exec(file)?.[1] ?? "0";
  return { bytes: readFileSync(fileURLToPath(new URL(file, at))), hash, sites, flaws };
}
