// Puts the live page of `npm run build` where the site serves it: /viewer/.

import { cpSync, existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const from = fileURLToPath(new URL("../../dist/viewer", import.meta.url));
if (!existsSync(from)) throw new Error("dist/viewer is not there: npm run build");
cpSync(from, fileURLToPath(new URL("../public/viewer", import.meta.url)), { recursive: true });
