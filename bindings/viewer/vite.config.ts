// The live page as static files that any web host serves, below any path: dist/viewer.

import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { copyExploreBuilds } from "./explore-build.mjs";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: at("live"),
  base: "./",
  logLevel: "warn",
  publicDir: false,
  build: {
    outDir: at("../../dist/viewer"),
    emptyOutDir: true,
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"], // the first that know light-dark()
    chunkSizeWarningLimit: 2000,
  },
  worker: { format: "es" },
  plugins: [{ name: "explore-builds", closeBundle: copyExploreBuilds }],
});
