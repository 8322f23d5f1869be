// Puts what the compiler wrote in order. Run by `npm run build:bindings`.
//
// - What an earlier build left goes, where its source is gone: it would be packed, and found by whoever imports it.
// - The built modules that hold nothing but a core's bytes, or the code of a page, get no source map: their sources are not packed,
//   and a comment that names a missing file is a warning of every tool that looks for it.

import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const OUTPUT = /(?:\.d\.ts|\.js)(?:\.map)?$/;
/** Modules that hold nothing but data, by their folders. */
const DATA = { "bindings/core": /^bytes\..*\.generated\./, "bindings/report": /^page\.generated\./ };

/** Removes the outputs in dist/FOLDER that have no source in FOLDER. */
function removeStale(folder) {
  for (const name of readdirSync(join(ROOT, "dist", folder), { recursive: true })) {
    const source = join(ROOT, folder, name.replace(OUTPUT, ".ts"));
    if (OUTPUT.test(name) && !existsSync(source)) rmSync(join(ROOT, "dist", folder, name));
  }
}

function unmap(path) {
  if (path.endsWith(".map")) rmSync(path);
  else writeFileSync(path, readFileSync(path, "utf8").replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n"));
}

for (const folder of ["bindings", "bench"]) removeStale(folder);
for (const [folder, names] of Object.entries(DATA))
  for (const name of readdirSync(join(ROOT, "dist", folder)))
    if (names.test(name)) unmap(join(ROOT, "dist", folder, name));
