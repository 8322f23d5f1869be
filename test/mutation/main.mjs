// npm run mutate: changes the core in one place at a time, and counts how often a test notices.
// --help says how to call it; rooms.mjs says which tests run; equivalent.json which mutants no test can notice, and why.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { mulberry32 } from "../support/mulberry.mjs";
import { Compiler } from "./compiler.mjs";
import { apply, mutantsOf } from "./mutants.mjs";
import { report, reportedAs, scoreOf, tallied } from "./report.mjs";
import { firstBuilds, ROOMS } from "./rooms.mjs";
import { Tests } from "./tests.mjs";
import { ROOT, sharedConstants, Workplace } from "./workplace.mjs";

const HELP = `npm run mutate -- [options]      (after npm run build)

  --room NAME,..   rooms of assembly/: ${ROOMS.join(" ")} (default: all)
  --file PATH[:LINE]  only mutants of this file, or of this line; one room
  --survivors PATH  only mutants that survived according to this report, the text that an earlier run printed
  --n COUNT        mutants tested in each room, or "all" (default: 10)
  --seed NUMBER    which of them (default: 1)
  --tests PATH,..  run these tests alone, files or folders, in place of the room's
  --quick          run only the first stage of a room's tests, against the builds that these load: other tests may kill
                   survivors, so the score is a lower bound
  --floor PERCENT  exit status 1 if a room's score is lower
  --list           print the mutants instead of testing them
  --json           print the report as JSON

A run that is interrupted reports what it has found so far.
A mutant counts as noticed when a test fails, or when the tests do not end, twice. Set aside, and not part of the score:
mutants that do not compile, mutants that compile to the same bytes, those of test/mutation/equivalent.json, and undecided
ones: tests that wait for something failed with them, and then without them too, as they may on a busy machine.
`;

const OPTIONS = {
  room: { type: "string", default: ROOMS.join(",") },
  file: { type: "string" },
  survivors: { type: "string" },
  n: { type: "string", default: "10" },
  seed: { type: "string", default: "1" },
  tests: { type: "string" },
  floor: { type: "string", default: "0" },
  quick: { type: "boolean", default: false },
  list: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
};

class Usage extends Error {}

function number(name, text, least) {
  const value = Number(text);
  if (text.trim() === "" || !(value >= least)) throw new Usage(`--${name} ${text} is no number of at least ${least}`);
  return value;
}

function options() {
  const { values } = parseArgs({ options: OPTIONS });
  const [path, line] = values.file?.split(":") ?? [];
  const rooms = path ? [path.split("/")[1]] : values.room.split(",");
  for (const room of rooms)
    if (!ROOMS.includes(room)) throw new Usage(`there is no room ${room}; rooms: ${ROOMS.join(" ")}`);
  return {
    ...values,
    rooms,
    path,
    line: line === undefined ? undefined : number("file", line, 1),
    n: values.n === "all" ? Number.POSITIVE_INFINITY : number("n", values.n, 1),
    seed: number("seed", values.seed, 0),
    floor: number("floor", values.floor, 0),
  };
}

/** Numbers below 1 that depend on the seed alone. */
function random(seed) {
  const next = mulberry32(seed);
  return () => next() / 2 ** 32;
}

function shuffled(list, next) {
  const result = [...list];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [result[i], result[j]] = [result[j], result[i]];
  }
  return result;
}

function allMutants(room, shared) {
  const names = readdirSync(join(ROOT, "assembly", room), { recursive: true, encoding: "utf8" });
  const files = names.filter((name) => name.endsWith(".ts"));
  return files.sort().flatMap((name) => {
    const file = `assembly/${room}/${name}`;
    return numbered(mutantsOf(file, readFileSync(join(ROOT, file), "utf8"), shared));
  });
}

const keyOf = ({ file, source, mutation }) => `${file}\n${source}\n${mutation}`;

/** Mutants that read the same on one line are told apart by `which`: 1, 2, ... in the order of the text. */
function numbered(mutants) {
  const seen = new Map();
  return mutants.map((mutant) => {
    const key = `${keyOf(mutant)}\n${mutant.line}`;
    seen.set(key, (seen.get(key) ?? 0) + 1);
    return { ...mutant, which: seen.get(key) };
  });
}

