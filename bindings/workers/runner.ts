import { SUBMIT_BYTES } from "../core/constants.generated.js";
import { GranuleError } from "../core/errors.js";
import type { Engine } from "../tables/engine.js";
import type { Gate, Reply, Step } from "./protocol.js";

/** Rows between two looks at the abort word: some 0.1 ms of faults. */
const CHUNK = 4096;
const WIDE = 8;
const GATE_MS = 1000;

/** Milliseconds on a clock that all threads share. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

/** One call of the core on rows [from, from + n) of a step; what it returns. */
function call({ core }: Engine, step: Step, from: number, n: number): number {
  if (step.kind === "batch") return core.submit(step.pointer + from * SUBMIT_BYTES, n, step.stop ? 1 : 0);
  const addresses = step.addresses + from * WIDE;
  const statuses = step.statuses + from;
  if (step.kind === "relax") return core.relaxPages(step.table, addresses, statuses, n, step.prot, step.flags);
  const values = step.values + from * WIDE;
  if (step.kind === "map") {
    return core.mapPages(step.table, addresses, values, statuses, n, step.prot, step.cache, step.flags);
  }
  const status = core.getLeaves(step.table, addresses, values, statuses, n);
  return status < 0 ? status : n;
}

/**
 * Runs jobs on one walker, a chunk at a time; between two chunks it is in no section and holds no lock, so stopping there
 * leaves everything as whole operations left it.
 */
export class Runner {
  readonly #engine: Engine;
  /** The abort word: the id of the job that is to end. */
  readonly #control: number;

  constructor(engine: Engine, control: number) {
    this.#engine = engine;
    this.#control = control;
  }

  #aborted(id: number): boolean {
    return Atomics.load(this.#engine.u32, this.#control / 4) === id;
  }

  /** Passes when all parties are there, or after a while without them. Spins: to be woken takes as long as a short job. */
  #pass({ pointer, parties }: Gate): void {
    const { u32 } = this.#engine;
    const until = now() + GATE_MS;
    Atomics.add(u32, pointer / 4, 1);
    while (Atomics.load(u32, pointer / 4) < parties && now() < until);
  }

  /** The chunks of a job, one for each turn of the iterator; it ends with the reply. */
  *job(id: number, steps: readonly Step[], gate?: Gate): Generator<number, Reply> {
    const results: number[] = [];
    if (gate) this.#pass(gate);
    const started = now();
    let rows = 0;
    try {
      for (const step of steps) {
        let done = 0;
        while (done < step.rows) {
          if (this.#aborted(id)) return { type: "aborted", id, done: rows };
          const n = Math.min(CHUNK, step.rows - done);
          const moved = call(this.#engine, step, done, n);
          if (moved < 0) {
            done = moved; // an errno: nothing more of this step
            break;
          }
          done += moved;
          rows += moved;
          yield rows;
          if (moved < n) break;
        }
        results.push(done);
        if (done < step.rows && !(step.kind === "batch" && !step.stop)) break;
      }
      return { type: "done", id, results, started, ended: now() };
    } catch (error) {
      const errno = error instanceof GranuleError ? error.errno : undefined;
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
      return { type: "failed", id, message, errno };
    }
  }
}
