import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { filesBelow, importsOf, ROOT, text } from "./sources.js";

/** Rooms from the inside out; a file imports from its own room and from those named. */
type House = Readonly<Record<string, readonly string[]>>;

// assembly/: demand <- arch <- memory <- record <- {table <- vm, mmu, audit} <- sim <- entry. table and mmu
// meet in sim alone.
const CORE: House = {
  demand: [],
  arch: ["demand"],
  memory: ["demand", "arch"],
  record: ["demand", "arch", "memory"],
  table: ["demand", "arch", "memory", "record"],
  mmu: ["demand", "arch", "memory", "record"],
  audit: ["demand", "arch", "memory", "record"],
  vm: ["demand", "arch", "memory", "record", "table"],
  sim: ["demand", "arch", "memory", "record", "table", "mmu", "vm"],
  entry: ["demand", "arch", "memory", "record", "table", "mmu", "audit", "vm", "sim"],
};

// bindings/: core <- model <- tables <- workers <- entry <- report <- vm <- replay <- cli; mmu and audit beside entry; trace knows
// core's numbers only, and meets the tables in vm/ and audit/; tabular knows nobody.
const FACADE: House = {
  core: [],
  model: ["core"],
  tables: ["core", "model"],
  trace: ["core"],
  mmu: ["core", "model", "tables"],
  audit: ["core", "model", "tables", "trace"],
  workers: ["core", "model", "tables"],
  entry: ["core", "model", "tables", "workers"],
  report: ["core", "model", "tables", "entry"],
  conform: ["core", "model", "tables", "mmu", "entry", "report"],
  vm: ["core", "model", "tables", "mmu", "entry"],
  sim: ["core", "model", "tables", "mmu", "entry", "trace", "vm", "report"],
  viewer: ["core", "model", "tables", "entry", "mmu", "trace", "replay", "report", "conform", "explore"],
  replay: ["core", "model", "tables", "entry", "trace", "vm", "report"],
  tabular: [],
  explore: ["core"],
  cli: [
    "tabular",
    "core",
    "explore",
    "model",
    "tables",
    "entry",
    "trace",
    "audit",
    "vm",
    "report",
    "conform",
    "replay",
    "mmu",
    "sim",
    "bench",
  ],
};

/** Room of a file: its folder; files beside the folders are the entry points. */
function roomOf(path: string, top: string, entry: string): string {
  const [first, second] = path.split("/");
  if (first !== top) return first ?? "";
  if (path === "assembly/demand.ts") return "demand";
  return second?.endsWith(".ts") ? entry : (second ?? "");
}

function strayImports(top: string, entry: string, house: House): string[] {
  return filesBelow(top).flatMap((path) => {
    const room = roomOf(path, top, entry);
    const allowed = house[room];
    if (allowed === undefined) return [`${path}: there is no room ${room}`];
    return importsOf(path)
      .filter((target) => ![room, ...allowed].includes(roomOf(target, top, entry)))
      .map((target) => `${path} imports ${target}`);
  });
}

type Imports = (path: string) => readonly string[];

/** Circles of imports among `paths`, each from one of its files round to the same file. Type-only imports count. */
function circlesOf(paths: readonly string[], imports: Imports): string[] {
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (path: string, way: readonly string[]): void => {
    const from = way.indexOf(path);
    if (from >= 0) circles.push([...way.slice(from), path].join(" -> "));
    if (from >= 0 || done.has(path)) return;
    for (const target of imports(path)) visit(target, [...way, path]);
    done.add(path);
  };
  for (const path of paths) visit(path, []);
  return circles;
}

describe("imports", () => {
  const existing: Imports = (path) => importsOf(path).filter((target) => existsSync(join(ROOT, target)));

  /** Circles that are still open. */
  const known: Readonly<Record<string, readonly string[]>> = {};

  it.each(["assembly", "bindings", "bench"])("of %s have no cycle", (top) => {
    const paths = filesBelow(top);
    expect(paths.length).toBeGreaterThan(3);
    expect(circlesOf(paths, existing)).toEqual(known[top] ?? []);
  });

  it("in a cycle are found, whatever its length", () => {
    const graph: Record<string, string[]> = { a: ["b", "d"], b: ["c"], c: ["a"], d: ["d"] };
    expect(circlesOf(Object.keys(graph), (path) => graph[path] ?? [])).toEqual(["a -> b -> c -> a", "d -> d"]);
  });
});

