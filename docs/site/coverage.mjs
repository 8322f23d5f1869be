// Writes docs/spec/coverage.md: for each statement the tests that name it, or why there is none. The tests' own reader of titles says so.

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createServer } from "vite";

const root = fileURLToPath(new URL("../../", import.meta.url));
const server = await createServer({ root, configFile: false, logLevel: "error", server: { middlewareMode: true } });
const { coveragePage } = await server.ssrLoadModule("/test/support/coverage.ts");
writeFileSync(new URL("../spec/coverage.md", import.meta.url), coveragePage());
await server.close();
