/**
 * What a thread of a pool runs. To import it in a worker, of a browser or of Node, makes that worker serve the pool that started
 * it; on a main thread the import does nothing. `createPool` finds this file by itself where the package lies as it was
 * installed, and where a bundler knows `new Worker(new URL(...))`; elsewhere name it as an entry of the bundle.
 *
 * @module
 */

import { type Engine, joinEngine } from "../tables/engine.js";
import { workerThreads } from "./node.js";
import type { Reply, Request } from "./protocol.js";
import { Runner } from "./runner.js";

/** The way from a worker to the pool that it serves. */
export interface PoolPort {
  /** Posts `message` to the pool, as `postMessage` of a worker does. */
  postMessage(message: unknown): void;
  /** Calls `receive` with every message of the pool from now on. */
  onMessage(receive: (message: unknown) => void): void;
}

type JobRequest = Extract<Request, { type: "job" }>;

function work(port: PoolPort, runner: Runner, request: JobRequest): void {
  const post = (reply: Reply) => port.postMessage(reply);
  const job = runner.job(request.id, request.steps, request.gate);
  let turn = job.next();
  for (; !turn.done; turn = job.next()) {
    if (request.progress) post({ type: "progress", id: request.id, done: turn.value });
  }
  post(turn.value);
}

/**
 * Serves a pool through `port`: joins the engine that it is sent, and works off the jobs that follow. Needed only by a worker
 * that hears its pool through a channel of its own; importing `granule/worker` serves the one that started the worker.
 * Messages that are no pool's are left to others. An engine that cannot be joined is an error thrown into `onMessage`.
 *
 * @example
 * ```ts
 * import { createEngine, createPool } from "granule";
 * import { servePool } from "granule/worker";
 * using engine = createEngine({ walkers: 2 });
 * using table = engine.createStage2();
 * // Both ends of the channel are on this thread here; as a rule `far` is posted to the other one.
 * const createWorker = () => {
 *   const { port1: near, port2: far } = new MessageChannel();
 *   servePool({
 *     postMessage: (message) => far.postMessage(message),
 *     onMessage: (receive) => { far.onmessage = ({ data }) => receive(data); },
 *   });
 *   near.start();
 *   return {
 *     postMessage: (message: unknown) => near.postMessage(message),
 *     terminate: () => near.close(),
 *     addEventListener: near.addEventListener.bind(near),
 *   };
 * };
 * await using pool = await createPool(engine, { size: 1, createWorker });
 * using batch = engine.createBatch(1);
 * batch.map(table, 0x20_0000, 2 << 20, 0x4000_0000, "rw", { shared: true, cache: "own" });
 * console.log(await pool.run(batch), table.leaf(0x20_0000).kind); // 1 block
 * ```
 */
export function servePool(port: PoolPort): void {
  let engine: Engine | undefined;
  let runner: Runner | undefined;
  const ready = () => port.postMessage({ type: "ready" } satisfies Reply);
  port.onMessage((message) => {
    const request = message as Request;
    if (request?.type === "join") {
      engine = joinEngine(request.ticket);
      runner = new Runner(engine, request.control);
      ready();
    } else if (request?.type === "leave") {
      engine?.close();
      ready();
    } else if (request?.type === "job" && runner) {
      work(port, runner, request);
    }
  });
}

/** The port to the pool that started this worker; undefined where this is no worker. */
function portOfWorker(): PoolPort | undefined {
  const parentPort = workerThreads()?.parentPort;
  if (parentPort) {
    return {
      postMessage: (message) => parentPort.postMessage(message),
      onMessage: (receive) => parentPort.on("message", receive),
    };
  }
  if (!("DedicatedWorkerGlobalScope" in globalThis)) return undefined;
  return {
    postMessage: (message) => postMessage(message),
    onMessage: (receive) => addEventListener("message", ({ data }) => receive(data)),
  };
}

const port = portOfWorker();
if (port) servePool(port);
