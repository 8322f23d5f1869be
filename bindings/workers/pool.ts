import { checkChoice, checkFunction, checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { GranuleError, invalid } from "../core/errors.js";
import type { Signal } from "../core/platform.js";
import { type ProtLike, toProt } from "../model/protection.js";
import { Batch } from "../tables/batch.js";
import { type Columns, checkColumns } from "../tables/columns.js";
import { Engine } from "../tables/engine.js";
import {
  cacheHandle,
  type LeafShareOptions,
  MAP,
  type MapOptions,
  mapFlags,
  SHARE,
  shareFlags,
} from "../tables/options.js";
import type { Stage2Table } from "../tables/stage2.js";
import { Table } from "../tables/table.js";
import type { Burial } from "../tables/walkers.js";
import { capabilities } from "./capabilities.js";
import { startCooperative } from "./cooperative.js";
import type { CreateWorker } from "./kinds.js";
import type { Gate, Reply, Step } from "./protocol.js";
import { startThread, type Thread } from "./thread.js";

/** How to make a pool. */
export interface PoolOptions {
  /** Workers. Default: as many as the engine has walkers left, but no more than the machine has cores. */
  size?: number;
  /** `"threads"`, `"cooperative"` (this thread, a piece at a time), or `"auto"` (default): threads where there are some. */
  mode?: "auto" | "threads" | "cooperative";
  /**
   * Makes a worker that runs `granule/worker`, where a bundler or a content security policy hides the package's own way. It is
   * asked once for each worker, and only where there are threads. The pool ends the worker.
   */
  createWorker?: CreateWorker;
}

/** How a job runs. */
export interface JobOptions {
  /** Ends the job between two pieces; the promise rejects with the signal's reason. */
  signal?: Signal;
  /** Rows done so far, told after every piece of some thousand. */
  onProgress?: (done: number) => void;
  /** Which worker, 0..size-1. Default: the first that is free. */
  worker?: number;
  /** @internal Jobs that begin together. */
  gate?: Gate;
}

const POOL: OptionKinds<PoolOptions> = { size: "number", mode: "any", createWorker: "function" };
const JOB: OptionKinds<JobOptions> = { signal: "object", onProgress: "function", worker: "number", gate: "object" };

/** When a job ran: milliseconds since 1970, on a clock that all threads share. */
export interface JobReport {
  /** When a worker took it up. */
  started: number;
  /** When its last piece was done. */
  ended: number;
}

type Finished = Extract<Reply, { type: "done" }>;

interface Job {
  id: number;
  steps: Step[];
  options: JobOptions;
  resolve: (reply: Finished) => void;
  reject: (reason: unknown) => void;
}

interface Member {
  walker: number;
  thread: Thread;
  /** Pointer of its abort word. */
  control: number;
  job: Job | undefined;
  alive: boolean;
  /** Is it the walker: has it joined, and not left? */
  joined: boolean;
  /** Hears the next "ready". */
  ready: { resolve: () => void; reject: (reason: unknown) => void } | undefined;
}

const CONTROL_BYTES = 4096;
const WORD = 4;
/** How long a worker may take to load its script and to answer. */
const PATIENCE_MS = 30_000;
const SILENT = `a worker has not answered for ${PATIENCE_MS / 1000} s: does it run granule/worker?`;

/**
 * Workers on one engine's memory, each one of its walkers. Make one with `createPool`. Jobs are batches and columns in that
 * memory: nothing is copied, results are in place when the promise resolves.
 *
 * @example
 * ```ts
 * import { createEngine, createPool } from "granule";
 * using engine = createEngine({ walkers: 2 });
 * using table = engine.createStage2();
 * await using pool = await createPool(engine, { size: 1 });
 * using batch = engine.createBatch(2);
 * batch.map(table, 0x20_0000, 2 << 20, 0x4000_0000, "rw", { shared: true, cache: "own" });
 * batch.wrprotect(table, 0x20_0000, 2 << 20, { shared: true });
 * console.log(await pool.run(batch, { signal: AbortSignal.timeout(10_000) })); // 2
 * ```
 */
export class Pool implements AsyncDisposable {
  /** `"threads"`, or `"cooperative"` where there are none. */
  readonly mode: "threads" | "cooperative";
  readonly #engine: Engine;
  readonly #createWorker: CreateWorker | undefined;
  readonly #members: Member[] = [];
  readonly #queue: Job[] = [];
  readonly #control: number;
  readonly #burials: Burial[] = [];
  /** Walkers that died and are not buried yet, since somebody stood in the way. */
  readonly #unburied = new Set<number>();
  #nextId = 1;
  #closed: Promise<void> | undefined;

  /** Use `createPool`. */
  constructor(engine: Engine, mode: "threads" | "cooperative", createWorker?: CreateWorker) {
    this.mode = mode;
    this.#createWorker = createWorker;
    this.#engine = engine;
    this.#control = engine.takeBlock(CONTROL_BYTES);
  }

  /** @internal Adds a worker as `walker`. */
  async add(walker: number): Promise<void> {
    const index = this.#members.length;
    const events = {
      onReply: (reply: Reply) => this.#heard(index, reply),
      onDeath: (cause: unknown) => this.#died(index, cause),
    };
    const thread = this.mode === "threads" ? await startThread(events, this.#createWorker) : startCooperative(events);
    const control = this.#control + index * WORD;
    const member: Member = { walker, thread, control, job: undefined, alive: true, joined: false, ready: undefined };
    this.#members.push(member);
    const ready = this.#ready(member);
    thread.post({ type: "join", ticket: this.#engine.ticket(walker), control });
    await ready;
    member.joined = true;
    thread.idle(true);
  }

  /** Kept when the worker says that it is ready; rejects when it dies, or says nothing for a while. */
  #ready(member: Member): Promise<void> {
    return new Promise((resolve, reject) => {
      const patience = setTimeout(() => {
        reject(new GranuleError(K.ETIMEDOUT, { operation: "pool", hint: SILENT }));
        member.thread.terminate();
      }, PATIENCE_MS);
      const settle =
        <T>(end: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(patience);
          end(value);
        };
      member.ready = { resolve: settle<void>(resolve), reject: settle(reject) };
    });
  }

  /** Workers that are alive. */
  get size(): number {
    return this.#members.filter(({ alive }) => alive).length;
  }

  /** What workers held that died. */
  get burials(): readonly Burial[] {
    return this.#burials;
  }

  /** Performs the operations of a batch on one worker, as `batch.run` does; how many were performed. */
  async run(batch: Batch, options: JobOptions & { stop?: boolean } = {}): Promise<number> {
    checkOptions("pool.run", options, { ...JOB, stop: "boolean" });
    if (!(batch instanceof Batch))
      throw invalid("pool.run", "the first argument is not a batch: `engine.createBatch` makes one");
    const stop = options.stop !== false;
    const steps: Step[] = [
      { kind: "batch", pointer: batch.pointerIn(this.#engine, "pool.run"), rows: batch.length, stop },
    ];
    const { results } = await this.#post(steps, options);
    const done = results[0] ?? 0;
    this.#engine.check(done, "pool.run");
    return done;
  }

  /**
   * Handles the translation faults of the first `n` rows (of each of several columns) on one worker, as `table.mapColumns` does;
   * shared with other workers and from the worker's own page cache, unless the options say otherwise.
   */
  async mapColumns(
    table: Stage2Table,
    columns: Columns | readonly Columns[],
    n: number,
    prot: ProtLike,
    options: MapOptions & JobOptions = {},
  ): Promise<JobReport> {
    this.#checkTable(table, "pool.mapColumns");
    checkOptions("pool.mapColumns", options, { ...JOB, ...MAP });
    const share = { shared: true, ...options };
    return this.#rows("pool.mapColumns", columns, n, options, (pointers) => ({
      kind: "map",
      table: table.handle,
      ...pointers,
      prot: toProt(prot),
      cache: cacheHandle(options.cache === undefined ? "own" : options.cache, this.#engine, "pool.mapColumns"),
      flags: mapFlags(share),
    }));
  }

  /** Handles the permission faults of the first `n` rows on one worker, as `table.relaxColumns` does; shared unless told otherwise. */
  async relaxColumns(
    table: Stage2Table,
    columns: Columns | readonly Columns[],
    n: number,
    prot: ProtLike,
    options: LeafShareOptions & JobOptions = {},
  ): Promise<JobReport> {
    this.#checkTable(table, "pool.relaxColumns");
    checkOptions("pool.relaxColumns", options, { ...JOB, ...SHARE });
    const flags = shareFlags({ shared: !options.lockFree, ...options });
    return this.#rows("pool.relaxColumns", columns, n, options, (pointers) => ({
      kind: "relax",
      table: table.handle,
      ...pointers,
      prot: toProt(prot),
      flags,
    }));
  }

  /** Looks up the leaves of the first `n` addresses on one worker, as `table.leafColumns` does. */
  async leafColumns(
    table: Table,
    columns: Columns | readonly Columns[],
    n: number,
    options: JobOptions = {},
  ): Promise<JobReport> {
    this.#checkTable(table, "pool.leafColumns");
    checkOptions("pool.leafColumns", options, JOB);
    return this.#rows("pool.leafColumns", columns, n, options, (pointers) => ({
      kind: "leaves",
      table: table.handle,
      ...pointers,
    }));
  }

  #checkTable(table: Table, operation: string): void {
    if (!(table instanceof Table)) throw invalid(operation, "the first argument is not a table");
    this.#engine.assertSame(table.engine, operation, "table");
  }

  async #rows(
    operation: string,
    columns: Columns | readonly Columns[],
    n: number,
    options: JobOptions,
    step: (pointers: { addresses: number; values: number; statuses: number; rows: number }) => Step,
  ): Promise<JobReport> {
    const pieces = Array.isArray(columns) ? (columns as readonly Columns[]) : [columns as Columns];
    for (const piece of pieces) checkColumns(operation, piece);
    const steps = pieces.map((piece) => step({ ...piece.pointers(this.#engine, operation, n), rows: n }));
    const { results, started, ended } = await this.#post(steps, options);
    pieces.forEach((piece, i) => {
      piece.run(this.#engine, operation, n, () => results[i] ?? 0); // throws where one was stopped
    });
    return { started, ended };
  }

  #post(steps: Step[], options: JobOptions): Promise<Finished> {
    this.#engine.assertOpen("pool");
    if (this.#closed || this.size === 0) throw invalid("pool", "it is closed, or all its workers died");
    const { worker, signal } = options;
    if (worker !== undefined && !this.#members[worker]?.alive) throw invalid("pool", `there is no worker ${worker}`);
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const job: Job = { id: this.#nextId++, steps, options, resolve, reject };
      signal?.addEventListener("abort", () => this.#abort(job), { once: true });
      this.#queue.push(job);
      this.#dispatch();
    });
  }

  /** Hands jobs to workers that have none. */
  #dispatch(): void {
    for (const member of this.#members) {
      if (!member.alive || member.job) continue;
      const index = this.#members.indexOf(member);
      const at = this.#queue.findIndex(({ options: { worker } }) => worker === undefined || worker === index);
      const [job] = at < 0 ? [] : this.#queue.splice(at, 1);
      if (!job) continue;
      member.job = job;
      member.thread.idle(false);
      member.thread.post({
        type: "job",
        id: job.id,
        steps: job.steps,
        progress: job.options.onProgress !== undefined,
        gate: job.options.gate,
      });
    }
  }

  #abort(job: Job): void {
    const queued = this.#queue.indexOf(job);
    if (queued >= 0) {
      this.#queue.splice(queued, 1);
      job.reject(job.options.signal?.reason);
      return;
    }
    const member = this.#members.find((m) => m.job === job);
    if (member && !this.#engine.closed) Atomics.store(this.#engine.u32, member.control / WORD, job.id);
  }

  #heard(index: number, reply: Reply): void {
    const member = this.#members[index] as Member;
    if (reply.type === "ready") {
      member.ready?.resolve();
      return;
    }
    const { job } = member;
    if (!job || job.id !== reply.id) return;
    if (reply.type === "progress") {
      job.options.onProgress?.(reply.done);
      return;
    }
    member.job = undefined;
    member.thread.idle(true);
    this.#dispatch();
    if (reply.type === "done") job.resolve(reply);
    else if (reply.type === "aborted") job.reject(job.options.signal?.reason);
    else job.reject(failure(reply));
  }

  /** A worker has ended: its job fails, what it held is released, and the others continue. */
  #died(index: number, cause: unknown): void {
    const member = this.#members[index];
    if (!member?.alive) return;
    member.alive = false;
    const { job } = member;
    member.job = undefined;
    // A worker that never joined is nobody's walker: somebody else may be it.
    if (member.joined) this.#unburied.add(member.walker);
    this.#buryAll();
    member.ready?.reject(cause);
    job?.reject(new GranuleError(K.ETIMEDOUT, { operation: "pool", cause, hint: `its worker died: ${String(cause)}` }));
    const orphans = this.#queue.filter(({ options: { worker } }) => this.size === 0 || worker === index);
    for (const orphan of orphans) {
      this.#queue.splice(this.#queue.indexOf(orphan), 1);
      orphan.reject(invalid("pool", "the worker that was to do it died"));
    }
    this.#dispatch();
  }

  /** Buries who can be buried now; the first error of those who cannot. They are tried again at the next death, and at the end. */
  #buryAll(): unknown {
    let first: unknown;
    for (const walker of this.#engine.closed ? [] : this.#unburied) {
      try {
        this.#burials.push(this.#engine.bury(walker));
        this.#unburied.delete(walker);
      } catch (error) {
        first ??= error;
      }
    }
    return first;
  }

  /** Stops a worker where it is, as a crash would: for tests of what becomes of the rest. */
  kill(worker: number): void {
    const member = this.#members[worker];
    if (!member?.alive) throw invalid("pool.kill", `there is no worker ${worker}`);
    member.thread.terminate();
  }

  /**
   * Waits for the jobs that run, rejects those that wait, and lets the workers go; from the call on no job is taken. Twice is
   * harmless. Rejects when a worker that died cannot be buried, after everything else: `engine.bury` says why.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    for (const job of this.#queue.splice(0)) job.reject(invalid("pool", "it was closed"));
    const running = this.#members.flatMap(({ job }) => (job ? [job] : []));
    await Promise.all(running.map((job) => settled(job)));
    await Promise.all(this.#members.map((member) => this.#dismiss(member)));
    const unburied = this.#buryAll();
    if (!this.#engine.closed) this.#engine.giveBlock(this.#control);
    if (unburied) throw unburied;
  }

  /** Lets one worker go; one that dies on the way out is buried as any other. */
  async #dismiss(member: Member): Promise<void> {
    if (!member.alive) return;
    const left = this.#ready(member);
    member.thread.idle(false);
    member.thread.post({ type: "leave" });
    try {
      await left;
    } catch {
      return;
    }
    member.joined = false;
    member.alive = false;
    member.thread.terminate();
  }

  /** The same as {@link close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A promise that is kept when `job` ends, however it ends. */
function settled(job: Job): Promise<void> {
  return new Promise((done) => {
    const { resolve, reject } = job;
    job.resolve = (reply) => {
      resolve(reply);
      done();
    };
    job.reject = (reason) => {
      reject(reason);
      done();
    };
  });
}

function failure(reply: Extract<Reply, { type: "failed" }>): Error {
  const hint = `in a worker: ${reply.message}`;
  return reply.errno === undefined ? new Error(hint) : new GranuleError(reply.errno, { operation: "pool", hint });
}

/**
 * A pool of workers on `engine`, which must have been made with at least one walker more than workers (`walkers: size + 1`).
 * In Node the workers are worker_threads, in browsers module workers, which need a cross-origin isolated page; elsewhere a
 * cooperative pool does the same jobs on this thread. `capabilities().reason` says why. EINVAL for a size that does not fit,
 * threads that are not there, and a worker that does not start; ETIMEDOUT for one that does not answer.
 *
 * @example
 * ```ts
 * import { createEngine, createPool } from "granule";
 * using engine = createEngine({ walkers: 3 });
 * using table = engine.createStage2({ ipaBits: 40 });
 * await using pool = await createPool(engine, { size: 2 });
 * // Two vCPUs fault on every other page of the same 16 MiB, at the same time.
 * const faults = [0, 1].map((vcpu) => {
 *   const columns = engine.createColumns(2048);
 *   for (let i = 0; i < 2048; i++) {
 *     columns.addresses[i] = BigInt(2 * i + vcpu) << 12n;
 *     columns.values[i] = 0x4000_0000n + (BigInt(2 * i + vcpu) << 12n);
 *   }
 *   return columns;
 * });
 * const jobs = faults.map((columns, worker) => pool.mapColumns(table, columns, 2048, "rw", { worker }));
 * await Promise.all(jobs);
 * const again = faults.flatMap(({ statuses }) => [...statuses].filter((status) => status === -11));
 * console.log(table.countLeaves() + again.length); // 4096: who lost the race for a new table will fault again
 * ```
 */
export async function createPool(engine: Engine, options: PoolOptions = {}): Promise<Pool> {
  const { mode = "auto", createWorker } = checkOptions("createPool", options, POOL);
  checkChoice("createPool", "mode", mode, ["auto", "threads", "cooperative"]);
  if (createWorker !== undefined) checkFunction("createPool", "createWorker", createWorker);
  if (!(engine instanceof Engine)) throw invalid("createPool", "the first argument is not an engine");
  const { threads, reason, cores } = capabilities();
  const spare = engine.walkers().filter(({ attached }) => !attached);
  const size = options.size ?? Math.max(1, Math.min(spare.length, cores));
  if (!Number.isInteger(size) || size < 1 || size > spare.length) {
    throw invalid(
      "createPool",
      `${size} workers: the engine has ${spare.length} walkers to spare (createEngine({ walkers }))`,
    );
  }
  if (mode === "threads" && !threads) throw invalid("createPool", `no threads: ${reason}`);
  const pool = new Pool(engine, threads && mode !== "cooperative" ? "threads" : "cooperative", createWorker);
  try {
    for (const { id } of spare.slice(0, size)) await pool.add(id);
  } catch (error) {
    await pool.close();
    throw error instanceof GranuleError ? error : didNotStart(error);
  }
  return pool;
}

function didNotStart(cause: unknown): GranuleError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const hint = `a worker did not start: ${why}. Bundled code may need createWorker: docs/parallel.md of the package, "Bundlers"`;
  return new GranuleError(K.EINVAL, { operation: "createPool", hint, cause });
}
