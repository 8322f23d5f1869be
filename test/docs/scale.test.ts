// docs/scale.md: its commands run as they stand there, and each way of running the parts comes to what one machine prints.

import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { columns } from "../../bindings/report/text.js";
import { ROOT, text } from "../house/sources.js";
import { scratchFolder } from "../support/scratch.js";
import { duckdb } from "../tabular/support.js";

const PAGE = text("docs/scale.md");
const SHARDS = 4;

const folder = scratchFolder();
const bin = join(folder, "bin");

beforeAll(() => {
  mkdirSync(bin);
  const line = `#!/bin/sh\nexec "${process.execPath}" "${ROOT}/dist/bindings/cli/main.js" "$@"\n`;
  writeFileSync(join(bin, "granule"), line);
  chmodSync(join(bin, "granule"), 0o755);
});

/** Standard output of a script in a folder of its own, where it must succeed. */
function shell(script: string, environment: Record<string, string> = {}): string {
  const env = { ...process.env, NO_COLOR: "1", PATH: `${bin}${delimiter}${process.env.PATH}`, ...environment };
  const { status, stdout, stderr } = spawnSync("sh", ["-c", script], { cwd: folder, env, encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return stdout;
}

/** The block of the page behind a line of this beginning. */
function block(fence: string, n = 0): string {
  const found = [...PAGE.matchAll(/^```([^\n]*)\n(.*?)^```$/gms)].filter(([, info = ""]) => info === fence);
  const content = found[n]?.[2];
  if (content === undefined) throw new Error(`the page has no block ${fence} ${n}`);
  return content;
}

const PLAN = block("sh");
const LINE = PLAN.trim().replace(/ --plan .*$/, "");
/** What one machine prints. */
let WHOLE = "";
beforeAll(() => {
  WHOLE = shell(LINE);
});

describe("README", () => {
  const shown = [...text("README.md").matchAll(/^```\n\$ (granule compare [^\n]*)\n(.*?)^```$/gms)];

  it("has comparisons", () => {
    expect(shown.length).toBeGreaterThan(1);
  });

  it.each(shown.map(([, line = "", output = ""]) => ({ line, output })))(
    "prints what it says: $line",
    ({ line, output }) => {
      expect(shell(line)).toContain(output);
    },
  );
});

describe("docs/scale.md", () => {
  it("prints the plan that it says", () => {
    expect(shell(PLAN)).toBe(block("text [output]"));
  });

  it("runs the plan as processes, and prints the table that it says", () => {
    expect(shell(block("sh", 1))).toBe(block("text [output]", 1));
    expect(shell("granule merge part-*-of-4.parquet")).toBe(WHOLE);
  });

  it.skipIf(spawnSync("parallel", ["--version"]).status !== 0)("runs the plan by GNU parallel", () => {
    shell(`mkdir parallel; cd parallel; ${PLAN.trim()} | parallel`);
    expect(shell("granule merge parallel/*.parquet")).toBe(WHOLE);
  });

  it("has a Slurm script whose parts are the whole", () => {
    const script = block("sh [fan-out.sbatch]");
    expect(script).toContain(`#SBATCH --array=1-${SHARDS}\n`);
    for (let i = 1; i <= SHARDS; i++) shell(script, { SLURM_ARRAY_TASK_ID: String(i) });
    expect(shell("granule merge slurm-*.parquet")).toBe(WHOLE);
  });

  it("has an Indexed Job whose parts are the whole", () => {
    const job = block("yaml [fan-out.yaml]");
    const [, folded = ""] = /^ +args:\n +- (.*?)\n +env:$/ms.exec(job) ?? [];
    expect(job).toContain(`completions: ${SHARDS}\n`);
    expect(job).toMatch(/command: \[sh, -c\]/);
    for (let i = 0; i < SHARDS; i++) {
      shell(folded.replaceAll(/\n +/g, " "), { JOB_COMPLETION_INDEX: String(i), ROWS: folder });
    }
    expect(shell("granule merge k8s-*.parquet")).toBe(WHOLE);
  });

  it("asks the rows what it says", async () => {
    const rows = await duckdb(block("sql").replace("'part-", `'${folder}/part-`));
    const names = Object.keys(rows[0] ?? {});
    const cells = rows.map((row) => names.map((name) => String(row[name])));
    expect(`${columns([names, ...cells]).join("\n")}\n`).toBe(block("text [output]", 2));
  });
});
