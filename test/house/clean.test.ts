import { describe, expect, it } from "vitest";
import { benchIds } from "../../bench/run.js";
import { committedFiles, filesBelow, text } from "./sources.js";

const SELF = "test/house/clean.test.ts";
const LOCK = "package-lock.json";
const BINARY = /\.(?:gz|br|wasm|png|jpg|bin|s2raw)$/;

/** Recorded material says where it was recorded; nothing else may know a machine. */
const RECORDED = /^test\/.*fixtures\//;

function committed(): string[] {
  const files =
    committedFiles() ?? ["assembly", "bindings", "bench", "test", "docs"].flatMap((folder) => filesBelow(folder));
  return files.filter((path) => !BINARY.test(path) && !RECORDED.test(path));
}

function linesWith(pattern: RegExp, except: (path: string) => boolean = () => false): string[] {
  return committed()
    .filter((path) => !except(path))
    .flatMap((path) => {
      const lines = text(path).split("\n");
      return lines.flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1} ${line.trim().slice(0, 100)}`] : []));
    });
}

describe("committed files", () => {
  it("name no folder of a machine", () => {
    // Put together here, so that this file does not find itself.
    const folders = ["/work", "/home", "/root", "/Users"].map((folder) => `${folder}/[\\w.]`);
    expect(linesWith(new RegExp(`(?:^|[\\s"'\`(=:])(?:${folders.join("|")})`))).toEqual([]);
  });

  it("leave no folder behind: what tests write goes into test/support/scratch.ts's folders, which it removes", () => {
    const making = new RegExp(["mkdtemp", "tmpdir\\("].join("|"));
    const itsOwn = ["test/support/scratch.ts", "test/mutation/workplace.mjs"];
    const others = (path: string) => !/^(?:test|bench)\//.test(path) || itsOwn.includes(path) || path === SELF;
    expect(linesWith(making, others)).toEqual([]);
    // Whoever makes one inside a function must say when it goes.
    expect(linesWith(/(?<!\busing \w+ = )new Scratch\(\)/, others)).toEqual([]);
  });

  it("name no registry and no download host", () => {
    const hosts = ["registry\\.", "npmjs\\.", "yarnpkg\\.", "jsdelivr\\.", "unpkg\\."].join("|");
    expect(linesWith(new RegExp(`https?://[\\w.-]*(?:${hosts})`))).toEqual([]);
  });
});

interface Lock {
  readonly packages: Readonly<
    Record<
      string,
      {
        readonly resolved?: string;
        readonly integrity?: string;
        readonly dependencies?: Readonly<Record<string, string>>;
        readonly optionalDependencies?: Readonly<Record<string, string>>;
      }
    >
  >;
}

describe("package-lock.json", () => {
  const { packages } = JSON.parse(text(LOCK)) as Lock;
  const installed = Object.entries(packages).filter(([path]) => path !== "");

  it("leaves the registry to npm's own configuration", () => {
    expect(installed.filter(([, { resolved }]) => resolved !== undefined).map(([path]) => path)).toEqual([]);
  });

  it("has every package that another one asks for, those of other platforms too, so that npm ci accepts it", () => {
    const names = new Set(installed.map(([path]) => path.slice(path.lastIndexOf("node_modules/") + 13)));
    const asked = installed.flatMap(([, one]) => Object.keys({ ...one.dependencies, ...one.optionalDependencies }));
    expect([...new Set(asked)].filter((name) => !names.has(name))).toEqual([]);
  });

  it("pins every package by its hash", () => {
    expect(installed.filter(([, { integrity }]) => !integrity?.startsWith("sha512-")).map(([path]) => path)).toEqual(
      [],
    );
  });
});

// The ids that scripts may rely on, and the judge's.
const STABLE_IDS = [
  "map-4k",
  "fault-random",
  "fault-random-shared",
  "wrprotect",
  "unmap",
  "age",
  "lookup-1g",
  "lookup-64g",
  "walk-leaf",
  "walk-leaf-js",
  "visit-leaf-js",
  "split",
  "relax-random",
  "map-64g-2m",
  "fault-parallel-disjoint",
  "fault-parallel-interleaved",
  "translate-hit",
  "translate-miss",
  "translate-nested-miss",
  "call-empty",
  "call-map",
  "call-unmap",
  "call-leaf",
  "call-relax",
  "call-mkyoung",
  "call-wrprotect",
  "call-translate",
  "call-access-hit",
  "call-map-rich",
  "call-unmap-rich",
  "call-leaf-rich",
  "call-relax-rich",
  "call-mkyoung-rich",
  "call-translate-rich",
  "call-access-hit-rich",
  "replay",
  "replay-dat",
  "judge-online",
  "check",
  "vm-access-hit",
  "vm-access-miss",
  "vm-fault",
  "vm-dirty-round",
  "vm-rmap-unmap",
  "vm-split-enable",
  "vm-split-clear",
  "vm-dirty-64g",
  "vm-fault-disjoint",
  "vm-fault-interleaved",
  "table-bytes",
];

describe("the benchmark", () => {
  it("has each of these ids once, and no others", () => {
    expect([...benchIds].sort()).toEqual([...STABLE_IDS].sort());
  });
});
