// Rounds of one invalidation: waits for an odd number, invalidates everything of the VMID, answers with the next even one.
import { workerData } from "node:worker_threads";

const { memory, module, tlb, state, rounds, form } = workerData;
const core = new WebAssembly.Instance(module, { env: { memory } }).exports;
const words = new Int32Array(memory.buffer, state, 2);

for (let round = 1; round < 2 * rounds; round += 2) {
  for (let i = 0; Atomics.load(words, 0) !== round; i++) if (i > 10_000) Atomics.wait(words, 0, round - 1, 1);
  for (let i = (round * 7) % 4001; i > 0; i--) Atomics.load(words, 1);
  core.mmuTlbi(tlb, 1, form, 0, 0, 0);
  core.mmuDsb(tlb, 1, 1);
  Atomics.store(words, 0, round + 1);
}
