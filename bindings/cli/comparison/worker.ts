// A thread that runs jobs of a comparison, one after the other.

import { parentPort, workerData } from "node:worker_threads";
import type { Combination, Comparison } from "./comparison.js";
import { answerTo } from "./job.js";

const { comparison, path } = workerData as { readonly comparison: Comparison; readonly path: string };

parentPort?.on("message", async (combination: Combination) => {
  parentPort?.postMessage(await answerTo(comparison, combination, path));
});