describe("the arrows of docs/architecture.md", () => {
  it("hold in assembly/", () => {
    expect(strayImports("assembly", "entry", CORE)).toEqual([]);
  });

  it("hold in bindings/", () => {
    expect(strayImports("bindings", "entry", FACADE)).toEqual([]);
  });

  it("see a file, a room and an arrow that is not drawn", () => {
    expect(importsOf("assembly/table/walk.ts")).toContain("assembly/memory/cell.ts");
    expect(strayImports("assembly", "entry", { ...CORE, table: ["arch"] })).toContain(
      "assembly/table/walk.ts imports assembly/memory/cell.ts",
    );
    const { model: _, ...houseWithoutModel } = FACADE;
    expect(strayImports("bindings", "entry", houseWithoutModel).join("\n")).toContain("there is no room model");
  });
});

// Rooms beside memory/ touch no descriptor cell by themselves; these files read and write records that they own.
const OWN_RECORDS: Readonly<Record<string, string>> = {
  "assembly/vm/areas.ts": "the list of the VMM's memory, which moves when it grows",
  "assembly/engine.ts": "memory.size() when an engine is laid out",
  "assembly/record/counters.ts": "the counters",
  "assembly/record/journal.ts": "the journal ring",
  "assembly/audit/state.ts": "the judge's own memory",
  "assembly/audit/unit.ts": "the judge's pages and their hash",
  "assembly/audit/clock.ts": "the judge's clocks and locks",
  "assembly/audit/cpu.ts": "the judge's flushes under way",
  "assembly/audit/obligation.ts": "the judge's obligations",
  "assembly/audit/flush.ts": "the judge's clocks and slots",
  "assembly/audit/tree.ts": "the judge's slots",
  "assembly/audit/write.ts": "the judge's slots",
  "assembly/audit/owner.ts": "the judge's hash of owners",
  "assembly/audit/life.ts": "the judge's start tables",
  "assembly/audit/section.ts": "a page's words, to find the tables below it",
  "assembly/audit/root.ts": "the judge's roots",
  "assembly/audit/report.ts": "the judge's violations",
  "assembly/audit/automaton.ts": "the records of the judge's input",
  "assembly/audit/case.ts": "the judge's entries",
  "assembly/audit/journal.ts": "the records of the judge's input",
  "assembly/audit/log.ts": "the records of the judge's input",
  "assembly/audit/run.ts": "the judge's entries, to compare a contiguous run",
  "assembly/audit/tag.ts": "the judge's VMIDs and ASIDs",
  "assembly/table/down.ts": "columns of the host's buffers",
  "assembly/table/lookup.ts": "columns of the host's buffers",
  "assembly/table/submit.ts": "submission records",
  "assembly/table/columns.ts": "columns of the host's buffers",
  "assembly/vm.ts": "the host's buffer for a bitmap",
  "assembly/sim/machine.ts": "which CPU a walker runs, and a machine's chunks",
  "assembly/sim/recorded.ts": "accesses in the host's buffer",
  "assembly/sim/witness.ts": "counts of stores",
  "assembly/vm/host.ts": "areas, and the states of pages",
  "assembly/vm/operate.ts": "counts of operations",
  "assembly/vm/slots.ts": "slots",
  "assembly/vm/rmap/shadow.ts": "the host's buffer for the entries of a reverse map",
  "assembly/table/mmops.ts": "a hook's answer in the result block",
};

describe("memory is touched", () => {
  const raw = /\b(?:load|store)<|\batomic\.|\bv128\.(?:load|store)|\bmemory\.\w+\(/;

  it("in memory/, and in own records elsewhere", () => {
    const others = filesBelow("assembly").filter((path) => !path.startsWith("assembly/memory/"));
    const touching = others.filter((path) => raw.test(text(path)));
    expect(touching.filter((path) => !(path in OWN_RECORDS))).toEqual([]);
  });

  it("by no atomic and no vector outside memory/", () => {
    const others = filesBelow("assembly").filter((path) => !path.startsWith("assembly/memory/"));
    expect(others.filter((path) => /\batomic\.|\bv128\./.test(text(path)))).toEqual([]);
  });
});
