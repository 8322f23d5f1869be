// Inputs of the command line as an attacker would write them: a result or one line that says what is wrong, and never a
// stack, an escape sequence, or a file where none was asked for. Counterexamples name their seed: GRANULE_SEED=<seed>.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mapLine, script } from "../cli/granule.js";
import { inside, type Outcome } from "../cli/inside.js";
import { type RecordedSet, recordedSets } from "../mmu/sets.js";
import { runs, SEED } from "../support/random.js";
import { scratchFolder } from "../support/scratch.js";

const folder = scratchFolder();

const PARAMETERS = { seed: SEED, numRuns: runs(60) };
const ESCAPES = "\u001b[2J\u009b31m\u202e";
/** Controls but the line end, separators, and what reorders text. */
const UNSAFE = /[^\P{Cc}\n]|[\p{Zl}\p{Zp}\u200b-\u200f\u202a-\u202e\u2066-\u2069]/u;

/** What must hold of every run, whatever the input. */
function expectHonest({ code, out, err }: Outcome): void {
  expect(err).not.toContain("a defect of granule");
  expect([0, 1, 2, 3]).toContain(code);
  expect(out + err).not.toMatch(UNSAFE);
  if (code >= 2) {
    expect(out).toBe("");
    expect(err.trimEnd().split("\n")).toHaveLength(1);
  }
}

/** The same for sets of translations: with --json the answer names those that could not be read, and goes on. */
function expectHonestSets({ code, out, err }: Outcome): void {
  if (code === 3 && out !== "") expect((JSON.parse(out) as { unreadable: unknown[] }).unreadable).toHaveLength(1);
  expectHonest({ code, out: code === 3 ? "" : out, err });
  expect(out).not.toMatch(UNSAFE);
}

/** One change to a text: a piece is taken away and another put there. */
const edit = fc.record({
  at: fc.nat(),
  cut: fc.nat(40),
  put: fc.oneof(
    fc.constantFrom(
      "",
      "\n",
      "{",
      "}",
      "[",
      "]",
      '"',
      "null",
      "{}",
      "-1",
      "1e999",
      ESCAPES,
      "\ufeff",
      "[".repeat(5000),
    ),
    fc.constantFrom(
      '"toString":1,',
      '"constructor":{},',
      '"__proto__":null,',
      '"hasOwnProperty":7,',
      '"op":{"toString":1},',
    ),
    fc.string({ unit: "binary", maxLength: 4 }),
  ),
});
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never;
const edits = fc.array(edit, { minLength: 1, maxLength: 4 });
/** How the changed text is stored. */
const packing = fc.constantFrom("plain", "gzip", "cut gzip", "spoilt gzip");

function edited(text: string, all: readonly Edit[]): string {
  return all.reduce((now, { at, cut, put }) => {
    const from = at % (now.length + 1);
    return now.slice(0, from) + put + now.slice(from + cut);
  }, text);
}

function packed(text: string, how: string): Buffer {
  if (how === "plain") return Buffer.from(text);
  const whole = gzipSync(text);
  if (how === "cut gzip") return whole.subarray(0, -9);
  if (how === "spoilt gzip") whole[whole.length >> 1] = 0xff ^ (whole[whole.length >> 1] as number);
  return whole;
}

const operations = script([
  mapLine(0x4000_0000, 0x3000),
  {
    op: "walk",
    addr: "0x40000000",
    size: "0x3000",
    walk_flags: ["LEAF"],
    ret: 0,
    visits: [["leaf", "0x40000000", 3, "0x1"]],
  },
  { op: "get_leaf", addr: "0x40001000", ret: 0, pte: "0x0", level: 3 },
  { op: "create_unlinked", phys: "0x80000000", level: 2, prot: ["R"], mc: 4, force_pte: true },
  { op: "unmap", addr: "0x40000000", size: "0x1000", ret: 0, events: [] },
  { dump: ["0000000000000000 L1 T 0000000000000003 2"] },
]);
const hyp = script(
  [{ op: "hyp_map", addr: "0x40000000", size: "0x1000", phys: "0x80000000", prot: ["R", "X"], ret: 0 }],
  { stage: "hyp", va_bits: 40 },
);

