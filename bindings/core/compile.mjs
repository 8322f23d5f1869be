// One call of the compiler, for whoever builds a module from assembly/.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import asc from "assemblyscript/asc";

const root = new URL("../../", import.meta.url);

/** A precondition: a statement that begins its line. */
const DEMAND = /^[ \t]*demand\([\s\S]*?\);$/gm;

/** The source without its preconditions, its lines where they were. */
export function withoutDemands(text) {
  return text.replace(DEMAND, (statement) => statement.replace(/[^\n]/g, ""));
}

/**
 * What the compiler reads of `name`; null if there is no such file, as it asks for files that need not be there.
 * `instead`: files that are read in place of others; `edit`: what becomes of a text.
 */
function readSource(name, baseDir, checked, instead, edit) {
  const path = join(baseDir, instead[name] ?? name);
  if (!existsSync(path)) return null;
  const text = edit(name, readFileSync(path, "utf8"));
  return checked || !name.startsWith("assembly/") ? text : withoutDemands(text);
}

/**
 * Compiles the module of `entry` into `outFile`. A target with DEBUG keeps its preconditions.
 * @param {{ entry: string, target: "release" | "debug", outFile: string, options?: string[], instead?: Record<string, string>,
 *   edit?: (name: string, text: string) => string }} what
 */
export async function compile({ entry, target, outFile, options = [], instead = {}, edit = (_, text) => text }) {
  const checked = target === "debug";
  const args = [entry, "--target", target, "--outFile", outFile, "--baseDir", root.pathname, ...options];
  const readFile = (name, baseDir) => readSource(name, baseDir, checked, instead, edit);
  const { error, stderr } = await asc.main(args, { readFile });
  if (!error) return;
  process.stderr.write(stderr.toString());
  throw error;
}
