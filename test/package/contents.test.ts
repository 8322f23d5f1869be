import { existsSync } from "node:fs";
import { join, posix } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { importsOf, modulesNamedIn, ROOT, text } from "../house/sources.js";
import { dryPack } from "./packed.js";

/** What a page loads that imports "granule": code, inlined core, no trace readers, no command line. */
const MAX_ENTRY_GZIP = 72 * 1024;
// More than half of it are sources, documents with their pictures, examples, and the built page of `granule view`.
const MAX_PACKAGE = 3 * 1024 * 1024;

interface Manifest {
  readonly dependencies?: object;
  readonly peerDependencies?: object;
  readonly optionalDependencies?: object;
  readonly sideEffects: readonly string[];
  readonly engines: { readonly node: string };
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly scripts: Readonly<Record<string, string>>;
}

const manifest = JSON.parse(text("package.json")) as Manifest;
const report = dryPack();
const paths = report.files.map(({ path }) => path).sort();

/** The anchor that a heading gets: lower case, punctuation gone, a hyphen for each blank. */
function anchors(document: string): string[] {
  const headings = [...text(document).matchAll(/^#+ (.*)$/gm)];
  return headings.map(([, words = ""]) =>
    words
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/** Does a link of a packed document lead to the web, or to a packed file or folder and a heading that is there? */
function leadsSomewhere(from: string, to: string): boolean {
  if (/^https:/.test(to)) return true;
  const [path = "", anchor] = to.split("#");
  const target = path === "" ? from : posix.join(posix.dirname(from), path);
  const isThere = paths.includes(target) || paths.some((one) => one.startsWith(`${target.replace(/\/$/, "")}/`));
  return isThere && (anchor === undefined || anchors(target).includes(anchor));
}

describe("the package", () => {
  it("holds these kinds of files and no others", () => {
    const kinds = new Map<string, number>();
    for (const path of paths) {
      const kind = path.replace(/[^/]+?(?=\.(?:d\.ts|d\.ts\.map|js|js\.map|ts|mjs|css)$)/, "*");
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
    expect([...kinds.keys()].sort()).toMatchSnapshot();
  });

  it("has for every source its code, types and maps, and nothing whose source is gone", () => {
    const built = paths.filter((path) => path.startsWith("dist/bindings/"));
    const sources = new Set(
      built.map((path) => path.replace("dist/", "").replace(/(?:\.d\.ts|\.js)(?:\.map)?$/, ".ts")),
    );
    expect([...sources].filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
    const shipped = paths.filter((path) => path.startsWith("bindings/") && path.endsWith(".ts"));
    for (const path of shipped) {
      const stem = `dist/${path.replace(/\.ts$/, "")}`;
      expect(paths).toEqual(
        expect.arrayContaining([`${stem}.js`, `${stem}.d.ts`, `${stem}.js.map`, `${stem}.d.ts.map`]),
      );
    }
  });

  it("has no test, no benchmark and no configuration", () => {
    expect(
      paths.filter((path) => /(?:^|\/)(?:test|bench|node_modules|\.ci)\/|\.test\.|vitest|biome/.test(path)),
    ).toEqual([]);
  });

  it("has what its documents link to, headings included", () => {
    const documents = paths.filter((path) => path.endsWith(".md"));
    expect(documents).toEqual(expect.arrayContaining(["README.md", "docs/architecture.md", "docs/spec/README.md"]));
    const links = documents.flatMap((from) =>
      [...text(from).matchAll(/\]\(([^)\s]+)\)/g)].map(([, to = ""]) => ({ from, to })),
    );
    expect(links.length).toBeGreaterThan(50);
    expect(links.filter(({ from, to }) => !leadsSomewhere(from, to))).toEqual([]);
  });

  it("has the sources that the debug core's map names, once", () => {
    const map = JSON.parse(text("dist/granule.debug.wasm.map")) as {
      readonly sourceRoot: string;
      readonly sources: readonly string[];
      readonly sourcesContent: readonly (string | null)[];
    };
    const ours = map.sources.filter((name) => name.startsWith("assembly/"));
    expect(ours.length).toBeGreaterThan(20);
    expect(ours.filter((name) => !paths.includes(posix.join("dist", map.sourceRoot, name)))).toEqual([]);
    expect(map.sourcesContent.map((content) => content === null)).toEqual(
      map.sources.map((name) => ours.includes(name)),
    );
  });

  it("is small", () => {
    console.log(`package: ${paths.length} files, ${report.size} bytes packed, ${report.unpackedSize} unpacked`);
    expect(report.size).toBeLessThan(MAX_PACKAGE);
  });

  it("needs other packages for Parquet alone, which one file asks for when Parquet is wanted", () => {
    const { dependencies, peerDependencies, optionalDependencies } = manifest;
    expect(Object.keys(dependencies ?? {})).toEqual(["hyparquet", "hyparquet-writer"]);
    expect([peerDependencies, optionalDependencies]).toEqual([undefined, undefined]);
    const code = paths.filter((path) => path.startsWith("dist/") && path.endsWith(".js"));
    const foreign = code.flatMap((path) => {
      const names = modulesNamedIn(path).filter((name) => !/^(?:\.|node:)/.test(name));
      return names.map((name) => `${path}: ${name}`);
    });
    const parquet = "dist/bindings/tabular/parquet.js";
    expect(foreign).toEqual([`${parquet}: hyparquet`, `${parquet}: hyparquet-writer`]);
    expect(code.filter((path) => importsOf(path, ".js").includes(parquet))).toEqual([]);
    const later = code.filter((path) => /import\("[^"]*parquet\.js"\)/.test(text(path)));
    expect(later).toEqual(["dist/bindings/tabular/reader.js", "dist/bindings/tabular/writer.js"]);
  });

  it("runs nothing when it is installed", () => {
    for (const hook of ["preinstall", "install", "postinstall"]) expect(manifest.scripts).not.toHaveProperty(hook);
  });

  it("is free of side effects but for the worker's script, and says which Node it needs", () => {
    const script = manifest.exports["./worker"] as { readonly default: string };
    expect(manifest.sideEffects).toEqual([script.default]);
    expect(manifest.engines.node).toBe(">=20.19");
  });

  it("has every source map that its code and types name", () => {
    const named = paths
      .filter((path) => /^dist\/.*\.(?:js|d\.ts)$/.test(path))
      .flatMap((path) =>
        [...text(path).matchAll(/^\/\/# sourceMappingURL=(.*)$/gm)].map(([, map = ""]) => posix.join(path, "..", map)),
      );
    expect(named.length).toBeGreaterThan(100);
    expect(named.filter((path) => !paths.includes(path))).toEqual([]);
  });
});

describe("the exports map", () => {
  const targets = Object.entries(manifest.exports);

  it.each(targets)("%s names files of the package, types first", (_name, target) => {
    const files = typeof target === "string" ? [target] : Object.values(target);
    expect(paths).toEqual(expect.arrayContaining(files.map((file) => file.replace(/^\.\//, ""))));
    if (typeof target !== "string") expect(Object.keys(target)).toEqual(["types", "default"]);
  });

  it("has a command that is in the package and starts with a line for the shell", () => {
    const command = manifest.bin.granule ?? "";
    expect(paths).toContain(command.replace(/^\.\//, ""));
    expect(text(command)).toMatch(/^#!\/usr\/bin\/env node\n/);
  });
});

/** Modules that loading `path` loads. */
function closure(path: string, seen: Set<string> = new Set()): Set<string> {
  if (seen.has(path)) return seen;
  seen.add(path);
  for (const module of importsOf(path, ".js")) closure(module, seen);
  return seen;
}

describe("the main entry", () => {
  const modules = [...closure("dist/bindings/index.js")];

  it("weighs what README says, gzipped, with its core", () => {
    const code = modules.map((path) => text(path).replaceAll(/^\/\/# sourceMappingURL=.*$/gm, "")).join("\n");
    const zipped = gzipSync(code, { level: 9 }).length;
    console.log(`granule: ${modules.length} modules, ${code.length} bytes, ${zipped} gzipped`);
    expect(zipped).toBeLessThan(MAX_ENTRY_GZIP);
  });

  it("loads no command line, no trace reader, no debug core and nothing of Node", () => {
    expect(modules.filter((path) => /\/(?:cli|trace|replay|conform)\/|debug\.generated/.test(path))).toEqual([]);
    expect(modules.filter((path) => modulesNamedIn(path).some((name) => !name.startsWith(".")))).toEqual([]);
  });

  it("awaits nothing at top level, so that require() works", () => {
    expect(modules.filter((path) => /^(?:await|(?:const|let) .*= await)\b/m.test(text(path)))).toEqual([]);
  });
});
