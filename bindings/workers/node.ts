import type { PoolWorker } from "./kinds.js";

type WorkerThreads = typeof import("node:worker_threads");

/** Where this file is; not written into `new URL`, which bundlers for browsers would take for a file to copy. */
const HERE = import.meta.url;

/** Node's module, undefined where there is no Node. Asked for at run time: an import would stop a bundler for browsers. */
export function workerThreads(): WorkerThreads | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  return process?.getBuiltinModule?.("node:worker_threads") as WorkerThreads | undefined;
}

/** A thread of Node's. */
export function startInNode(threads: WorkerThreads): PoolWorker {
  return new threads.Worker(new URL("./worker.js", HERE));
}
