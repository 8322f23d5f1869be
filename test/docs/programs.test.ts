// The programs of examples/: in TypeScript and in JavaScript, against the installed package, as a user has them.

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { beforeAll, describe, expect, it } from "vitest";
import { filesBelow, ROOT, text } from "../house/sources.js";
import { installInto } from "../package/packed.js";
import { scratchFolder } from "../support/scratch.js";
import { states } from "./examples.js";
import { withoutTypes } from "./strip.js";

const programs = filesBelow("examples", [".ts"]);
/** Those that print; the others are pages. */
const printing = programs.filter((path) => text(path).includes("console.log"));

describe("the programs of examples/", () => {
  const folder = scratchFolder();
  let project = "";

  beforeAll(() => {
    project = join(installInto(folder), "../..");
    mkdirSync(join(project, "examples"));
    cpSync(join(ROOT, "examples"), join(project, "examples"), { recursive: true });
  });

  it("are there", () => {
    expect(programs).toEqual(["examples/draw-table/draw.ts", "examples/emulator.ts", "examples/vmm.ts"]);
  });

  it.each(programs)("%s is the same in JavaScript (vitest -u writes it)", async (path) => {
    await expect(withoutTypes(text(path))).toMatchFileSnapshot(join(ROOT, path.replace(/\.ts$/, ".mjs")));
  });

  it("type-check against the installed package, strictly, its declarations included", () => {
    const program = ts.createProgram(
      programs.map((path) => join(project, path)),
      {
        target: ts.ScriptTarget.ES2022,
        lib: ["lib.es2023.d.ts", "lib.dom.d.ts"],
        module: ts.ModuleKind.NodeNext,
        moduleResolution: ts.ModuleResolutionKind.NodeNext,
        types: [],
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        skipLibCheck: false,
        noEmit: true,
      },
    );
    const found = ts.getPreEmitDiagnostics(program).map(({ file, messageText }) => {
      return `${file?.fileName.slice(project.length)}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
    });
    expect(found).toEqual([]);
  });

  it.each(printing)("%s prints what it says", (path) => {
    const stated = [...text(path).matchAll(/^ *console\.log\(.*\); \/\/ (.*)$/gm)].map(([, comment]) => comment);
    const script = join(project, path.replace(/\.ts$/, ".mjs"));
    const printed = execFileSync(process.execPath, [script], { encoding: "utf8", cwd: project }).trimEnd().split("\n");
    expect(stated.length).toBeGreaterThan(3);
    expect(printed.map((line, i) => states(stated[i], [line]) || `${line} is not ${stated[i]}`)).toEqual(
      stated.map(() => true),
    );
  });
});

describe("a program without its types", () => {
  it.each([
    ["const a: number = 1;", "const a = 1;"],
    ["class A {\n  readonly b: string | undefined;\n}", "class A {\n  b;\n}"],
    ["function f(a: number, b?: string): void {}", "function f(a, b) {}"],
    ["/** What. */\ninterface A {\n  b: 1;\n}\n\nf();", "f();"],
    ['import { a, type B } from "c";', 'import { a } from "c";'],
    ['import { type B } from "c";\nf();', "f();"],
    ["const m = new Map<string, number>([] as const);", "const m = new Map([]);"],
    ["const f = (a: A): B => a; // kept", "const f = (a) => a; // kept"],
  ])("%j is %j", (source, expected) => {
    expect(withoutTypes(source)).toBe(expected);
  });
});
