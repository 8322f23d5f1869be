import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile, withoutDemands } from "../../bindings/core/compile.mjs";
import * as K from "../../bindings/core/constants.generated.js";
import { Hosts } from "../../bindings/tables/host.js";
import { filesBelow, text } from "../house/sources.js";
import { Scratch } from "../support/scratch.js";

const ROOMS = new URL("rooms/", import.meta.url);
const RULES = Object.entries(K).filter(([name]) => name.startsWith("RULE_")) as [string, number][];

type Breaks = Record<string, () => void>;

/** The rules that a room's file breaks, compiled with the room; the core's imports that no rule needs do nothing. */
async function breaksOf(room: string, demand: (rule: number) => void): Promise<Breaks> {
  using scratch = new Scratch();
  const outFile = join(scratch.path, `${room}.wasm`);
  await compile({ entry: `test/demand/rooms/${room}.ts`, target: "debug", outFile });
  const module = new WebAssembly.Module(readFileSync(outFile));
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 65536, shared: true });
  const nothing = () => 0;
  const host = {
    hook: nothing,
    visit: nothing,
    forcePte: nothing,
    clock: nothing,
    breach: nothing,
    point: nothing,
    demand,
  };
  return new WebAssembly.Instance(module, { env: { memory, base: 1024, abort: nothing }, host }).exports as Breaks;
}

/** A broken rule ends the call, as the facade's import does. */
class Broken extends Error {
  constructor(readonly rule: number) {
    super(`rule ${rule}`);
  }
}

function breakOff(rule: number): never {
  throw new Broken(rule);
}

/** What a broken rule does now. */
let onDemand: (rule: number) => void = breakOff;

const rooms = readdirSync(ROOMS).map((file) => basename(file, ".ts"));
const breaks: Breaks = {};
// One after the other: the compiler keeps its state in globals.
for (const room of rooms) {
  const made = await breaksOf(room, (rule) => onDemand(rule));
  Object.assign(breaks, made);
}

describe("a debug build", () => {
  it.each(RULES)("notices when %s is broken", (name, rule) => {
    const broken = breaks[name];
    if (!broken) throw new Error(`no function in test/demand/rooms breaks ${name}`);
    expect(broken).toThrow(new Broken(rule));
  });

  it("says the rule in words, and where it is broken", () => {
    const hosts = new Hosts();
    onDemand = hosts.demand;
    try {
      expect(breaks.RULE_LEVEL).toThrow(/RULE_LEVEL in \S*(?:granule\/shift|RULE_LEVEL): the level lies between/);
      expect(breaks.RULE_GRANULE).toThrow(/RULE_GRANULE in \S*(?:granule\/levelBits|RULE_GRANULE): the page size is/);
    } finally {
      onDemand = breakOff;
    }
  });

  it("names the rule to the caller", () => {
    const [name, rule] = RULES[0] as [string, number];
    expect(() => new Hosts().demand(rule)).toThrow(name.slice("RULE_".length));
  });
});

describe("a release build", () => {
  const files = filesBelow("assembly").filter((path) => path !== "assembly/demand.ts");

  it("is compiled without preconditions, every other line where it was", () => {
    const source = "a();\n  demand(\n    b(c) === 1,\n    RULE,\n  );\n  d();\n";
    expect(withoutDemands(source)).toBe("a();\n\n\n\n\n  d();\n");
  });

  it("has no precondition left in any source", () => {
    const calls = (source: string) => source.match(/\bdemand\(/g)?.length ?? 0;
    expect(files.filter((path) => calls(withoutDemands(text(path))) > 0)).toEqual([]);
    expect(files.reduce((sum, path) => sum + calls(text(path)), 0)).toBeGreaterThan(0);
  });
});
