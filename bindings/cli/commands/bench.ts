import type { EngineAdapter } from "../../../bench/adapters/adapter.js";
import type { ResultRow } from "../../../bench/rows.js";
import {
  booleanOption,
  type Command,
  type CommandArgs,
  type CommandIo,
  Exit,
  integerOption,
  UsageError,
  writeJson,
} from "../command.js";

const KERNEL = "kernel=";
const MAX_ROUNDS = 10_000;
const MAX_WORKERS = 32;

/** Loaded when asked for: an installed package has neither these files nor tinybench, and must do without any. */
async function load() {
  try {
    const [run, table, peers, wasm] = await Promise.all([
      import("../../../bench/run.js"),
      import("../../../bench/table.js"),
      import("../../../bench/adapters/peer.js"),
      import("../../../bench/adapters/wasm.js"),
    ]);
    const makers: Readonly<Record<string, () => EngineAdapter>> = {
      wasm: () => new wasm.WasmAdapter(),
      typescript: () => new peers.TypedAdapter(),
      naive: () => new peers.NaiveAdapter(),
    };
    return { ...run, ...table, makers };
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND") {
      throw new UsageError(
        "bench runs only in a checkout of granule after npm ci: the package that npm installs has no bench/ and no tinybench",
      );
    }
    throw error;
  }
}

type Bench = Awaited<ReturnType<typeof load>>;

function peersOf(args: CommandArgs): string[] {
  const peers = args.options.peer;
  return Array.isArray(peers) ? peers.map(String) : [];
}

function adaptersFor(bench: Bench, peers: readonly string[]): EngineAdapter[] {
  const named = peers.filter((peer) => !peer.startsWith(KERNEL));
  const known = Object.keys(bench.makers);
  return (named.length > 0 ? named : known).map((peer) => {
    const make = known.includes(peer) ? bench.makers[peer] : undefined;
    if (!make) throw new UsageError(`no peer ${peer}: the peers are ${known.join(", ")} and kernel=FOLDER`);
    return make();
  });
}

function noteRows(rows: readonly ResultRow[], io: CommandIo): void {
  for (const { id, peer, unit, median, workers } of rows) {
    io.note(`${id}${workers === undefined ? "" : ` x${workers}`} ${peer} ${median.toFixed(2)} ${unit}`);
  }
}

/** The number of workers; the pages of a parallel workload are divided evenly among them. */
function workersOf(args: CommandArgs): number | undefined {
  const workers = integerOption(args, "workers", 2, MAX_WORKERS);
  if (workers === undefined || Number.isInteger(Math.log2(workers))) return workers;
  throw new UsageError(`--workers is 2, 4, 8, 16 or 32, not ${workers}`);
}

async function list(ids: readonly string[], args: CommandArgs, io: CommandIo): Promise<number> {
  if (args.json) await writeJson(io, { schemaVersion: 1, ids });
  else await io.out(`${ids.join("\n")}\n`);
  return Exit.OK;
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const rounds = integerOption(args, "rounds", 1, MAX_ROUNDS);
  const workers = workersOf(args);
  const peers = peersOf(args);
  const bench = await load();
  if (booleanOption(args, "list")) return list(bench.benchIds, args, io);
  const unknown = args.operands.filter((id) => !bench.benchIds.includes(id));
  if (unknown.length > 0) throw new UsageError(`no workload ${unknown.join(", ")}: --list names them`);
  const report = await bench.runBench({
    ids: args.operands,
    adapters: adaptersFor(bench, peers),
    kernelFolder: peers.find((peer) => peer.startsWith(KERNEL))?.slice(KERNEL.length),
    rounds,
    workers,
    onRows: (rows) => noteRows(rows, io),
  });
  const format = booleanOption(args, "spread") ? bench.formatSpread : bench.formatTable;
  if (args.json) await writeJson(io, report);
  else await io.out(`${format(report.results)}\n`);
  return Exit.OK;
}

/** `granule bench [ID...]`. */
export const bench: Command = {
  name: "bench",
  usage: "[ID...] [--peer NAME]... [--rounds N] [--workers N]",
  summary: "measure the same work on the Wasm core, on TypeScript, and on the kernel's own C",
  help: `Runs the named workloads on each peer in turn and prints the median time of each; without ID it runs all of them.
Peers are wasm (granule), typescript (a table in typed arrays), naive (one with bigints), and kernel=FOLDER (the kernel's
own C: a folder with its bench binary). This needs a checkout of granule after npm ci.`,
  options: {
    peer: {
      type: "string",
      multiple: true,
      value: "NAME",
      help: "wasm, typescript, naive or kernel=FOLDER; repeatable (default: the first three)",
    },
    rounds: { type: "string", value: "N", help: "number of samples of each workload" },
    workers: { type: "string", value: "N", help: "threads of the parallel workloads: 2, 4, 8, 16 or 32 (default 2)" },
    spread: { type: "boolean", help: "also print minimum and 99th percentile" },
    list: { type: "boolean", help: "print the names of the workloads, and measure nothing" },
  },
  examples: [
    { line: "granule bench map-4k --peer wasm --peer typescript", shows: "one workload on two peers, side by side" },
  ],
  run,
};
