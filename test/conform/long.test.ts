// Operations of more events than the journal holds: it is read while they run, which changes nothing else.

import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { EventDigest } from "../../bindings/conform/digest.js";
import { type FileResult, runVectors, VectorRun } from "../../bindings/conform/run.js";
import { JOURNAL_RECORDS } from "../../bindings/conform/scenario.js";
import { gunzipText } from "../support/fixtures.js";
import { FILES, surroundings } from "./shared.js";

const PAGE = 4096;
const PER_TABLE = 512;
/** A hint of no level. */
const UNKNOWN = 0x7fffffff;
const hex = (n: number): string => `0x${n.toString(16)}`;

const HEADER = {
  format: "pgtable-vectors/1",
  stage: "stage2",
  granule: PAGE,
  lpa2: false,
  fwb: false,
  tlbi_range: false,
  bti: false,
  hvhe: false,
  pa_bits52: false,
  ac03: false,
  mm_ops: { dcache: true, icache: true, page_count: true },
  phys_shift: 40,
  arena_base: "0x80000000",
  flags: [],
  force_pte: "all",
};

/**
 * What unmapping pages from 0 does without forced write-back and without range TLBIs: each page is flushed and cleaned, and
 * a table that became empty is flushed at its first address, its parent after it. The recorded files have that in small.
 */
function* unmapEvents(pages: number): Generator<[string, string, string | number]> {
  for (let i = 0; i < pages; i++) {
    const address = hex(i * PAGE);
    yield ["tlb_flush_vmid_ipa", address, 3];
    yield ["dcache", address, hex(PAGE)];
    for (const size of [PER_TABLE, PER_TABLE ** 2]) {
      const isLast = (i + 1) % size === 0 || i + 1 === pages;
      if (isLast) yield ["tlb_flush_vmid_ipa", hex(Math.floor(i / size) * size * PAGE), UNKNOWN];
    }
  }
}

function unmapFile(pages: number): string {
  const range = { addr: "0x0", size: hex(pages * PAGE) };
  const empty = { sha256: createHash("sha256").digest("hex"), live: 2, pgd_rc: 2, warn: 0, alloc: 0 };
  const tables = Math.ceil(pages / PER_TABLE) + Math.ceil(pages / PER_TABLE ** 2);
  const digest = createHash("sha256");
  const counts = { tlb_flush_vmid_ipa: 0, dcache: 0 };
  const list = [];
  for (const event of unmapEvents(pages)) {
    counts[event[0] as "dcache"]++;
    digest.update(`${JSON.stringify(event)}\n`);
    if (pages < 30) list.push(event);
  }
  const events = pages < 30 ? list : { counts, sha256: digest.digest("hex") };
  const lines = [
    HEADER,
    { op: "map", ...range, phys: "0x0", prot: ["R", "W"], mc: tables, walk_flags: [] },
    { op: "unmap", ...range, ret: 0, events, free: tables, ...empty },
  ];
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

/** Of the line of the unmap; the map is there to have something to take away. */
const ofUnmap = ({ failures }: FileResult) => failures.filter(({ line }) => line === 3);

describe("an operation of many events", () => {
  it("is compared as a short one is", () => {
    expect(ofUnmap(runVectors("short", unmapFile(4), surroundings))).toEqual([]);
  });

  it("is compared whole, with more events than the journal holds", { timeout: 120_000 }, () => {
    const pages = 2 ** 19 + 4;
    const text = unmapFile(pages);
    const result = runVectors("long", text, surroundings);
    expect(ofUnmap(result)).toEqual([]);
    expect(2 * pages).toBeGreaterThan(JOURNAL_RECORDS);
    // And a difference is found: the events are looked at, not skipped.
    const wrong = text.replace(/"dcache":(\d+)/, '"dcache":1$1');
    expect(ofUnmap(runVectors("long", wrong, surroundings)).map(({ field }) => field)).toEqual(["events"]);
  });
});

describe("reading the journal during operations", () => {
  const sample = FILES.filter((_, i) => i % 12 === 5).filter((file) => !/^(?:large|map-large)/.test(file));

  it.each(sample)("%s: every result is the recorded one", { timeout: 120_000 }, (file) => {
    using run = new VectorRun(file, surroundings, true);
    const lines = gunzipText(`vectors/${file}`, import.meta.url)
      .trimEnd()
      .split("\n");
    for (const line of lines) run.line(line);
    const { failures, passed, ops } = run.finish();
    expect(failures).toEqual([]);
    expect(passed).toBe(ops);
    expect(ops).toBeGreaterThan(0);
  });
});

describe("EventDigest", () => {
  const events = Array.from({ length: 5000 }, (_, i): [string, string, number] => ["leaf", hex(i), i % 4]);

  it.each([0, 1, 64, 65, 5000])("of %i events is FORMAT.md's", (n) => {
    const digest = new EventDigest(64, () => createHash("sha256"));
    for (const event of events.slice(0, n)) digest.add(event);
    const text = events
      .slice(0, n)
      .map((event) => `${JSON.stringify(event)}\n`)
      .join("");
    const sha256 = createHash("sha256").update(text).digest("hex");
    expect(digest.total).toBe(n);
    expect(digest.result("visits")).toEqual(n <= 64 ? events.slice(0, n) : { count: n, sha256 });
  });
});
