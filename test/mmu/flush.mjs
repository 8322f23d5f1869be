// Takes a leaf away, flushes another thread's TLB, waits until that thread has looked, and puts the leaf back.
import { workerData } from "node:worker_threads";

const { memory, module, tlb, slot, state, valid } = workerData;
const core = new WebAssembly.Instance(module, { env: { memory } }).exports;
const words = new Int32Array(memory.buffer, state, 2);
const leaf = new BigUint64Array(memory.buffer, slot, 1);
const VMALLS12E1IS = 2 | (1 << 7);

for (let round = 1; ; round += 2) {
  for (let i = 0; i < round % 97; i++) Atomics.load(words, 1);
  Atomics.store(leaf, 0, 0n);
  core.mmuTlbi(tlb, 1, VMALLS12E1IS, 0, 0, 0);
  core.mmuDsb(tlb, 1, 1);
  Atomics.store(words, 0, round);
  while (Atomics.load(words, 1) !== round);
  Atomics.store(leaf, 0, valid);
  Atomics.store(words, 0, round + 1);
}
