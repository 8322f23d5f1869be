/**
 * What a thread of a pool runs: joins the engine that it is sent, and works off the jobs that follow.
 *
 * @module
 */

import { type Engine, joinEngine } from "../tables/engine.js";
import type { Reply, Request } from "./protocol.js";
import { Runner } from "./runner.js";

/** The other end, alike in a browser's worker and in Node's. */
interface Port {
  postMessage(message: Reply): void;
  onRequest(receive: (request: Request) => void): void;
}

async function openPort(): Promise<Port> {
  const scope = globalThis as unknown as {
    postMessage?: (message: Reply) => void;
    addEventListener?: (type: string, listener: (event: { data: Request }) => void) => void;
  };
  if (scope.postMessage && scope.addEventListener) {
    const { postMessage, addEventListener } = scope;
    return {
      postMessage: (message) => postMessage.call(scope, message),
      onRequest: (receive) => addEventListener.call(scope, "message", ({ data }) => receive(data)),
    };
  }
  // Named by a variable, so that no bundler looks for it where there is no Node.
  const node = "node:worker_threads";
  const { parentPort } = (await import(node)) as typeof import("node:worker_threads");
  if (!parentPort) throw new Error("granule's worker is started by createPool, not by hand");
  return {
    postMessage: (message) => parentPort.postMessage(message),
    onRequest: (receive) => parentPort.on("message", receive),
  };
}

function serve(port: Port): void {
  let engine: Engine | undefined;
  let runner: Runner | undefined;
  port.onRequest((request) => {
    if (request.type === "join") {
      engine = joinEngine(request.ticket);
      runner = new Runner(engine, request.control);
      port.postMessage({ type: "ready" });
    } else if (request.type === "leave") {
      engine?.close();
      port.postMessage({ type: "ready" });
    } else if (runner) {
      work(port, runner, request);
    }
  });
}

function work(port: Port, runner: Runner, request: Extract<Request, { type: "job" }>): void {
  const job = runner.job(request.id, request.steps, request.gate);
  let turn = job.next();
  for (; !turn.done; turn = job.next()) {
    if (request.progress) port.postMessage({ type: "progress", id: request.id, done: turn.value });
  }
  port.postMessage(turn.value);
}

openPort().then(serve);
