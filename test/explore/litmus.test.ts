// Litmus tests: what is written is read back and run, on sequentially consistent memory, beside the protocol that it was written from; and
// what `exists` names is what the explorer finds on a weak memory.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { explore, litmus, protocol, type Scenario, scenario } from "../../bindings/explore/index.js";
import { BARRIERS } from "../../bindings/explore/scenarios/museum/barriers.js";
import { inside } from "../cli/inside.js";
import { Scratch } from "../support/scratch.js";

interface Read {
  arch: string;
  name: string;
  words: Map<string, number>;
  /** For each thread the words that its registers name. */
  addresses: Map<string, string>[];
  programs: string[][];
  exists: string;
}

/** Reads the part of the format that is written. */
function parse(text: string): Read {
  const found = /^(\S+) (\S+)\n"[^"\n]+"\n\{\n([\s\S]*?)\n\}\n([\s\S]*?)\nexists (\([\s\S]*\))\n$/.exec(text);
  if (found === null) throw new Error(`no litmus test: ${text}`);
  const [, arch = "", name = "", init = "", body = "", exists = ""] = found;
  const rows = body.split("\n").map((row) => {
    expect(row.endsWith(" ;")).toBe(true);
    return row
      .slice(0, -2)
      .split("|")
      .map((cell) => cell.trim());
  });
  const [titles = [], ...lines] = rows;
  expect(titles).toEqual(titles.map((_, id) => `P${id}`));
  expect(new Set(rows.map(({ length }) => length)).size).toBe(1);
  const addresses = titles.map(() => new Map<string, string>()),
    words = new Map<string, number>();
  for (const [, thread, left = "", right = ""] of init.matchAll(/(?:(\d+):)?(\w+)=(\w+);/g)) {
    if (thread === undefined) words.set(left, Number(right));
    else addresses[Number(thread)]?.set(left, right);
  }
  const programs = titles.map((_, id) => lines.map((row) => row[id] ?? "").filter((line) => line !== ""));
  return { arch, name, words, addresses, programs, exists };
}

interface Thread {
  at: number;
  registers: Record<string, number>;
  flag: boolean;
}

/** One instruction of thread `id`. */
function execute({ programs, addresses }: Read, id: number, thread: Thread, memory: Record<string, number>): void {
  const program = programs[id] as string[],
    line = program[thread.at++] as string,
    [name = "", ...rest] = line.split(/[ ,]/),
    registers = thread.registers;
  const reg = (text = "") => text.replace("W", "X"),
    value = (text = "") => (text.startsWith("#") ? Number(text.slice(1)) : (registers[reg(text)] ?? 0));
  const word = (text = "") => {
    const base = text.slice(1, -1);
    return addresses[id]?.get(base) ?? `#${registers[base]}`;
  };
  const goto = (label = "") => {
    thread.at = program.indexOf(`${label}:`);
    expect(thread.at).toBeGreaterThanOrEqual(0);
  };
  const [a = "", b = "", c = ""] = rest;
  if (line.endsWith(":") || name === "DMB") return;
  if (name === "MOV") registers[reg(a)] = value(b);
  else if (name === "EOR") registers[reg(a)] = value(b) ^ value(c);
  else if (name === "ADD") addresses[id]?.set(a, addresses[id]?.get(b) ?? "");
  else if (name === "CMP") thread.flag = value(a) === value(b);
  else if (name === "B") goto(a);
  else if (name === "B.EQ") thread.flag && goto(a);
  else if (["LDR", "LDAPR", "LDAR"].includes(name)) registers[reg(a)] = memory[word(b)] as number;
  else if (["STR", "STLR"].includes(name)) memory[word(b)] = value(a);
  else if (name.startsWith("SWP")) [registers[reg(b)], memory[word(c)]] = [memory[word(c)] as number, value(a)];
  else if (name.startsWith("LDADD")) {
    const old = memory[word(c)] as number;
    memory[word(c)] = old + value(a);
    registers[reg(b)] = old;
  } else if (name.startsWith("CAS")) {
    const old = memory[word(c)] as number;
    if (old === value(a)) memory[word(c)] = value(b);
    registers[reg(a)] = old;
  } else throw new Error(`no instruction that is known: ${line}`);
}

/** Does `exists` hold at the end of some interleaving? */
function isReached(test: Read): boolean {
  const seen = new Set<string>();
  const visit = (threads: Thread[], memory: Record<string, number>): boolean => {
    const key = JSON.stringify([threads, memory]);
    if (seen.has(key)) return false;
    seen.add(key);
    const live = threads.flatMap(({ at }, id) => (at < (test.programs[id]?.length ?? 0) ? [id] : []));
    if (live.length === 0) return holds(test.exists, threads, memory);
    return live.some((id) => {
      const next = structuredClone(threads),
        after = { ...memory };
      execute(test, id, next[id] as Thread, after);
      return visit(next, after);
    });
  };
  const threads = test.programs.map(() => ({ at: 0, registers: {}, flag: false }));
  return visit(threads, Object.fromEntries(test.words));
}

