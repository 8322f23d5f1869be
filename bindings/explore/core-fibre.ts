// A walker of the real core: an instance of the explore build whose stack is put aside in memory where others may come in.

import { BLOCK_BYTES, type Fibre, SEEN, STACK_AT, type World } from "./world.js";

/** What the explore build exports beside its own functions. */
export interface Explored {
  asyncify_start_unwind(data: number): void;
  asyncify_stop_unwind(): void;
  asyncify_start_rewind(data: number): void;
  asyncify_stop_rewind(): void;
  observe(dirty: number, meeting: number, met: number, touched: number, id: number): void;
  setMode(mode: number): void;
  setFlaw(n: number): void;
}

/** One call of the core: `run` calls it, `result` reads what it answered. */
export interface CoreCall {
  run(): number;
  result?(status: number): number | readonly number[];
}

/** Where the stack goes: two words, its end and its limit, before it. */
const STACK_WORDS = 8;

export class CoreFibre implements Fibre {
  readonly #world: World;
  readonly #id: number;
  readonly #data: number;
  #exports!: Explored;
  #program: readonly ((results: readonly number[]) => CoreCall)[] = [];
  #unwinding = false;
  #rewinding = false;
  /** End of the longest stack so far: behind each stack, memory is zero up to here. */
  high: number;

  constructor(world: World, id: number) {
    this.#world = world;
    this.#id = id;
    this.#data = world.block(id) + STACK_AT;
    this.high = this.#data + STACK_WORDS;
  }

  /** The functions that the instance imports from "explore". */
  get host(): {
    access(site: number, p: number, expected: number): void;
    pass(site: number, p: number, n: number): void;
  } {
    return {
      access: (site, p, expected) => this.#access(site, p >>> 0, expected),
      pass: (site, p, n) => this.#world.see(this.#id, site, p >>> 0, n || this.#world.siteAt(site).bytes, false),
    };
  }

  /** Gives it the instance that imports `host`. */
  attach(exports: Explored): void {
    const { dirty, meeting, met, touched } = this.#world.room;
    this.#exports = exports;
    exports.observe(dirty, meeting, met, touched, this.#id);
  }

  get exports(): Explored {
    return this.#exports;
  }

  set program(program: readonly ((results: readonly number[]) => CoreCall)[]) {
    this.#program = program;
  }

  get operations(): number {
    return this.#program.length;
  }

  setMode(mode: number): void {
    this.#exports.setMode(mode);
  }

  #access(site: number, p: number, expected: number): void {
    const world = this.#world;
    if (this.#rewinding) {
      this.#exports.asyncify_stop_rewind();
      this.#rewinding = false;
      if (world.mode & SEEN) world.see(this.#id, site, p, world.siteAt(site).bytes, true);
      return;
    }
    world.suspend(this.#id, site, p, expected);
    const at = this.#data >> 2,
      limit = at + 1;
    world.words[at] = this.#data + STACK_WORDS;
    world.words[limit] = world.block(this.#id) + BLOCK_BYTES;
    this.#unwinding = true;
    this.#exports.asyncify_start_unwind(this.#data);
  }

  begin(n: number): boolean {
    return this.#run(n);
  }

  resume(): boolean {
    this.#rewinding = true;
    this.#exports.asyncify_start_rewind(this.#data);
    return this.#run(this.#world.operation(this.#id));
  }

  #run(n: number): boolean {
    const call = this.#program[n]?.(this.#world.results(this.#id)) as CoreCall;
    const status = call.run();
    if (this.#unwinding) {
      this.#unwinding = false;
      this.#exports.asyncify_stop_unwind();
      this.#clear(this.#world.words[this.#data >> 2] as number);
      return false;
    }
    const result = call.result?.(status) ?? status;
    if (typeof result === "number") this.#world.pushResult(this.#id, result);
    else for (const one of result) this.#world.pushResult(this.#id, one);
    this.#clear(this.#data);
    return true;
  }

  /** What earlier stacks left behind `end` is no part of the state. */
  #clear(end: number): void {
    const { words } = this.#world;
    if (end > this.high) this.high = end;
    else words.fill(0, end >> 2, this.high >> 2);
    this.#touch();
  }

  #touch(): void {
    const { dirty } = this.#world;
    for (let chunk = this.#data >>> 8; chunk <= (this.high - 1) >>> 8; chunk++) dirty[chunk] = 1;
  }

  /** After an error in the middle of a step: the next one begins afresh. The stack was taken down as far as the step came. */
  reset(): void {
    this.#rewinding = false;
    this.#unwinding = false;
    this.#touch();
  }
}
