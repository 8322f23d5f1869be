// The built modules that hold nothing but a core's bytes get no source map: their sources are not packed, and a comment that
// names a missing file is a warning of every tool that looks for it. Run by `npm run build:bindings`.

import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const DIST = fileURLToPath(new URL("../../dist/bindings/core/", import.meta.url));

for (const name of readdirSync(DIST)) {
  if (!/^bytes\..*\.generated\./.test(name)) continue;
  if (name.endsWith(".map")) rmSync(DIST + name);
  else writeFileSync(DIST + name, readFileSync(DIST + name, "utf8").replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n"));
}