function holds(exists: string, threads: readonly Thread[], memory: Record<string, number>): boolean {
  const isTrue = exists
    .replaceAll(/(\d+):(\w+)=(-?\d+)/g, (_, id, register, value) =>
      String((threads[Number(id)]?.registers[register] ?? 0) === Number(value)),
    )
    .replaceAll(/(\w+)=(-?\d+)/g, (_, word, value) => String(memory[word] === Number(value)));
  const terms = isTrue.slice(1, -1).split("\\/");
  return terms.some((term) => !term.includes("false"));
}

const both: Scenario[] = BARRIERS.flatMap(({ sound, flawed }) => [sound, ...flawed]);

describe("litmus tests", () => {
  it.each(both.map((one) => [one.name, one] as const))(
    "%s: read back, it says what the explorer says of sequentially consistent memory",
    async (name, one) => {
      const test = parse(litmus(one));
      expect([test.arch, test.name, test.programs.length]).toEqual(["AArch64", name, 2]);
      expect(isReached(test)).toBe((await explore(one, { races: false })).violations.length > 0);
    },
  );

  it.each([
    ["the counter", { order: "relaxed" }, true],
    ["another lock", {}, false],
  ] as const)(
    "a rule that interleavings alone break is reached by the program, too: %s",
    async (_, options, isLost) => {
      const made = protocol({
        name: "count",
        title: "two walkers add 1",
        words: { "the counter": 0 },
        walkers: [1, 2].map(
          () =>
            function* (m) {
              const seen = yield* m.load("the counter", options);
              if (isLost) yield* m.store("the counter", seen + 1 > 2 ? 2 : seen + 1);
              else yield* m.compareExchange("the counter", 0, 1, { order: "acquire-release" });
            },
        ),
        check: (m) => ((m["the counter"] ?? 0) < (isLost ? 2 : 1) ? "an update is lost" : undefined),
      });
      const { violations } = await explore(made, { races: false });
      expect(isReached(parse(litmus(made)))).toBe(violations.length > 0);
      expect(violations.length > 0).toBe(isLost);
    },
  );

  it("accesses have the instructions of their orders, and dependencies go through addresses", () => {
    expect(litmus(scenario("publish-table"))).toMatchInlineSnapshot(`
      "AArch64 publish-table
      "a table is filled and linked, and a walk without the lock goes through it"
      {
      slot=0; entry=0;
      0:X10=entry; 0:X11=slot;
      1:X10=slot; 1:X11=entry;
      }
       P0             | P1              ;
       MOV W22,#7     | LDR W0,[X10]    ;
       STR W22,[X10]  | CMP W0,#0       ;
       MOV W22,#1     | B.EQ L11        ;
       STLR W22,[X11] | B L12           ;
                      | L11:            ;
                      | B L10           ;
                      | L12:            ;
                      | EOR X20,X0,X0   ;
                      | ADD X21,X11,X20 ;
                      | LDR W1,[X21]    ;
                      | L10:            ;
      exists (1:X0=1 /\\ 1:X1=0)
      "
    `);
    const fences = (name: string) => litmus(scenario(name)).match(/DMB ISH/g)?.length ?? 0;
    expect(["rmap-order", "rmap-order-no-walker-fence", "rmap-order-no-fences"].map(fences)).toEqual([2, 1, 0]);
    expect(litmus(scenario("rmap-order-release-acquire"))).toMatch(/STLR[\s\S]*LDAPR/);
    expect(litmus(scenario("lock-order"))).toContain("CASA ");
  });

  it("what has no test is said: loops, scenarios of the core, counters without an end", () => {
    expect(() => litmus(scenario("lock-free-unmap"))).toThrow("a loop that waits has no litmus test");
    expect(() => litmus(scenario("fault-fault"))).toThrow("fault-fault is no protocol with a check");
    expect(() => litmus(scenario("block-over-table"))).toThrow("too many accesses");
  });

  it("granule explore --litmus writes a file for each", async () => {
    using scratch = new Scratch();
    const folder = join(scratch.path, "litmus");
    const { code, out, err } = await inside(["explore", "publish-table", "fault-fault", "--litmus", folder]);
    expect([code, err]).toEqual([
      0,
      "granule: no litmus test for fault-fault: fault-fault is no protocol with a check\n",
    ]);
    expect(readdirSync(folder)).toEqual(["publish-table.litmus"]);
    expect(out).toBe(`${join(folder, "publish-table.litmus")}\n`);
    expect(readFileSync(join(folder, "publish-table.litmus"), "utf8")).toBe(litmus(scenario("publish-table")));
  });
});

describe("what exists names is what the explorer finds on a weak memory", () => {
  // Never for the protocols as they should be, sometimes for each flaw: so say litmus tests of these shapes in the
  // literature (MP, SB, and MP with an address dependency; Maranget et al., 2012, and Alglave et al., 2021).
  it.each(both.map((one) => [one.name, one] as const))("%s", async (name, one) => {
    const { violations } = await explore(one, { weak: "orders" }),
      isSound = BARRIERS.some(({ sound }) => sound.name === name);
    expect(violations.length > 0).toBe(!isSound);
  });
});
