// The mutants of `npm run mutate`: what is changed, what is left alone, and that the compiler sees the change.

import { describe, expect, it } from "vitest";
import { ROOT, text } from "../house/sources.js";
import { Compiler } from "./compiler.mjs";
import { apply, mutantsOf } from "./mutants.mjs";

const mutations = (source: string, shared?: ReadonlySet<string>) =>
  mutantsOf("a.ts", source, shared).map(({ mutation }) => mutation);
const inFunction = (statement: string, result = "i32") =>
  mutations(`function f(a: u32, b: u32): ${result} { ${statement} }`);

describe("a file's mutants", () => {
  it.each([
    ["a boundary and the opposite", "return g(a < b);", ["a < b -> (a <= b)", "a < b -> (a >= b)"]],
    ["equality", "g(a === b);", ["a === b -> (a !== b)"]],
    ["arithmetic", "g(a + b);", ["a + b -> (a - b)"]],
    ["a shift, its direction and operands", "g(a << b);", ["a << b -> (a >> b)", "a << b -> ((b) << (a))"]],
    ["a constant, up and down", "g(0x10);", ["0x10 -> 17", "0x10 -> 15"]],
    ["zero, only up", "g(0);", ["0 -> 1"]],
    ["and, or", "g(a && b);", ["a && b -> (a || b)"]],
    ["a condition", "while (a) g();", ["a -> !(a)"]],
    ["a guard, removed", "if (a) return;", ["if (a) return; -> {}"]],
    ["a call, removed", "g(a);", ["g(a) -> nothing"]],
    ["an assignment, removed and inverted", "a += b;", ["a += b -> nothing", "a += b -> (a -= b)"]],
    ["a negation", "g(!a);", ["!a -> (a)"]],
    ["a step", "a++;", ["a++ -> a--"]],
    ["a result", "return a;", ["return a -> return 0", "return a -> return 1"]],
  ])("change %s", (_, statement, expected) => {
    expect(inFunction(statement)).toEqual(expect.arrayContaining(expected));
  });

  it("return the other truth where a truth is returned", () => {
    expect(inFunction("return true;", "bool")).toEqual(["return true -> return false", "true -> false"]);
  });

  it.each([
    ["types and decorators", "@unmanaged class C { x: u32; y: StaticArray<u8>; }"],
    ["imports", 'import { a } from "./a";'],
    ["preconditions", "function f(a: u32): void { demand(a < 5, RULE); }"],
    ["code of the debug build", "function f(a: u32): void { if (isDefined(DEBUG)) { g(a + 1); } }"],
    ["text in comments", "// a < b\n/* a + 1 */"],
  ])("leave %s alone", (_, source) => {
    expect(mutations(source)).toEqual([]);
  });

  it("leave a constant alone that the facade has a copy of", () => {
    const source = "export const SHIFT: u32 = 5;\nconst OWN: u32 = 6;";
    expect(mutations(source, new Set(["SHIFT"]))).toEqual(["6 -> 7", "6 -> 5"]);
  });

  it("keep the tree around them as it is", () => {
    const source = "function f(a: u32, b: u32, c: u32): bool { return a && b && c; }";
    const inner = mutantsOf("a.ts", source).find(({ mutation }) => mutation.startsWith("a && b ->"));
    expect(inner && apply(source, inner)).toContain("return (a || b) && c;");
  });

  it("say where they are", () => {
    const [mutant] = mutantsOf("a.ts", "// one\nconst A: u32 =\n  5;\n");
    expect(mutant).toMatchObject({ file: "a.ts", line: 3, source: "5;", operator: "constant", text: "6" });
  });
});

describe("the warm compiler", () => {
  const compiler = new Compiler(ROOT);
  const file = "assembly/record/counters.ts";
  const compiled = (source: string) =>
    compiler.compile({ entry: "assembly/engine.ts", target: "release", changed: new Map([[file, source]]) });

  it("makes other bytes of a mutant, and the same of the same text", async () => {
    const { bytes, files } = await compiled(text(file));
    expect(files).toContain(file);
    const [mutant] = mutantsOf(file, text(file)).filter(({ operator }) => operator === "statement");
    if (!bytes || !mutant) throw new Error("nothing to compare");
    expect((await compiled(text(file))).bytes?.equals(bytes)).toBe(true);
    expect((await compiled(apply(text(file), mutant))).bytes?.equals(bytes)).toBe(false);
  });

  it("says that text which is no program does not compile", async () => {
    expect((await compiled(text(file).replaceAll("load<u64>", "missing"))).bytes).toBeNull();
  });
});
