// Runs the tests of a room against what stands in the workplace, in a process that can be ended.

import { fork } from "node:child_process";
import { constants, setPriority } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { filesIn, stagesOf } from "./rooms.mjs";

/** A file may take this many times what it takes without a mutant. */
const PATIENCE = 8;
const GRACE_SECONDS = 10;
const FIRST_TIME_SECONDS = 300;
/** A process that has just started reads and transforms everything before its first file. */
const COLD_SECONDS = 60;

const fileOf = (failure) => failure.split(":")[0];

export class Tests {
  #folder;
  #only;
  #quick;
  #runner;
  #isCold = true;
  #stages = new Map();
  /** Mutants that a test file killed: `test`, and of one source file `source test`. */
  #kills = new Map();
  /** `only`: files and folders that run in place of the room's stages; `quick`: only the first of these. */
  constructor(folder, { only, quick = false }) {
    this.#folder = folder;
    this.#only = only;
    this.#quick = quick;
  }

  async #start() {
    const runner = fork(fileURLToPath(new URL("runner.mjs", import.meta.url)), [this.#folder], {
      cwd: this.#folder,
      // What a test or vitest leaves there, when it is ended, goes with the workplace. GRANULE_MUTANT: test/vm/flawed.ts.
      env: { ...process.env, TMPDIR: join(this.#folder, "tmp"), GRANULE_MUTANT: "1" },
      detached: true, // a group of its own: ended with all its children
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    setPriority(runner.pid, constants.priority.PRIORITY_BELOW_NORMAL);
    this.#runner = runner;
    this.#isCold = true;
    await new Promise((resolve, reject) => {
      runner.once("message", resolve);
      runner.once("exit", () => reject(new Error("the test runner did not start")));
    });
    runner.removeAllListeners("exit");
  }

  /** Ends the runner and whatever it started. */
  end() {
    if (!this.#runner) return;
    try {
      process.kill(-this.#runner.pid, "SIGKILL");
    } catch {
      // it is gone
    }
    this.#runner = undefined;
  }

  /**
   * One run of files of a stage: what failed first, and whether that may be the machine's doing (`slow`): a file that took longer than
   * it may, and was ended; a test whose own time was up; a runner that died.
   */
  async #run({ runs, seconds }, files, limitOf) {
    if (!this.#runner) await this.#start();
    const runner = this.#runner;
    const left = new Set(files);
    return new Promise((resolve) => {
      let timer;
      const finish = (outcome) => {
        clearTimeout(timer);
        runner.removeAllListeners("message");
        runner.removeAllListeners("exit");
        resolve(outcome);
      };
      const wait = () => {
        clearTimeout(timer);
        const [next] = left;
        timer = setTimeout(
          () => {
            this.end();
            finish({ slow: true, endless: true, failure: `${next}: does not end` });
          },
          1000 * (limitOf(next) + (this.#isCold ? COLD_SECONDS : 0)),
        );
      };
      runner.on("message", ({ done, ended, took }) => {
        if (done) return finish(done);
        this.#isCold = false;
        left.delete(ended);
        if (!seconds.has(ended)) seconds.set(ended, took);
        wait();
      });
      runner.once("exit", () => {
        this.#runner = undefined;
        const [next] = left;
        finish({ slow: true, failure: `${next}: the test runner died` });
      });
      wait();
      runner.send({ files, runs });
    });
  }

  /** Runs a stage without a mutant: it must pass, and the time of each file is the measure of later runs. */
  async #prepare(stage) {
    const { failure, tests } = await this.#run(stage, stage.files, () => FIRST_TIME_SECONDS);
    if (failure || tests === 0) throw new Error(`without a mutant: ${failure ?? "there are no tests"}`);
    stage.ready = true;
  }

  #stagesOf(room) {
    const known = this.#stages.get(room);
    if (known) return known;
    const all = this.#only ? [{ files: filesIn(this.#folder, this.#only), runs: "" }] : stagesOf(this.#folder, room);
    // `seconds`: what a file takes without a mutant.
    const stages = all
      .slice(0, this.#quick ? 1 : all.length)
      .map((stage) => ({ ...stage, seconds: new Map(), ready: false }));
    this.#stages.set(room, stages);
    return stages;
  }

  /** Who kills soonest comes first: by the kills so far, those of the mutant's own file above all, and the time it takes. */
  #sort({ files, seconds }, source) {
    const kills = (key) => this.#kills.get(key) ?? 0;
    const hope = (file) => (1 + kills(file) + 5 * kills(`${source} ${file}`)) / (0.1 + (seconds.get(file) ?? 0));
    files.sort((a, b) => hope(b) - hope(a));
  }

  #count(source, failure) {
    const file = fileOf(failure);
    for (const key of [file, `${source} ${file}`]) this.#kills.set(key, (this.#kills.get(key) ?? 0) + 1);
  }

  #limitOf({ seconds }, file) {
    return GRACE_SECONDS + PATIENCE * (seconds.get(file) ?? 0);
  }

  /**
   * Runs a stage against a mutant. A failure that may be the machine's doing counts only if it comes twice: in between, the file runs
   * without the mutant, which says how much time it takes now. If it fails then, too, nothing is known of the mutant.
   */
  async #judgeStage(stage, mutant) {
    this.#sort(stage, mutant.file);
    const limitOf = (file) => this.#limitOf(stage, file);
    const result = await this.#run(stage, stage.files, limitOf);
    if (!result.slow) return result;
    const file = fileOf(result.failure);
    stage.seconds.delete(file);
    mutant.restore();
    const { failure } = await this.#run(stage, [file], () => FIRST_TIME_SECONDS);
    mutant.put();
    if (failure) return { undecided: true, failure };
    const others = stage.files.filter((other) => other !== file);
    return this.#run(stage, [file, ...others], limitOf);
  }

  /**
   * Runs the stages of a room until a test fails.
   * @param {string} room
   * @param {{ file: string, put: () => void, restore: () => void }} mutant of a file of the core: brings it into the
   * workplace, and takes it out again
   * @returns {Promise<{ outcome: "killed" | "timeout" | "survived" | "undecided", by?: string }>}
   */
  async judge(room, mutant) {
    for (const stage of this.#stagesOf(room)) {
      if (!stage.ready) {
        mutant.restore();
        await this.#prepare(stage);
        mutant.put();
      }
      const { failure, endless, undecided } = await this.#judgeStage(stage, mutant);
      if (!failure) continue;
      if (undecided) return { outcome: "undecided", by: failure };
      this.#count(mutant.file, failure);
      return { outcome: endless ? "timeout" : "killed", by: failure };
    }
    return { outcome: "survived" };
  }
}
