import { execFileSync, spawnSync } from "node:child_process";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { entryPoints } from "../house/public.js";
import { ROOT, text } from "../house/sources.js";
import { scratchFolder } from "../support/scratch.js";
import { installInto, packInto } from "./packed.js";

const folder = scratchFolder();
let project = "";

beforeAll(() => {
  project = join(installInto(folder), "../..");
});

function node(file: string, code: string): string {
  const path = join(project, file);
  writeFileSync(path, code);
  return execFileSync(process.execPath, [path], { cwd: project, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

const MAP = `
const engine = createEngine({ arenaBytes: 4 << 20 });
const table = engine.createStage2({ ipaBits: 40 });
table.map(0x4000_0000, 0x1000, 0x8_0000_0000, "rw");
console.log(table.leaf(0x4000_0000).kind, table.leaf(0x4000_1000).kind);
engine.close();
`;

describe("the installed package", () => {
  it("is imported by an ES module", () => {
    expect(node("main.mjs", `import { createEngine } from "granule";${MAP}`)).toBe("page hole\n");
  });

  it("is required by a CommonJS module", () => {
    expect(node("main.cjs", `const { createEngine } = require("granule");${MAP}`)).toBe("page hole\n");
  });

  it("runs README's first example as it is, and prints what it says", () => {
    const [, code = ""] = /```js\n(.*?)```/s.exec(text("README.md")) ?? [];
    const stated = [...code.matchAll(/^ *\/\/ (.*)$/gm)].map(([, line]) => line);
    expect(stated.length).toBeGreaterThan(0);
    expect(node("first.mjs", code)).toBe(`${stated.join("\n")}\n`);
  });

  it("has a debug build of the same names", () => {
    expect(node("debug.mjs", `import { createEngine } from "granule/debug";${MAP}`)).toBe("page hole\n");
  });

  it("takes a core from the caller, from the wasm file that it exports", () => {
    const load = `
      import { readFileSync } from "node:fs";
      import { createEngine as create } from "granule/slim";
      const bytes = readFileSync(new URL(import.meta.resolve("granule/granule.wasm")));
      const createEngine = (options) => create(new WebAssembly.Module(bytes), options);`;
    expect(node("slim.mjs", load + MAP)).toBe("page hole\n");
  });

  it("gives every entry point a module with names", () => {
    const names = entryPoints().map(({ name }) => name);
    const list = `for (const name of ${JSON.stringify(names)}) console.log(name, Object.keys(await import(name)).length > 0);`;
    expect(node("entries.mjs", list)).toBe(names.map((name) => `${name} true\n`).join(""));
  });

  it("hides what it does not export", () => {
    const code = `await import("granule/dist/bindings/core/core.js").catch((error) => console.log(error.code));`;
    expect(node("hidden.mjs", code)).toBe("ERR_PACKAGE_PATH_NOT_EXPORTED\n");
  });

  it("works in a worker thread", () => {
    const code = `
      import { Worker, isMainThread, parentPort } from "node:worker_threads";
      import { createEngine } from "granule";
      if (isMainThread) {
        const worker = new Worker(new URL(import.meta.url));
        worker.on("message", (kind) => console.log(kind));
      } else {
        const table = createEngine().createStage2();
        table.map(0, 4096, 0, "r");
        parentPort.postMessage(table.leaf(0).kind);
      }`;
    expect(node("worker.mjs", code)).toBe("page\n");
  });
});

describe("the installed command", () => {
  const granule = (...arguments_: string[]) =>
    spawnSync(join(project, "node_modules/.bin/granule"), arguments_, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });

  it("is executable", () => {
    expect(statSync(join(project, "node_modules/.bin/granule")).mode & 0o111).not.toBe(0);
  });

  it("helps", () => {
    const { status, stdout } = granule("--help");
    expect({ status, stdout }).toMatchObject({ status: 0, stdout: expect.stringContaining("granule <command>") });
  });

  it("explains a descriptor", () => {
    const { status, stdout } = granule("explain", "0x400000000099db", "--json");
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ schemaVersion: 1 });
  });

  it("refuses what it does not know", () => {
    expect(granule("no-such-command").status).toBe(2);
  });
});

describe("the packed archive", () => {
  const tool = (name: string, ...arguments_: string[]) =>
    spawnSync(process.execPath, [join(ROOT, "node_modules", name), ...arguments_], {
      cwd: ROOT,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" },
    });

  it("is clean for publint, suggestions included", () => {
    const { status, stdout, stderr } = tool("publint/src/cli.js", packInto(folder), "--strict");
    expect(`${stdout}${stderr}`).toContain("All good!");
    expect(status).toBe(0);
  });

  it("has types that are right wherever ES modules are resolved (attw)", () => {
    const files = ["granule.wasm", "granule.debug.wasm", "audit.wasm", "mmu.wasm", "vm.wasm", "package.json"];
    const archive = packInto(folder);
    const options = ["--profile", "esm-only", "--no-emoji", "--exclude-entrypoints", ...files];
    const { status, stdout } = tool("@arethetypeswrong/cli/dist/index.js", archive, ...options);
    for (const { name } of entryPoints()) expect(stdout).toMatch(new RegExp(`"${name}" +│ OK \\(ESM\\) +│ OK +│`));
    expect(status).toBe(0);
  });
});