describe(`operations files, seed ${SEED}`, () => {
  const commands = fc.constantFrom(
    ["conform", "-"],
    ["conform", "-", "--json"],
    ["conform", "-", "--casemate", join(folder, "logs")],
    ["dump", "-"],
    ["dump", "-", "--json"],
    ["image", "-", "--out", join(folder, "image")],
  );
  it("end in a result or in one honest line", { timeout: 300_000 }, async () => {
    const refused = new Set<number>();
    await fc.assert(
      fc.asyncProperty(commands, fc.constantFrom(operations, hyp), edits, packing, async (argv, text, all, how) => {
        const outcome = await inside(argv, { stdin: packed(edited(text, all), how) });
        refused.add(outcome.code);
        expectHonest(outcome);
      }),
      PARAMETERS,
    );
    expect(refused.has(3)).toBe(true);
  });

  it.each([
    ["an operation that is an object", '{"op":{"toString":1}}\n', 3, /line 2: unknown operation \{"toString":1\}/],
    ["a field toString", '{"op":"unmap","addr":"0x0","size":"0x1000","toString":1}\n', 1, /^$/],
    ["a field __proto__", '{"op":"unmap","addr":"0x0","size":"0x1000","__proto__":{}}\n', 1, /^$/],
    [
      "a prot of toString",
      '{"op":"map","addr":"0x0","size":"0x1000","phys":"0x0","prot":["toString"],"mc":1,"walk_flags":[]}\n',
      1,
      /^$/,
    ],
    ["no operation", "", 3, /there is no operation in it/],
    ["brackets", `{"op":"unmap","addr":${"[".repeat(100_000)}`, 3, /line 2: nested deeper than 32 levels/],
    ["a long string", `{"op":"unmap","addr":"${"x".repeat(1 << 20)}"}\n`, 3, /line 2: addr is a hex string.{0,140}$/m],
    ["escape sequences", '{"op":"\\u001b[2J\\u009b31m\\u202e"}\n', 3, /unknown operation "\\u001b\[2J\\x9b31m\\u202e"/],
    ["escape sequences that are no JSON", `${ESCAPES}\n`, 3, /no JSON: \\x1b\[2J\\x9b31m\\u202e/],
    ["a long line", "x".repeat((4 << 20) + 1), 3, /longer than 4 MiB/],
  ])("conform: %s", async (_what, lines, code, words) => {
    const outcome = await inside(["conform", "-"], { stdin: script([]) + lines });
    expectHonest(outcome);
    expect(outcome.code).toBe(code);
    expect(outcome.err).toMatch(words);
  });

  it("a field that every object has is a field like others", async () => {
    const lines = '{"op":"unmap","addr":"0x0","size":"0x1000","toString":1,"constructor":2}\n';
    const outcome = await inside(["conform", "-", "--json"], { stdin: script([]) + lines });
    const { failures } = JSON.parse(outcome.out) as { failures: { field: string }[] };
    const found = failures.filter(({ field }) => ["toString", "constructor"].includes(field));
    expect(found).toEqual(
      [
        ["toString", 1],
        ["constructor", 2],
      ].map(([field, expected]) => ({ file: "(stdin)", line: 2, op: "unmap", field, expected })),
    );
    expect((await inside(["conform", "-"], { stdin: script([]) + lines })).out).toMatch(
      /toString\n.*\n {2}actual {3}nothing/,
    );
  });

  it("a table that lies under itself is no table to dump", async () => {
    const entries = Array.from({ length: 400 }, (_, i) => `0x${(i * 2 ** 30).toString(16)}`);
    // The root's two pages are aligned to their size, so each of these entries leads back to it.
    const pokes = entries.map((addr) => ({ op: "poke", addr, pte: "0x80002003" }));
    const outcome = await inside(["conform", "-", "--json"], { stdin: script([...pokes, { dump: [] }]) });
    expectHonest(outcome);
    expect(outcome.code).toBe(1);
    const { failures } = JSON.parse(outcome.out) as { failures: { line: number; actual: unknown }[] };
    expect(failures.filter(({ line }) => line === 402).map(({ actual }) => actual)).toContainEqual(
      expect.stringContaining("lies under itself"),
    );
    const outside = script([{ op: "poke", addr: "0x0", pte: "0x7ffffffff003" }]);
    const dumped = await inside(["dump", "-"], { stdin: outside });
    expectHonest(dumped);
    expect(dumped.code).toBe(3);
  });

  it("what is not UTF-8 is called so, packed or not", async () => {
    const latin = Buffer.concat([Buffer.from(script([])), Buffer.from([0xe4, 0x0a])]);
    for (const stdin of [latin, gzipSync(latin)]) {
      const outcome = await inside(["conform", "-"], { stdin });
      expect(outcome).toMatchObject({ code: 3, out: "" });
      expect(outcome.err).toMatch(/^granule: \(stdin\): not UTF-8 text/);
    }
    const spoilt = gzipSync(latin);
    spoilt[spoilt.length - 6] = 0xff ^ (spoilt[spoilt.length - 6] as number);
    expect((await inside(["conform", "-"], { stdin: spoilt })).err).toMatch(/the gzip data is damaged/);
  });

  it("a gzip bomb ends at the bound of a file", { timeout: 120_000 }, async () => {
    const empty = gzipSync(Buffer.alloc(16 << 20, "\n"));
    const bomb = Buffer.concat([gzipSync(script([])), ...Array.from({ length: 17 }, () => empty)]);
    expect(bomb.length).toBeLessThan(1 << 20);
    const outcome = await inside(["dump", "-"], { stdin: bomb });
    expect(outcome).toMatchObject({ code: 3, out: "" });
    expect(outcome.err).toMatch(/longer than 256 MiB \(unpacked\)/);
  });

  it("an endless device ends at the bound of a line", async () => {
    for (const command of ["conform", "dump"]) {
      const outcome = await inside([command, "/dev/zero"]);
      expect(outcome).toMatchObject({ code: 3, out: "" });
      expect(outcome.err).toMatch(/zero: the line at byte 0 is longer than 4 MiB/);
    }
  });

  it("file names with escape sequences are printed harmlessly", async () => {
    const path = join(folder, `${ESCAPES}.jsonl`);
    writeFileSync(path, script([{ op: "unmap", addr: "0x0", size: "0x1000", ret: -1, [ESCAPES]: ESCAPES }]));
    for (const argv of [
      ["conform", path],
      ["conform", path, "--json"],
      ["conform", `${path}x`],
      ["image", path, "--out", folder + ESCAPES],
    ]) {
      const outcome = await inside(argv);
      expectHonest(outcome);
      expect(outcome.out + outcome.err).toMatch(/\\x9b31m|\\u009b31m/);
    }
    rmSync(folder + ESCAPES, { recursive: true });
  });
});

const recorded = [...recordedSets("s2-64K")].find(({ words }) => words.length > 0) as RecordedSet;
const lines = (all: readonly object[]): string => all.map((line) => `${JSON.stringify(line)}\n`).join("");
const SET: Readonly<Record<string, string>> = {
  "manifest.json": JSON.stringify(recorded.manifest),
  "results.jsonl": lines(recorded.answers.slice(0, 12)),
  "changes.jsonl": lines(recorded.words.slice(0, 4)),
};

/** A set as a folder with these files, and the recorded image where they name none. */
function set(path: string, files: Readonly<Record<string, string | Uint8Array>> = {}): string {
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  const whole = { ...SET, "image.bin": Buffer.from(recorded.image), ...files };
  for (const [file, content] of Object.entries(whole)) writeFileSync(join(path, file), content);
  return path;
}

describe(`sets of translations, seed ${SEED}`, () => {
  const path = join(folder, "set");
  it("end in a result or in one honest line", { timeout: 300_000 }, async () => {
    const codes = new Set<number>();
    const file = fc.constantFrom(...Object.keys(SET));
    await fc.assert(
      fc.asyncProperty(file, edits, packing, fc.boolean(), async (name, all, how, json) => {
        // A manifest is never packed under that name, but what is in a file decides.
        set(path, { [name]: packed(edited(SET[name] as string, all), how) });
        const outcome = await inside(["translate", path, ...(json ? ["--json"] : [])]);
        codes.add(outcome.code);
        expectHonestSets(outcome);
      }),
      PARAMETERS,
    );
    expect(codes.has(3)).toBe(true);
  });

  it.each([
    ["changes of {}", { "changes.jsonl": "{}\n" }, /changes\.jsonl:1: offset, before or after is no hex value/],
    ["changes of null", { "changes.jsonl": "null\n" }, /changes\.jsonl:1: a line holds one JSON object/],
    ["a manifest of null", { "manifest.json": "null" }, /manifest\.json: a line holds one JSON object/],
    ["no question", { "results.jsonl": "\n" }, /nothing is asked/],
    ["an image that ends in a word", { "image.bin": new Uint8Array(12) }, /no whole number of 64-bit words/],
    ["an empty image", { "image.bin": "" }, /no whole number of 64-bit words/],
    ["results that are not UTF-8", { "results.jsonl": Uint8Array.of(0xff, 10) }, /results\.jsonl: not UTF-8 text/],
    ["brackets", { "manifest.json": "[".repeat(100_000) }, /manifest\.json: nested deeper/],
  ])("%s: exit 3", async (_what, files: Readonly<Record<string, string | Uint8Array>>, words) => {
    const outcome = await inside(["translate", set(path, files)]);
    expectHonest(outcome);
    expect(outcome).toMatchObject({ code: 3 });
    expect(outcome.err).toMatch(words);
  });

  it("fields that every object has are fields like others", async () => {
    const [first] = recorded.answers;
    const odd = JSON.stringify(first).replace("{", '{"constructor":"x","toString":1,');
    const outcome = await inside(["translate", set(path, { "results.jsonl": odd }), "--json"]);
    expectHonest(outcome);
    const { differing } = JSON.parse(outcome.out) as { differing: { field: string }[] };
    expect(differing.map(({ field }) => field)).toEqual(expect.arrayContaining(["constructor", "toString"]));
  });
});

describe("what a command writes", () => {
  const contents = (path: string) => readdirSync(path, { recursive: true }).map(String).sort();

  it("translate writes below --out only, and never into a set", async () => {
    const home = join(folder, "q");
    const here = set(join(home, "s"));
    const before = readFileSync(join(here, "results.jsonl"), "utf8");
    const refused = await inside(["translate", here, "--out", home]);
    expect(refused).toMatchObject({ code: 2, out: "" });
    expect(refused.err).toMatch(/is a set itself/);
    expect(readFileSync(join(here, "results.jsonl"), "utf8")).toBe(before);
    // A folder named by .. has a name of its own all the same.
    mkdirSync(join(here, "below"));
    const out = join(folder, "o", "out");
    expect((await inside(["translate", `${join(here, "below")}/..`, "--out", out])).code).not.toBe(2);
    expect(contents(join(folder, "o"))).toEqual(["out", "out/s", "out/s/changes.jsonl", "out/s/results.jsonl"]);
    rmSync(join(here, "below"), { recursive: true });
  });

  it("translate keeps two sets of one name apart by refusing them", async () => {
    const [a, b] = [set(join(folder, "a", "s")), set(join(folder, "b", "s"))];
    const outcome = await inside(["translate", a, b, "--out", join(folder, "ab")]);
    expect(outcome).toMatchObject({ code: 2, out: "" });
    expect(outcome.err).toMatch(/would both go to/);
  });

  it("conform --casemate keeps two files of one name apart by refusing them", async () => {
    const names = ["a", "b"].map((name) => join(folder, name, "x.jsonl"));
    for (const name of names) writeFileSync(name, operations);
    const outcome = await inside(["conform", ...names, "--casemate", join(folder, "twice")]);
    expect(outcome).toMatchObject({ code: 2, out: "" });
    expect(outcome.err).toMatch(/would both be written to/);
  });

  it("conform --casemate leaves no log of a file that cannot be read to its end", async () => {
    const path = join(folder, "late.jsonl");
    writeFileSync(path, `${operations}{`);
    const logs = join(folder, "late");
    expect((await inside(["conform", path, "--casemate", logs])).code).toBe(3);
    mkdirSync(logs, { recursive: true });
    expect(contents(logs)).toEqual([]);
    // Nor a part of one whose place is taken.
    writeFileSync(path, operations);
    mkdirSync(join(logs, "late.log.gz", "taken"), { recursive: true });
    const outcome = await inside(["conform", path, "--casemate", logs]);
    expect(outcome).toMatchObject({ code: 3, out: "" });
    expect(contents(logs)).toEqual(["late.log.gz", "late.log.gz/taken"]);
  });

  it("conform --casemate says what the walkers did, however much of it there is", { timeout: 120_000 }, async () => {
    const path = join(folder, "long.jsonl");
    const pages = 1 << 15;
    const header = { force_pte: "all", tlbi_range: false };
    const whole = { addr: "0x0", size: `0x${(pages * 4096).toString(16)}` };
    writeFileSync(
      path,
      script(
        [
          { ...mapLine(0, pages * 4096), ...whole, mc: 200 },
          { op: "unmap", ...whole },
        ],
        header,
      ),
    );
    const logs = join(folder, "long");
    expect((await inside(["conform", path, "--casemate", logs])).err).toBe("");
    const text = gunzipSync(readFileSync(join(logs, "long.log.gz"))).toString();
    const count = (pattern: RegExp) => text.match(pattern)?.length ?? 0;
    // Every page is written twice at least, and flushed once by its address at level 3.
    expect(count(/^\(mem-write /gm)).toBeGreaterThanOrEqual(2 * pages);
    expect(count(/^\(tlbi .*ipas2e1is \(value 0x/gm)).toBeGreaterThanOrEqual(pages);
    expect(contents(logs)).toEqual(["long.log.gz"]);
  });

  it("image refuses to overwrite the operations that it reads", async () => {
    const path = join(folder, "a", "manifest.json");
    writeFileSync(path, operations);
    const outcome = await inside(["image", path, "--out", join(folder, "a")]);
    expect(outcome).toMatchObject({ code: 2, out: "" });
    expect(readFileSync(path, "utf8")).toBe(operations);
  });
});