/**
 * Which mutants no test can notice; and the entries of the file that fit no mutant any more. An entry without `which` is about
 * all mutants that read as it does.
 */
function equivalents(mutants, rooms) {
  const entries = JSON.parse(readFileSync(new URL("equivalent.json", import.meta.url), "utf8"));
  const exact = ({ which, ...entry }) => (which === undefined ? keyOf(entry) : `${keyOf(entry)}\n${which}`);
  const keys = new Set(mutants.flatMap((mutant) => [keyOf(mutant), exact(mutant)]));
  const mine = entries.filter(({ file }) => rooms.includes(file.split("/")[1]));
  const all = new Set(mine.map(exact));
  const known = { has: (mutant) => all.has(keyOf(mutant)) || all.has(exact(mutant)) };
  return { known, stale: mine.filter((entry) => !keys.has(exact(entry))) };
}

/** The survivors that a report names, as `reportedAs` has them. */
function survivorsOf(path) {
  const lines = readFileSync(path, "utf8").split("\n");
  return new Set(lines.filter((line) => line.startsWith("assembly/")));
}

/** Tests mutants of one room until `n` of them counted; adds what came of each to `results`. */
async function testRoom(room, mutants, n, { results, workplace, compiler, tests, known, quick }) {
  const only = quick ? firstBuilds(room) : undefined;
  let counted = 0;
  for (const mutant of mutants) {
    if (counted === n) break;
    const start = performance.now();
    const result = known.has(mutant)
      ? { outcome: "equivalent" }
      : await testOne(room, mutant, { workplace, compiler, tests, only });
    results.push({ room, ...mutant, ...result });
    if (tallied(result)) counted++;
    const { outcome, by = "" } = result;
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    process.stderr.write(
      `${outcome.padEnd(10)} ${mutant.file}:${mutant.line}  ${mutant.mutation}  ${by} (${seconds} s)\n`,
    );
  }
}

async function testOne(room, mutant, { workplace, compiler, tests, only }) {
  const changed = apply(compiler.text(mutant.file), mutant);
  const made = await workplace.make(compiler, mutant.file, changed, only);
  if (typeof made === "string") return { outcome: made };
  const put = () => workplace.put(made);
  put();
  return tests.judge(room, { file: mutant.file, put, restore: () => workplace.restore() });
}

async function main() {
  const o = options();
  if (o.help) return process.stdout.write(HELP);
  const shared = sharedConstants();
  const byRoom = o.rooms.map((room) => [room, allMutants(room, shared)]);
  const { known, stale } = equivalents(
    byRoom.flatMap(([, mutants]) => mutants),
    o.rooms,
  );
  const survivors = o.survivors === undefined ? undefined : survivorsOf(o.survivors);
  const wanted = (m) =>
    (o.path === undefined || m.file === o.path) &&
    (o.line === undefined || m.line === o.line) &&
    (survivors === undefined || survivors.has(reportedAs(m)));
  const chosen = byRoom.map(([room, mutants]) => [room, shuffled(mutants, random(o.seed)).filter(wanted)]);
  if (o.list) {
    for (const [, mutants] of chosen) {
      for (const m of mutants.slice(0, o.n)) process.stdout.write(`${reportedAs(m)}\n`);
    }
    return;
  }
  const workplace = new Workplace();
  const tests = new Tests(workplace.folder, { only: o.tests?.split(","), quick: o.quick });
  const clean = () => {
    tests.end();
    workplace.remove();
  };
  const results = [];
  const print = () => process.stdout.write(report(results, { seed: o.seed, stale, json: o.json }));
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.on(signal, () => {
      print();
      clean();
      process.exit(130);
    });
  }
  try {
    const compiler = new Compiler(workplace.folder);
    await workplace.begin(compiler);
    for (const [room, mutants] of chosen) {
      await testRoom(room, mutants, o.n, { results, workplace, compiler, tests, known, quick: o.quick });
    }
    print();
    if (o.rooms.some((room) => scoreOf(results.filter((r) => r.room === room)) < o.floor)) process.exitCode = 1;
  } finally {
    clean();
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof Usage) && error.code?.startsWith("ERR_PARSE_ARGS") !== true) throw error;
  process.stderr.write(`${error.message}\n\n${HELP}`);
  process.exitCode = 2;
}
