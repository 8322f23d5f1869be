import type { Reply, Request } from "./protocol.js";

/** A thread as the pool sees it. */
export interface Thread {
  post(request: Request): void;
  /** Stops it wherever it is. */
  terminate(): void;
  /** May the process end while it waits? Only while it has nothing to do. */
  idle(yes: boolean): void;
}

/** What the pool hears of a thread. */
export interface ThreadEvents {
  onReply(reply: Reply): void;
  /** It runs no more: crashed, or was stopped by somebody. */
  onDeath(cause: unknown): void;
}

type BrowserWorker = {
  postMessage(message: Request): void;
  terminate(): void;
  addEventListener(type: string, listener: (event: { data?: Reply; message?: string }) => void): void;
};

function inBrowser(WorkerClass: new (url: URL, options: object) => BrowserWorker, events: ThreadEvents): Thread {
  const worker = new WorkerClass(new URL("./worker.js", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }) => events.onReply(data as Reply));
  const end = (cause: Error): void => {
    worker.terminate(); // an error alone does not end a browser's worker, and none says when it has ended
    events.onDeath(cause);
  };
  worker.addEventListener("error", ({ message }) => end(new Error(message ?? "the worker failed")));
  return {
    post: (request) => worker.postMessage(request),
    terminate: () => end(new Error("stopped")),
    idle: () => {},
  };
}

async function inNode(events: ThreadEvents): Promise<Thread> {
  const node = "node:worker_threads"; // named by a variable, so that no bundler looks for it where there is no Node
  const { Worker } = (await import(node)) as typeof import("node:worker_threads");
  const worker = new Worker(new URL("./worker.js", import.meta.url));
  let cause: unknown;
  worker.on("message", (reply: Reply) => events.onReply(reply));
  worker.on("error", (error) => {
    cause = error;
  });
  worker.on("exit", (code) => events.onDeath(cause ?? new Error(`the worker ended (exit code ${code})`)));
  return {
    post: (request) => worker.postMessage(request),
    terminate: () => void worker.terminate(),
    idle: (yes) => (yes ? worker.unref() : worker.ref()),
  };
}

/** Starts a thread of this place's kind. */
export async function startThread(events: ThreadEvents): Promise<Thread> {
  const { Worker } = globalThis as { Worker?: new (url: URL, options: object) => BrowserWorker };
  return Worker ? inBrowser(Worker, events) : inNode(events);
}
