// A thread that clears the access flag of one descriptor and counts in the bits that it ignores, again and again, atomically:
// it goes on counting while the other thread sees the flag cleared.

import { parentPort, workerData } from "node:worker_threads";

const { buffer, at, flips } = workerData;
const word = new BigUint64Array(buffer, at, 1);
for (let i = 0; i < flips; i++) {
  if (i % 8 === 0) Atomics.and(word, 0, ~(1n << 10n));
  Atomics.add(word, 0, 1n << 55n);
}
parentPort.postMessage("done");
