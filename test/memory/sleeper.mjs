// A walker on a thread of its own that calls one function after the other: test/memory/sleep.test.ts.

import { parentPort, workerData } from "node:worker_threads";

const { module, memory, base, id, sleeps, reads } = workerData;
const clock = () => {
  Atomics.add(reads, 0, 1);
  return 0; // time stands still: it waits for as long as it has to
};
const { exports } = new WebAssembly.Instance(module, { env: { memory, base }, host: { clock, hook: () => 0 } });
if (exports.attach(id, sleeps) !== 0) throw new Error(`there is a walker ${id}`);

parentPort.on("message", (calls) => {
  parentPort.postMessage(calls.map(([name, ...args]) => exports[name](...args) ?? 0));
});
