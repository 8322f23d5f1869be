// What the judge says of a stream in which one record is missing, comes one too late, or is another CPU's: of each labelled
// trace, and of what single walkers do. left-out.txt has each verdict that differs from that of the whole stream: the first
// violation, how many there are, and a sum over all that they say. It is the judge's word, kept so that no change of it goes
// unseen: `npx vitest run test/audit/left-out.test.ts --update` writes it anew, and its difference is to be read.

import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { CASEMATE_OPTIONS, createJudge, type Judge, type JudgeOptions } from "../../bindings/audit/index.js";
import { CasemateParser } from "../../bindings/trace/casemate.js";
import { OPERATIONS } from "./operations.js";
import { brief, streamOf, WORDS, wordsOf } from "./support.js";

/** Longer streams than this are of the same few steps again and again. */
const LONGEST = 80;
/** Records with which nearly all traces begin: they are changed in the first one. */
const PROLOGUE = 20;
/** Word of a record that names its CPU. */
const CPU = 3;

/** A log's records. */
function recordsOf(log: Uint8Array): Uint32Array {
  const words: number[] = [];
  const parser = new CasemateParser((records, n) => words.push(...records.subarray(0, n * WORDS)));
  parser.push(log);
  parser.end();
  return Uint32Array.from(words);
}

const record = (words: Uint32Array, i: number): Uint32Array => words.subarray(i * WORDS, (i + 1) * WORDS);

/** The stream without record `i`; with it behind the next one; with it done by another CPU. */
const CHANGES: Readonly<Record<string, (words: Uint32Array, i: number) => Uint32Array>> = {
  without: (words, i) => Uint32Array.from([...words.subarray(0, i * WORDS), ...words.subarray((i + 1) * WORDS)]),
  late: (words, i) => {
    const changed = words.slice();
    if ((i + 1) * WORDS === words.length) return changed;
    changed.set(record(words, i + 1), i * WORDS);
    changed.set(record(words, i), (i + 1) * WORDS);
    return changed;
  },
  elsewhere: (words, i) => {
    const changed = words.slice();
    changed[i * WORDS + CPU] = 1 - Math.min(1, changed[i * WORDS + CPU] as number);
    return changed;
  },
};

function judged(judge: Judge, words: Uint32Array): string {
  judge.reset();
  judge.feed(words);
  return brief(judge.finish());
}

/** A line for each changed stream whose verdict is another than the whole one's. */
function linesOf(name: string, judge: Judge, words: Uint32Array, from: number): string[] {
  const whole = judged(judge, words);
  const lines = [`${name}: ${whole}`];
  for (const [change, apply] of Object.entries(CHANGES)) {
    for (let i = from; i < words.length / WORDS; i++) {
      const said = judged(judge, apply(words, i));
      if (said !== whole) lines.push(`  ${change} ${i}: ${said}`);
    }
  }
  return lines;
}

function* streams(): Generator<[string, Uint32Array, JudgeOptions]> {
  for (const folder of ["traces", "traces-2"]) {
    const url = new URL(`${folder}/`, import.meta.url);
    for (const name of readdirSync(url)
      .filter((file) => file.endsWith(".log.gz"))
      .sort())
      yield [`${folder}/${name}`, recordsOf(gunzipSync(readFileSync(new URL(name, url)))), CASEMATE_OPTIONS];
  }
  for (const [name, operation] of Object.entries(OPERATIONS)) yield [name, wordsOf(streamOf(operation)), {}];
}

it("a record left out, late, or of another CPU is answered as before", async () => {
  const lines: string[] = [];
  for (const [name, words, options] of streams()) {
    if (words.length / WORDS > LONGEST) continue;
    const from = lines.length > 0 && name.endsWith(".log.gz") ? PROLOGUE : 0;
    lines.push(...linesOf(name, createJudge(options), words, from));
  }
  expect(lines.length).toBeGreaterThan(1000);
  await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot("left-out.txt");
});
