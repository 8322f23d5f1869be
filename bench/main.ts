/**
 * `npm run bench`: workload ids as arguments, `--peer NAME` (repeatable; `kernel=FOLDER` for the kernel's C), `--rounds N`,
 * `--workers N`, `--json`, `--spread`.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { EngineAdapter } from "./adapters/adapter.js";
import { NaiveAdapter, TypedAdapter } from "./adapters/peer.js";
import { WasmAdapter } from "./adapters/wasm.js";
import { benchIds, runBench } from "./run.js";
import { formatSpread, formatTable } from "./table.js";

const USAGE = `usage: bench [ID...] [--peer wasm|typescript|naive|kernel=FOLDER]... [--rounds N] [--workers N] [--spread] [--json]
ids: ${benchIds.join(" ")}`;

const KERNEL = "kernel=";

const makers: Readonly<Record<string, () => EngineAdapter>> = {
  wasm: () => new WasmAdapter(),
  typescript: () => new TypedAdapter(),
  naive: () => new NaiveAdapter(),
};

class UsageError extends Error {}

function adaptersFor(peers: readonly string[]): EngineAdapter[] {
  const named = peers.filter((peer) => !peer.startsWith(KERNEL));
  return (named.length > 0 ? named : Object.keys(makers)).map((peer) => {
    const maker = Object.hasOwn(makers, peer) ? makers[peer] : undefined;
    if (maker === undefined) throw new UsageError(`no peer ${peer}`);
    return maker();
  });
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      peer: { type: "string", multiple: true, default: [] },
      rounds: { type: "string" },
      workers: { type: "string" },
      json: { type: "boolean", default: false },
      spread: { type: "boolean", default: false },
    },
  });
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) throw new UsageError("--rounds takes a count");
  const workers = values.workers === undefined ? undefined : Number(values.workers);
  if (workers !== undefined && !(workers > 1 && Number.isInteger(Math.log2(workers)) && workers < 64)) {
    throw new UsageError("--workers takes 2, 4, 8, 16 or 32");
  }
  const unknown = positionals.filter((id) => !benchIds.includes(id));
  if (unknown.length > 0) throw new UsageError(`no workload ${unknown.join(", ")}`);
  const report = await runBench({
    ids: positionals,
    adapters: adaptersFor(values.peer),
    kernelFolder: values.peer.find((peer) => peer.startsWith(KERNEL))?.slice(KERNEL.length),
    rounds,
    workers,
    onRows: (rows) => {
      for (const { id, peer, unit, median, workers: n } of rows) {
        console.error(`${id}${n === undefined ? "" : ` x${n}`} ${peer} ${median.toFixed(2)} ${unit}`);
      }
    },
  });
  if (values.json) console.log(JSON.stringify(report, undefined, 2));
  else console.log(values.spread ? formatSpread(report.results) : formatTable(report.results));
}

try {
  await main();
} catch (error) {
  const usage = error instanceof UsageError || (error instanceof TypeError && "code" in error);
  console.error(error instanceof Error ? error.message : error);
  if (usage) console.error(USAGE);
  process.exitCode = usage ? 2 : 1;
}
