import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

interface Target {
  readonly types: string;
}

/** The package's own names lead to the sources, so that a test of the library needs no build. */
function sourcesOfExports(): { find: RegExp; replacement: string }[] {
  const manifest = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8")) as {
    exports: Record<string, string | Target>;
  };
  return Object.entries(manifest.exports).flatMap(([name, target]) => {
    if (typeof target === "string") return [];
    const source = target.types.replace("./dist/", "./").replace(/\.d\.ts$/, ".ts");
    const find = new RegExp(`^granule${name.slice(1)}$`);
    return [{ find, replacement: fileURLToPath(new URL(source, import.meta.url)) }];
  });
}

const shared = {
  pool: "forks",
  maxWorkers: 2,
  // A full run shares two cores with traces of hundreds of megabytes.
  testTimeout: 60_000,
  hookTimeout: 120_000,
} as const;

export default defineConfig({
  resolve: { alias: sourcesOfExports() },
  test: {
    projects: [
      {
        extends: true,
        test: {
          ...shared,
          name: "node",
          include: ["test/**/*.test.ts", "bench/**/*.test.ts"],
          exclude: ["test/browser/**"],
        },
      },
      // Drives Chromium from Node, on the packed package as a user installs it: no bundler, no dev server in between.
      { extends: true, test: { ...shared, name: "browser", include: ["test/browser/**/*.test.ts"] } },
    ],
  },
});
