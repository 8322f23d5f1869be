import { startInBrowser } from "./browser.js";
import type { BrowserWorker, CreateWorker, NodeWorker, PoolWorker } from "./kinds.js";
import { startInNode, workerThreads } from "./node.js";
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

/** What an error of a browser's worker tells; a script that did not load tells nothing. */
interface ErrorEvent {
  readonly message?: string;
  readonly filename?: string;
  readonly lineno?: number;
}

const NOT_LOADED =
  "its script did not load (is it there, and does worker-src of the content security policy allow it?)";

function causeOf({ message, filename, lineno }: ErrorEvent): Error {
  return new Error(message ? `${message} (${filename}:${lineno})` : NOT_LOADED);
}

function watchBrowser(worker: BrowserWorker, events: ThreadEvents): Thread {
  const end = (cause: Error): void => {
    worker.terminate(); // an error alone does not end a browser's worker, and none says when it has ended
    events.onDeath(cause);
  };
  worker.addEventListener("message", ({ data }) => events.onReply(data as Reply));
  worker.addEventListener("messageerror", () => end(new Error("a message of the worker could not be read")));
  worker.addEventListener("error", (event) => end(causeOf(event as ErrorEvent)));
  return {
    post: (request) => worker.postMessage(request),
    terminate: () => end(new Error("stopped")),
    idle: () => {},
  };
}

function watchNode(worker: NodeWorker, events: ThreadEvents): Thread {
  let cause: unknown;
  worker.on("message", (reply) => events.onReply(reply as Reply));
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

/** A worker of this place's kind. */
function startHere(): PoolWorker {
  const threads = typeof Worker === "function" ? undefined : workerThreads();
  return threads ? startInNode(threads) : startInBrowser();
}

/** Starts a thread: the worker that `create` gives, or one of this place's kind. */
export async function startThread(events: ThreadEvents, create: CreateWorker = startHere): Promise<Thread> {
  const worker = await create();
  return "on" in worker ? watchNode(worker, events) : watchBrowser(worker, events);
}
