// Workers of both kinds as a pool uses them, without the types of a page or of Node, which a user's project may lack.

/** What a pool uses of a browser's `Worker`. */
export interface BrowserWorker {
  /** Posts a request to the worker; memory and modules in it are shared, not copied. */
  postMessage(message: unknown): void;
  /** Ends the worker wherever it is. */
  terminate(): void;
  /** Adds a listener: of replies, of the worker's errors, of replies that cannot be read. */
  // biome-ignore lint/suspicious/noExplicitAny: each event has an interface of its own
  addEventListener(type: "message" | "error" | "messageerror", listener: (event: any) => void): void;
}

/** What a pool uses of a `Worker` of Node's worker_threads. */
export interface NodeWorker {
  /** Posts a request to the worker; memory and modules in it are shared, not copied. */
  postMessage(message: unknown): void;
  /** Ends the worker wherever it is. */
  terminate(): unknown;
  /** Adds a listener: of replies, of the worker's errors, of its end. */
  // biome-ignore lint/suspicious/noExplicitAny: each event has an argument of its own
  on(event: "message" | "messageerror" | "error" | "exit", listener: (value: any) => void): unknown;
  /** The process stays while the worker lives. */
  ref(): void;
  /** The process may end although the worker lives. */
  unref(): void;
}

/** A worker that runs `granule/worker`: a browser's `Worker`, or one of Node's worker_threads. */
export type PoolWorker = BrowserWorker | NodeWorker;

/** How a pool gets a worker, if not in its own way. */
export type CreateWorker = () => PoolWorker | Promise<PoolWorker>;
