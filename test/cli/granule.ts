// Runs the built command line as a user does. `npm test` builds first.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The script that package.json names as `granule`. */
export const MAIN: string = fileURLToPath(new URL("../../dist/bindings/cli/main.js", import.meta.url));

if (!existsSync(MAIN)) throw new Error("dist/ is not built: npm run build");

/** How a run ended. */
export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  stdin?: string;
  env?: Record<string, string>;
  /** Called with each piece of stdout. */
  onData?: (text: string, child: ReturnType<typeof spawn>) => void;
  onStart?: (child: ReturnType<typeof spawn>) => void;
}

/** Runs `granule ...args`. */
export function granule(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const { NO_COLOR: _no, FORCE_COLOR: _force, ...env } = process.env;
  const child = spawn(process.execPath, [MAIN, ...args], { env: { ...env, ...options.env } });
  const ended: Ended = { code: null, signal: null, stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    ended.stdout += text;
    options.onData?.(text, child);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    ended.stderr += text;
  });
  // A child that refuses its command line may be gone before it reads.
  child.stdin.on("error", () => {});
  child.stdin.end(options.stdin ?? "");
  options.onStart?.(child);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ ...ended, code, signal }));
  });
}

const HEADER = {
  format: "pgtable-vectors/1",
  stage: "stage2",
  granule: 4096,
  lpa2: false,
  fwb: false,
  tlbi_range: true,
  bti: false,
  hvhe: false,
  pa_bits52: false,
  ac03: false,
  mm_ops: { dcache: true, icache: true, page_count: true },
  mmfr0: "0x5",
  mmfr1: "0x0",
  phys_shift: 40,
  arena_base: "0x80000000",
  flags: [],
  force_pte: "none",
};

/** An operations file: header and lines. */
export function script(lines: readonly object[], header: object = {}): string {
  return [{ ...HEADER, ...header }, ...lines].map((line) => `${JSON.stringify(line)}\n`).join("");
}

/** A `map` line. */
export function mapLine(addr: number, size: number, prot: readonly string[] = ["R", "W"]): object {
  const hex = (n: number) => `0x${n.toString(16)}`;
  return { op: "map", addr: hex(addr), size: hex(size), phys: "0x40000000", prot, mc: 40, walk_flags: [] };
}
