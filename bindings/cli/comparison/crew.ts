// Runs the jobs of a comparison on all cores.

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { GranuleError } from "../../core/errors.js";
import { type CommandIo, InputError, Interrupted } from "../command.js";
import { type Comparison, combinationText, type Job } from "./comparison.js";
import { type Answer, answerTo } from "./job.js";
import type { Report } from "./measure.js";

/** A job that is done. */
export interface Done extends Job {
  readonly report: Report;
}

function reportOf(answer: Answer, job: Job): Report {
  if ("report" in answer) return answer.report;
  if ("unreadable" in answer) throw new InputError(answer.unreadable);
  const { errno, operation, hint } = answer;
  throw new GranuleError(errno, { operation, hint: `${hint} (${combinationText(job.combination)})` });
}

/** In this thread: an interrupt is heard between two jobs. */
async function alone(comparison: Comparison, jobs: readonly Job[], path: string, io: CommandIo): Promise<Done[]> {
  const done: Done[] = [];
  for (const job of jobs) {
    io.progress({ done: done.length, unit: "runs", share: done.length / jobs.length });
    done.push({ ...job, report: reportOf(await answerTo(comparison, job.combination, path), job) });
    await new Promise((resolve) => setImmediate(resolve));
    if (io.signal.aborted) throw new Interrupted();
  }
  return done;
}

/** One thread's part: it takes the next job whenever it has finished one. */
function work(worker: Worker, next: () => Job | undefined, take: (job: Job, answer: Answer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let job: Job | undefined;
    const more = (): void => {
      job = next();
      if (job === undefined) resolve();
      else worker.postMessage(job.combination);
    };
    worker.on("message", (answer: Answer) => {
      try {
        take(job as Job, answer);
        more();
      } catch (error) {
        reject(error);
      }
    });
    worker.on("error", reject);
    worker.on("exit", (code) => reject(new Error(`a thread of the comparison ended (exit code ${code})`)));
    more();
  });
}

async function together(
  comparison: Comparison,
  jobs: readonly Job[],
  path: string,
  threads: number,
  io: CommandIo,
): Promise<Done[]> {
  const done = new Map<number, Done>();
  const waiting = [...jobs];
  const script = new URL("./worker.js", import.meta.url);
  const crew = Array.from({ length: threads }, () => new Worker(script, { workerData: { comparison, path } }));
  const interrupted = new Promise<never>((_, reject) => {
    io.signal.addEventListener("abort", () => reject(new Interrupted()));
  });
  const tell = () => io.progress({ done: done.size, unit: "runs", share: done.size / jobs.length });
  tell();
  const take = (job: Job, answer: Answer): void => {
    done.set(job.number, { ...job, report: reportOf(answer, job) });
    tell();
  };
  try {
    const all = Promise.all(crew.map((worker) => work(worker, () => waiting.shift(), take)));
    await Promise.race([all, interrupted]);
  } finally {
    await Promise.all(crew.map((worker) => worker.terminate()));
  }
  return jobs.map(({ number }) => done.get(number) as Done);
}

/**
 * Runs jobs on so many threads, all cores by default, and gives them in their order. Throws GranuleError for settings that make no
 * sense together, with the combination, and Interrupted.
 */
export async function runJobs(
  comparison: Comparison,
  jobs: readonly Job[],
  path: string,
  io: CommandIo,
  threads: number = availableParallelism(),
): Promise<Done[]> {
  const used = Math.min(threads, jobs.length);
  const done = used > 1 ? await together(comparison, jobs, path, used, io) : await alone(comparison, jobs, path, io);
  io.progress(undefined);
  return done;
}
