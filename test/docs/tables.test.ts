// docs/formats/tables.md: its columns are those that are written, and its questions get the answers that stand below them.

import { copyFileSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { CHECK_COLUMNS } from "../../bindings/cli/tables/check-tables.js";
import { TABLE_COLUMNS, TABLES } from "../../bindings/cli/tables/columns.js";
import { columns } from "../../bindings/report/text.js";
import type { TableColumn } from "../../bindings/tabular/column.js";
import { granule } from "../cli/granule.js";
import { ROOT, text } from "../house/sources.js";
import { scratchFolder } from "../support/scratch.js";
import { duckdb, typesOf } from "../tabular/support.js";

const PAGE = text("docs/formats/tables.md");
const TRACE = join(ROOT, "test/replay/fixtures/J-boot-6.12-4k/Image612-v1-nothp-256m");
const TYPES = { whole: "BIGINT", word: "UBIGINT", real: "DOUBLE", text: "VARCHAR", truth: "BOOLEAN" } as const;

const folder = scratchFolder();

const file = (name: string) => join(folder, name);

async function replayed(ending: string): Promise<void> {
  const { code, stderr } = await granule(["replay", file("guest.trace.gz"), "--out", file(`guest.${ending}`)]);
  expect(code).toBe(0);
  expect(stderr.split("\n").slice(0, TABLES.length)).toEqual(
    TABLES.map((table) => expect.stringMatching(new RegExp(`guest\\.${table}\\.${ending}: \\d+ rows$`))),
  );
}

beforeAll(async () => {
  copyFileSync(`${TRACE}.trace.gz`, file("guest.trace.gz"));
  copyFileSync(`${TRACE}.manifest.json`, file("guest.manifest.json"));
  await Promise.all(["parquet", "csv", "ndjson"].map(replayed));
});

/** The rows of a table of the page, without head and rule. */
function rowsBelow(heading: string): string[][] {
  const [, section = ""] = new RegExp(`^## ${heading}\\n(.*?)(?=^## |$(?![\\s\\S]))`, "ms").exec(PAGE) ?? [];
  const lines = section.split("\n").filter((line) => line.startsWith("| "));
  return lines.slice(1).map((line) => line.slice(2, -2).split(" | "));
}

/** The three files of a table hold the same. */
async function expectSame(stem: string, described: readonly TableColumn[]): Promise<void> {
  const words = described.filter(({ type }) => type === "word").map(({ name }) => name);
  const exact =
    words.length === 0 ? "" : `replace (${words.map((name) => `${name}::ubigint as "${name}"`).join(", ")})`;
  const types = described.map(({ name, type }) => `"${name}": '${type === "word" ? "VARCHAR" : TYPES[type]}'`);
  const csv = `read_csv('${file(`${stem}.csv`)}', header = true, columns = {${types.join(", ")}})`;
  const json = `read_json('${file(`${stem}.ndjson`)}', columns = {${types.join(", ")}})`;
  const parquet = `select * from '${file(`${stem}.parquet`)}'`;
  for (const other of [csv, json]) {
    const same = `select * ${exact} from ${other}`;
    expect(await duckdb(`(${parquet}) except all (${same})`)).toEqual([]);
    expect(await duckdb(`(${same}) except all (${parquet})`)).toEqual([]);
  }
}

describe("the tables of a replay", () => {
  it.each(TABLES)("%s: its columns are on the page, and in the file", async (table) => {
    const written = TABLE_COLUMNS[table].map(({ name, type, about }) => [`\`${name}\``, type, about]);
    expect(rowsBelow(table)).toEqual(written);
    const types = Object.fromEntries(TABLE_COLUMNS[table].map(({ name, type }) => [name, TYPES[type]]));
    expect(await typesOf(file(`guest.${table}.parquet`))).toEqual(types);
  });

  it.each(TABLES)("%s: hold the same in each format", (table) => expectSame(`guest.${table}`, TABLE_COLUMNS[table]));

  it("agree with the replay's report", async () => {
    const { stdout } = await granule(["replay", file("guest.trace.gz"), "--json"]);
    const report = JSON.parse(stdout);
    const [counted] = await duckdb(`select
      (select count(*) from '${file("guest.events.parquet")}') as events,
      (select count(*) from '${file("guest.faults.parquet")}') as faults,
      (select count(*) from '${file("guest.leaves.parquet")}') as leaves,
      (select sum(size)::bigint from '${file("guest.leaves.parquet")}') as mapped,
      (select sum(entries)::bigint * 8 from '${file("guest.pages.parquet")}') as bytes,
      (select sum(leaves)::bigint from '${file("guest.pages.parquet")}') as below`);
    const { events, faults, table, service } = report;
    const leaves = Object.values(table.leaves as Record<string, number>).reduce((sum, n) => sum + n, 0);
    const expected = { events, faults: faults.total, leaves, mapped: table.mapped, bytes: table.bytes, below: leaves };
    expect(counted).toEqual(
      Object.fromEntries(Object.entries(expected).map(([name, n]) => [name, BigInt(n as number)])),
    );
    const outcomes = await duckdb(`select outcome, count(*) as n from '${file("guest.faults.parquet")}' group by all`);
    expect(Object.fromEntries(outcomes.map(({ outcome, n }) => [outcome, Number(n)]))).toEqual(service.faults);
    const forms = `select form, count(*) as n from '${file("guest.tlbis.parquet")}' group by all`;
    const tlbis = Object.fromEntries((await duckdb(forms)).map(({ form, n }) => [form, Number(n)]));
    const { tlbiIpa, tlbiIpaLocal, tlbiVmid } = report.counters;
    expect([tlbis.IPAS2E1IS ?? 0, tlbis.IPAS2E1 ?? 0, tlbis.VMALLS12E1IS ?? 0]).toEqual([
      tlbiIpa,
      tlbiIpaLocal,
      tlbiVmid,
    ]);
  });

  it("have no outcome where operations are replayed, and only the tables that are asked for", async () => {
    const out = file("ops.parquet");
    const asked = ["--tables", "faults,tlbis", "--from", "ops", "--out", out];
    expect((await granule(["replay", file("guest.trace.gz"), ...asked])).stderr.split("\n")).toHaveLength(3);
    const faults = await duckdb(`select count(*) as n, count(outcome) as known from '${file("ops.faults.parquet")}'`);
    const tlbis = await duckdb(`select kind, count(*) > 0 as some
      from '${file("ops.tlbis.parquet")}' join '${file("guest.events.parquet")}' using (line) group by all order by kind`);
    expect(faults[0]).toMatchObject({ known: 0n });
    expect(Number(faults[0]?.n)).toBeGreaterThan(1000);
    // A map is done when its result is known, an unmap at once.
    expect(tlbis).toEqual(["ret", "s2_unmap"].map((kind) => ({ kind, some: true })));
  });

  it.each([
    [["--out", "x.html"], "--out takes a file that ends in"],
    [["--out", "x.csv", "--tables", "leafs"], "--tables takes events, faults"],
    [["--tables", "leaves"], "--tables goes with --out FILE.parquet"],
  ])("%j is refused", async (args, words) => {
    const { code, stderr } = await granule(["replay", file("guest.trace.gz"), ...args]);
    expect(code).toBe(2);
    expect(stderr).toContain(words);
  });
});

describe("the questions of the page", () => {
  const asked = [...PAGE.matchAll(/^```sql\n(.*?)^```\n\n```text \[output\]\n(.*?)^```$/gms)];
  const questions = asked.map(([, sql = "", answer = ""]) => ({ sql, answer }));

  it("are three or more", () => {
    expect(questions.length).toBeGreaterThanOrEqual(3);
  });

  it.each(questions)("$sql", async ({ sql, answer }) => {
    const rows = await duckdb(sql.replaceAll("'guest.", `'${folder}/guest.`));
    const names = Object.keys(rows[0] ?? {});
    const cells = rows.map((row) => names.map((name) => String(row[name])));
    expect(`${columns([names, ...cells]).join("\n")}\n`).toBe(answer);
  });
});

describe("the tables of judged logs", () => {
  const log = (name: string) => join(ROOT, `test/audit/traces/${name}.log.gz`);
  const logs = [log("map_empty"), log("split_missing_dsb3"), log("map_nolock"), "/nowhere.log"];
  const kinds = ["logs", "violations"] as const;

  beforeAll(async () => {
    for (const ending of ["parquet", "csv", "ndjson"]) {
      const { code, stderr } = await granule(["check", ...logs, "--out", file(`judged.${ending}`)]);
      expect([code, stderr]).toEqual([
        3,
        expect.stringMatching(
          new RegExp(`judged\\.logs\\.${ending}: 4 rows\n.*judged\\.violations\\.${ending}: \\d+ rows\n$`),
        ),
      ]);
    }
  });

  it.each(kinds)("%s: its columns are on the page, and in the file, the same in each format", async (table) => {
    const described = CHECK_COLUMNS[table];
    expect(rowsBelow(table)).toEqual(described.map(({ name, type, about }) => [`\`${name}\``, type, about]));
    const types = Object.fromEntries(described.map(({ name, type }) => [name, TYPES[type]]));
    expect(await typesOf(file(`judged.${table}.parquet`))).toEqual(types);
    await expectSame(`judged.${table}`, described);
  });

  it("agree with what the command prints", async () => {
    const { files } = JSON.parse((await granule(["check", ...logs, "--json"])).stdout) as { files: object[] };
    const found = await duckdb(`select l.file, verdict, v.kind, v.record::integer as record, l.message
      from '${file("judged.logs.parquet")}' l left join '${file("judged.violations.parquet")}' v
      on l.file = v.file and v.number = 0`);
    const byFile = (a: { file?: unknown }, b: { file?: unknown }) => (String(a.file) < String(b.file) ? -1 : 1);
    expect(found.sort(byFile)).toEqual([...files].sort(byFile));
    const counts = `select (select sum(violations)::integer from '${file("judged.logs.parquet")}') as told,
      (select count(*)::integer from '${file("judged.violations.parquet")}') as rows`;
    const [{ told, rows } = {}] = await duckdb(counts);
    expect([rows, Number(rows) >= 2]).toEqual([told, true]);
  });

  it("are refused under another ending, and nothing is left of them", async () => {
    const { code, stderr } = await granule(["check", log("map_empty"), "--out", file("judged.html")]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("--out takes a file .parquet, .ndjson or .csv")]);
    expect(readdirSync(folder).filter((name) => name.endsWith(".part"))).toEqual([]);
  });
});

