// The explorer's builds of the core, loaded when somebody asks for a scenario that runs the core.

import type { ExploreBuild } from "../../explore/build.js";

/** The engine as it ships, and the engine with flaws that can be switched on. */
export type BuildName = "engine" | "mutants";

const loaded = new Map<BuildName, Promise<ExploreBuild | undefined>>();

async function load(name: BuildName): Promise<ExploreBuild | undefined> {
  const at = (type: string) => fetch(new URL(`explore/${name}.${type}`, document.baseURI));
  const [described, module] = await Promise.all([at("json"), at("wasm")]);
  if (!described.ok || !module.ok) return undefined;
  const rest = (await described.json()) as Omit<ExploreBuild, "bytes">;
  return { ...rest, bytes: new Uint8Array(await module.arrayBuffer()) };
}

/** A build, fetched once; undefined where the page has none beside it. */
export function exploreBuild(name: BuildName): Promise<ExploreBuild | undefined> {
  let build = loaded.get(name);
  if (build === undefined) {
    build = load(name).catch(() => undefined);
    loaded.set(name, build);
  }
  return build;
}
