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
        "bench runs in a checkout of granule after npm ci: the installed package brings neither bench/ nor tinybench",
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
    if (!make) throw new UsageError(`no peer ${peer}: there are ${known.join(" ")} and kernel=FOLDER`);
    return make();
  });
}

function noteRows(rows: readonly ResultRow[], io: CommandIo): void {
  for (const { id, peer, unit, median } of rows) io.note(`${id} ${peer} ${median.toFixed(2)} ${unit}`);
}

async function run(args: CommandArgs, io: CommandIo): Promise<number> {
  const rounds = integerOption(args, "rounds", 1, MAX_ROUNDS);
  const workers = integerOption(args, "workers", 2, MAX_WORKERS);
  const peers = peersOf(args);
  const bench = await load();
  if (booleanOption(args, "list")) {
    const body = args.json ? JSON.stringify({ schemaVersion: 1, ids: bench.benchIds }) : bench.benchIds.join("\n");
    await io.out(`${body}\n`);
    return Exit.OK;
  }
  const unknown = args.operands.filter((id) => !bench.benchIds.includes(id));
  if (unknown.length > 0)
    throw new UsageError(`no workload ${unknown.join(", ")}: there are ${bench.benchIds.join(" ")}`);
  const report = await bench.runBench({
    ids: args.operands,
    adapters: adaptersFor(bench, peers),
    kernelFolder: peers.find((peer) => peer.startsWith(KERNEL))?.slice(KERNEL.length),
    rounds,
    workers,
    onRows: (rows) => noteRows(rows, io),
  });
  const text = () => (booleanOption(args, "spread") ? bench.formatSpread : bench.formatTable)(report.results);
  await io.out(`${args.json ? JSON.stringify(report, undefined, 2) : text()}\n`);
  return Exit.OK;
}

/** `granule bench [ID...]`. */
export const bench: Command = {
  name: "bench",
  usage: "[ID...] [--peer NAME]... [--rounds N] [--workers N]",
  summary: "measure the same work on the Wasm core, on TypeScript, and on the kernel's own C",
  help: `Runs the benchmark workloads ID... (all without one; --list names them) on each peer in turn, batches of at least
a microsecond, and prints medians. Peers: wasm (granule), typescript (typed arrays), naive (bigint), kernel=FOLDER (a build
of the kernel's C with a bench binary in it). Runs in a checkout of granule: it needs bench/ and tinybench.`,
  options: {
    peer: {
      type: "string",
      multiple: true,
      value: "NAME",
      help: "wasm, typescript, naive or kernel=FOLDER; repeatable (default: the first three)",
    },
    rounds: { type: "string", value: "N", help: "samples of each workload" },
    workers: { type: "string", value: "N", help: "workers of the parallel workloads, a power of two (default 2)" },
    spread: { type: "boolean", help: "show minimum and 99th percentile as well" },
    list: { type: "boolean", help: "name the workloads and stop" },
  },
  run,
};
