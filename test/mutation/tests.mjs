// Runs the tests of a room against what stands in the workplace, in a process that can be ended.

import { fork } from "node:child_process";
import { constants, setPriority } from "node:os";
import { fileURLToPath } from "node:url";
import { filesIn, stagesOf } from "./rooms.mjs";

/** A file may take this many times what it takes without a mutant, and the machine may be busy. */
const PATIENCE = 8;
const GRACE_SECONDS = 10;
const FIRST_TIME_SECONDS = 300;

export class Tests {
  #folder;
  #only;
  #runner;
  #stages = new Map();
  #kills = new Map();
  #seconds = new Map();

  /** `only`: files and folders that run in place of the room's stages. */
  constructor(folder, only) {
    this.#folder = folder;
    this.#only = only;
  }

  async #start() {
    const runner = fork(fileURLToPath(new URL("runner.mjs", import.meta.url)), [this.#folder], {
      cwd: this.#folder,
      detached: true, // a group of its own: ended with all its children
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      env: { GRANULE_RUNS: "400", ...process.env },
    });
    setPriority(runner.pid, constants.priority.PRIORITY_BELOW_NORMAL);
    this.#runner = runner;
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

  /** One run: what failed first, or that it had to be ended, because a file took longer than it may. */
  async #run(files, limitOf) {
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
        timer = setTimeout(() => {
          this.end();
          finish({ timeout: true, failure: `${next}: does not end` });
        }, 1000 * limitOf(next));
      };
      runner.on("message", ({ done, ended, seconds }) => {
        if (done) return finish(done);
        left.delete(ended);
        if (!this.#seconds.has(ended)) this.#seconds.set(ended, seconds);
        wait();
      });
      runner.once("exit", () => {
        this.#runner = undefined;
        finish({ failure: "the test runner died" });
      });
      wait();
      runner.send({ files });
    });
  }

  /** Runs a stage without a mutant: it must pass, and the time of each file is the measure of later runs. */
  async #prepare(stage) {
    const { failure, tests } = await this.#run(stage.files, () => FIRST_TIME_SECONDS);
    if (failure || tests === 0) throw new Error(`without a mutant: ${failure ?? "there are no tests"}`);
    stage.ready = true;
  }

  #stagesOf(room) {
    const known = this.#stages.get(room);
    if (known) return known;
    const stages = (this.#only ? [filesIn(this.#folder, this.#only)] : stagesOf(this.#folder, room)).map((files) => ({
      files,
      ready: false,
    }));
    this.#stages.set(room, stages);
    return stages;
  }

  /**
   * Runs the stages of a room until a test fails.
   * @param {string} room
   * @param {{ put: () => void, restore: () => void }} mutant brings it into the workplace, and takes it out again
   * @returns {Promise<{ outcome: "killed" | "timeout" | "survived", by?: string }>}
   */
  async judge(room, mutant) {
    for (const stage of this.#stagesOf(room)) {
      if (!stage.ready) {
        mutant.restore();
        await this.#prepare(stage);
        mutant.put();
      }
      const kills = (file) => this.#kills.get(file) ?? 0;
      stage.files.sort((a, b) => kills(b) - kills(a));
      const limitOf = (file) => GRACE_SECONDS + PATIENCE * (this.#seconds.get(file) ?? 0);
      const { failure, timeout } = await this.#run(stage.files, limitOf);
      if (!failure) continue;
      const file = failure.split(":")[0];
      this.#kills.set(file, kills(file) + 1);
      return { outcome: timeout ? "timeout" : "killed", by: failure };
    }
    return { outcome: "survived" };
  }
}