describe("the tables of a run", () => {
  it("are its row, which merge takes, and the guest's table", async () => {
    const line = ["dirty_log_perf", "--memory", "8M", "--dirty", "eager"];
    const { stdout } = await granule(["run", ...line, "--out", file("run.parquet"), "--json"]);
    const { table, accesses } = JSON.parse(stdout);
    const [found] = await duckdb(`select
      (select accesses from '${file("run.run.parquet")}') as accesses,
      (select count(*) from '${file("run.leaves.parquet")}') as leaves,
      (select sum(entries)::bigint * 8 from '${file("run.pages.parquet")}') as bytes`);
    const expected = { accesses, leaves: table.leaves, bytes: table.bytes };
    expect(found).toEqual(Object.fromEntries(Object.entries(expected).map(([name, n]) => [name, BigInt(n as number)])));
    const merged = await granule(["merge", file("run.run.parquet"), "--show", "accesses"]);
    expect([merged.code, merged.stdout.split("\n")[1]?.trim()]).toEqual([0, accesses.toLocaleString("en-US")]);
  });
});

describe("rows of a comparison", () => {
  it("have the columns that the page describes", async () => {
    const out = file("rows.ndjson");
    await granule(["compare", "demand_paging", "--memory", "4M", "--vary", "granule=4K", "--out", out]);
    const row = Object.keys(JSON.parse(readFileSync(out, "utf8")));
    const named = rowsBelow("Rows of a comparison").map(([name = ""]) => name.replaceAll("`", ""));
    const fixed = named.filter((name) => !name.includes("_*") && !name.includes(","));
    expect(row).toEqual(expect.arrayContaining(fixed));
    const groups = named.filter((name) => name.endsWith("_*")).map((name) => name.slice(0, -1));
    const grouped = row.filter((name) => groups.some((group) => name.startsWith(group)));
    const settings = named.filter((name) => name.includes(",")).flatMap((names) => names.split(", "));
    expect([...fixed, ...settings, ...grouped].sort()).toEqual([...row].sort());
  });
});
