import type { PoolWorker } from "./kinds.js";

/**
 * A browser's module worker. The expression is written out: bundlers look for exactly this form, and put the worker's script,
 * bundled, in place of its address.
 */
export function startInBrowser(): PoolWorker {
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
}
