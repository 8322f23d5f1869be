// The logs that `conform --casemate` writes of the recorded operations before the judge: it accepts them all, but for
// those of objections.json, where the recorded kernel itself, or what the recording makes it do, breaks a rule.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CASEMATE_OPTIONS, createJudge } from "../../bindings/audit/index.js";
import { performScript } from "../../bindings/conform/run.js";
import { createEngine, type Engine } from "../../bindings/index.js";
import { CasemateWriter } from "../../bindings/trace/index.js";
import { FILES } from "../conform/shared.js";
import { gunzipText } from "../support/fixtures.js";

/** Logs of millions of records: they are right too, and take minutes. */
const LARGE = /^(?:large|split-|map-large)/;

interface Objection {
  readonly reason: string;
  /** Kinds of the violations of each log, by the name of the recording. */
  readonly files: Readonly<Record<string, readonly string[]>>;
}

const list = JSON.parse(readFileSync(new URL("objections.json", import.meta.url), "utf8")) as Objection[];
const expected: Readonly<Record<string, readonly string[]>> = Object.assign({}, ...list.map(({ files }) => files));

/** Kinds of the violations in the log of a recording. */
function kindsOf(file: string): string[] {
  const judge = createJudge(CASEMATE_OPTIONS);
  const log = judge.casemate();
  const writer = new CasemateWriter();
  const encoder = new TextEncoder();
  let engine: Engine | undefined;
  const script = performScript(gunzipText(`../conform/vectors/${file}`, import.meta.url), {
    createEngine: (options) => {
      engine = createEngine({ ...options, journalRecords: 1 << 20 });
      engine.journal.start();
      return engine;
    },
    quirks: "linux-6.12",
    afterEach: () => {
      const { journal } = engine as Engine;
      expect(journal.lost).toBe(0);
      for (const line of writer.write(journal.read())) log.push(encoder.encode(`${line}\n`));
      journal.clear();
    },
  });
  script.scenario.engine.close();
  log.end();
  return [...new Set(judge.finish().violations.map(({ kind }) => kind))].sort();
}

describe("the list of logs that the judge objects to", () => {
  it("names recordings, and says why", () => {
    for (const { reason, files } of list) {
      expect(reason).toMatch(/\.$/);
      for (const [name, kinds] of Object.entries(files)) {
        expect(FILES).toContain(`${name}.jsonl.gz`);
        expect(kinds.length).toBeGreaterThan(0);
      }
    }
  });

  it("has SKIP_BBM_TLBI where it says so, and in no recording that the judge accepts", () => {
    const skipping = list.find(({ reason }) => reason.includes("SKIP_BBM_TLBI"))?.files ?? {};
    for (const name of Object.keys(skipping))
      expect(gunzipText(`../conform/vectors/${name}.jsonl.gz`, import.meta.url)).toContain("SKIP_BBM_TLBI");
  });
});

describe("the log of", () => {
  it.each(FILES.filter((file) => !LARGE.test(file)))("%s", { timeout: 300_000 }, (file) => {
    expect(kindsOf(file)).toEqual([...(expected[file.replace(".jsonl.gz", "")] ?? [])].sort());
  });
});
