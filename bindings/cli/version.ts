import { createRequire } from "node:module";

/** The package's version, from the package.json above this file, wherever the package is installed. */
export function version(): string {
  const require = createRequire(import.meta.url);
  for (const path of ["../../package.json", "../../../package.json"]) {
    try {
      const { name, version } = require(path) as { name?: string; version?: string };
      if (name === "granule" && version) return version;
    } catch {
      // Sources lie one folder higher than what is built from them.
    }
  }
  return "unknown";
}
