// The package as npm would publish it, packed from the build that is there and unpacked or installed in a folder of its own.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../house/sources.js";

/** One file of the package. */
export interface PackedFile {
  readonly path: string;
  readonly size: number;
  readonly mode: number;
}

/** What `npm pack` says. */
export interface PackReport {
  readonly filename: string;
  readonly size: number;
  readonly unpackedSize: number;
  readonly files: readonly PackedFile[];
}

/** Runs npm without scripts: a build in the middle of the tests would pull dist/ away from others. */
export function npm(arguments_: readonly string[], cwd: string = ROOT): string {
  return execFileSync("npm", [...arguments_, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1" },
  });
}

function pack(arguments_: readonly string[]): PackReport {
  if (!existsSync(join(ROOT, "dist/bindings/index.js"))) throw new Error("dist/ is missing: npm run build");
  const [report] = JSON.parse(npm(["pack", "--json", ...arguments_])) as PackReport[];
  if (report === undefined) throw new Error("npm pack reported nothing");
  return report;
}

/** What would be in the package. */
export function dryPack(): PackReport {
  return pack(["--dry-run"]);
}

/** Packs into `folder`; the path of the archive. */
export function packInto(folder: string): string {
  return join(folder, pack(["--pack-destination", folder]).filename);
}

/** Installs the packed package into a project at `folder` without a network; the path of the installed package. */
export function installInto(folder: string): string {
  const archive = packInto(folder);
  const project = join(folder, "project");
  mkdirSync(project);
  // What the package depends on is here already, and npm's cache need not have it.
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { dependencies: object };
  const here = Object.keys(dependencies).map((name) => [name, `file:${join(ROOT, "node_modules", name)}`]);
  const user = { name: "user", version: "1.0.0", private: true, overrides: Object.fromEntries(here) };
  writeFileSync(join(project, "package.json"), JSON.stringify(user));
  npm(["install", "--offline", archive], project);
  return join(project, "node_modules/granule");
}
