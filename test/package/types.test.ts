// The package's types as a project sees them that has installed it: strict, every declaration file checked, with and
// without the DOM's types, never Node's.

import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { beforeAll, describe, expect, it } from "vitest";
import { entryPoints } from "../house/public.js";
import { ROOT } from "../house/sources.js";
import { scratchFolder } from "../support/scratch.js";
import { installInto } from "./packed.js";

const folder = scratchFolder();
let project = "";

beforeAll(() => {
  project = join(installInto(folder), "../..");
});

const RESOLUTIONS = {
  nodenext: { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext },
  bundler: { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler },
} as const;
type Resolution = keyof typeof RESOLUTIONS;

const WITHOUT_DOM = ["lib.es2022.d.ts"];

/** Parsed files, kept: what the compiler brings along is the same in every program. */
const parsed = new Map<string, ts.SourceFile | undefined>();

function hostOf(options: ts.CompilerOptions): ts.CompilerHost {
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  host.getSourceFile = (name, how, ...rest) => {
    if (!/node_modules/.test(name)) return getSourceFile(name, how, ...rest);
    const key = `${name} ${JSON.stringify(how)}`;
    if (!parsed.has(key)) parsed.set(key, getSourceFile(name, how, ...rest));
    return parsed.get(key);
  };
  return host;
}

/** What the compiler says of one file and of everything that it imports. */
function diagnose(file: string, lib: string[], resolution: Resolution = "nodenext"): string[] {
  const options: ts.CompilerOptions = {
    ...RESOLUTIONS[resolution],
    target: ts.ScriptTarget.ES2022,
    lib,
    types: [],
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
  };
  const program = ts.createProgram([join(project, file)], options, hostOf(options));
  return ts.getPreEmitDiagnostics(program).map((found) => {
    const where = found.file?.fileName.replace(project, "") ?? "";
    return `${where}: ${ts.flattenDiagnosticMessageText(found.messageText, "\n")}`;
  });
}

function diagnoseText(code: string): string[] {
  writeFileSync(join(project, "text.mts"), code);
  return diagnose("text.mts", WITHOUT_DOM);
}

describe("the declarations", () => {
  const cases: readonly (readonly [string, Resolution, string[]])[] = [
    ["ES2022 alone", "nodenext", WITHOUT_DOM],
    ["ES2022 alone", "bundler", WITHOUT_DOM],
    ["the DOM", "nodenext", ["lib.es2022.d.ts", "lib.dom.d.ts"]],
    ["a worker", "bundler", ["lib.es2022.d.ts", "lib.webworker.d.ts"]],
  ];

  it.each(cases)("are right with the types of %s, resolved as %s, without skipLibCheck", (_name, resolution, lib) => {
    const names = entryPoints().map(({ name }, i) => `export * as entry${i} from "${name}";\n`);
    expect(names.length).toBeGreaterThan(7);
    writeFileSync(join(project, "every.mts"), names.join(""));
    expect(diagnose("every.mts", lib, resolution)).toEqual([]);
  });

  it("say of the platform's classes what the platform says, where the project knows them", () => {
    const code = `
      import type { Engine } from "granule";
      declare const engine: Engine;
      const memory: WebAssembly.Memory = engine.memory;
      export const same: typeof memory extends Engine["memory"] ? true : false = true;`;
    writeFileSync(join(project, "text.mts"), code);
    expect(diagnose("text.mts", ["lib.es2022.d.ts", "lib.dom.d.ts"])).toEqual([]);
    expect(
      diagnoseText(
        `import type { Engine } from "granule";\nexport const bytes = (e: Engine) => e.memory.buffer.byteLength;`,
      ),
    ).toEqual([]);
  });

  it("keep to themselves what is internal", () => {
    const members = [
      ["Engine", "hosts"],
      ["Engine", "borrowBuffer"],
      ["Stage2Table", "perform"],
      ["Stage2Table", "assertUsable"],
      ["Batch", "pointerIn"],
    ];
    const lines = members.map(([type, member], i) => `export type M${i} = import("granule").${type}["${member}"];\n`);
    const found = diagnoseText(lines.join(""));
    expect(found).toHaveLength(members.length);
    members.forEach(([type, member], i) => {
      expect(found[i]).toMatch(new RegExp(`Property '${member}' does not exist on type '.*${type}'`));
    });
  });

  it("let nobody make what only an engine or an MMU makes", () => {
    const code = `
      import { Batch, Engine, Pool } from "granule";
      import { Mmu, Tlb } from "granule/mmu";
      new Batch();
      new Engine();
      new Pool();
      new Mmu();
      new Tlb();`;
    const found = diagnoseText(code);
    expect(found).toHaveLength(5);
    for (const one of found) expect(one).toMatch(/Expected [\d-]+ arguments|constructor of class .* is private/i);
  });
});

describe("addresses", () => {
  it.each(["nodenext", "bundler"] as const)("of one space are refused where another is meant (%s)", (resolution) => {
    copyFileSync(join(ROOT, "test/package/consumer/addresses.ts"), join(project, "addresses.mts"));
    expect(diagnose("addresses.mts", WITHOUT_DOM, resolution)).toEqual([]);
  });

  it("are named in the error", () => {
    const found = diagnoseText(`
      import { createEngine, pa } from "granule";
      createEngine().createStage2().map(pa(0), 4096, 0, "r");`);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain("Argument of type 'Pa' is not assignable to parameter of type 'IpaLike'");
  });
});
