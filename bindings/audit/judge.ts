import { ViolationView } from "../core/audit-views.generated.js";
import { checkOptions, describe, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { type AuditCore, type CoreSource, compile, instantiateModule } from "../core/core.js";
import { GranuleError, invalid } from "../core/errors.js";
import { JournalRecordView } from "../core/record-views.generated.js";
import { Words } from "../core/view.js";
import type { Engine } from "../tables/engine.js";
import { CasemateParser } from "../trace/casemate.js";
import { readViolation, type Violation } from "./violation.js";
import { Watch } from "./watch.js";

/** What a judge may assume. */
export interface JudgeOptions {
  /**
   * CPUs of the machine, 1..64. Only where it is given can a translation be flushed by every CPU for itself; a
   * local TLBI alone is never enough otherwise.
   */
  cpus?: number;
  /** Memory of one VM is no other's: two stage-2 tables that map it, one of them writable, are a violation. Default false. */
  exclusive?: boolean;
  /** Pages must be set up by a record before they are written or linked. Default false. */
  knownPages?: boolean;
  /** An access flag that is cleared and never flushed is a violation at the end. Default false: the kernel does not flush. */
  age?: boolean;
  /** Level of FEAT_BBM that the CPUs have: 1 lets a block with nT change its size without a break, 2 any block. Default 0. */
  bbm?: 0 | 1 | 2;
  /** Most bytes that the judge may use. Default 1 GiB. */
  maxBytes?: number;
}

const OPTIONS: OptionKinds<JudgeOptions> = {
  cpus: "number",
  exclusive: "boolean",
  knownPages: "boolean",
  age: "boolean",
  bbm: "number",
  maxBytes: "number",
};

/** What `finish` says. */
export interface Verdict {
  /** `"violation"` when a rule was broken. */
  verdict: "ok" | "violation";
  /** The first 256 violations. */
  violations: Violation[];
  /** All of them, counted. */
  count: number;
  /** Records judged. */
  records: number;
  /** Translations that were still to be flushed when it ended. */
  open: number;
}

const WASM_PAGE = 65536;
const INITIAL_PAGES = 64;
const MAX_PAGES = 65536;
const RECORD_WORDS = JournalRecordView.BYTES / 4;
const DEFAULT_BYTES = 1 << 30;

function optionBits(o: JudgeOptions): number {
  const flags = (o.exclusive ? K.O_EXCLUSIVE : 0) | (o.knownPages ? K.O_KNOWN_PAGES : 0) | (o.age ? K.O_AGE : 0);
  return flags | ((o.bbm ?? 0) << K.O_BBM_SHIFT);
}

/**
 * A judge of descriptor writes, barriers and TLBIs: break-before-make and what belongs to it, record by record.
 * Make one with `createJudge`. It has a memory of its own and sees an engine through its journal only.
 *
 * @example
 * ```ts
 * import { CASEMATE_OPTIONS, createJudge } from "granule/audit";
 * const judge = createJudge(CASEMATE_OPTIONS);
 * const log = judge.casemate();
 * log.push(new TextEncoder().encode('(mem-write (id 0) (tid 0) plain 0x1000 0x1 (src "a.c:1"))'));
 * log.end();
 * console.log(judge.finish().verdict, judge.records); // violation 1
 * ```
 */
export class Judge {
  readonly #core: AuditCore;
  readonly #memory: WebAssembly.Memory;
  readonly #options: JudgeOptions;
  readonly #maxPages: number;
  #words: Words;
  #records = 0;
  #spent = false;

  /** Use `createJudge`. */
  constructor(source: CoreSource, options: JudgeOptions = {}) {
    const { cpus = K.MAX_CPUS, bbm } = checkOptions("createJudge", options, OPTIONS);
    if (!Number.isInteger(cpus) || cpus < 1 || cpus > K.MAX_CPUS)
      throw invalid("createJudge", `cpus is ${describe(cpus)}: 1..${K.MAX_CPUS}`);
    if (![0, 1, 2, undefined].includes(bbm)) throw invalid("createJudge", `bbm is ${describe(bbm)}: 0, 1 or 2`);
    this.#options = options;
    this.#maxPages = Math.min(
      MAX_PAGES,
      Math.max(INITIAL_PAGES, Math.ceil((options.maxBytes ?? DEFAULT_BYTES) / WASM_PAGE)),
    );
    this.#memory = new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: this.#maxPages, shared: true });
    // Debug builds, which the tests use, check the preconditions of the core's functions.
    const demand = (rule: number): never => {
      throw new Error(`the judge broke its rule ${rule}`);
    };
    this.#core = instantiateModule<AuditCore>(compile(source, "createJudge"), this.#memory, "violationCount", {
      demand,
    });
    this.#words = new Words(this.#memory.buffer);
    this.reset();
  }

  /** Forgets everything, as if new. */
  reset(): void {
    this.#core.initialise(optionBits(this.#options), this.#options.cpus ?? K.MAX_CPUS);
    this.#records = 0;
    this.#spent = false;
  }

  /** Records judged so far. */
  get records(): number {
    return this.#records;
  }

  /** Violations so far, counted; `violations` has the first 256. */
  get count(): number {
    return this.#core.violationCount();
  }

  /** Is its memory spent? Then the records since are not judged. */
  get spent(): boolean {
    return this.#spent;
  }

  /** Bytes in use. */
  get bytes(): number {
    return this.#core.used() >>> 0;
  }

  /** The violations, in order; the first 256. */
  violations(): Violation[] {
    const n = Math.min(this.count, K.MAX_VIOLATIONS);
    const first = this.#core.violationPointer() >>> 0;
    this.#view();
    const view = new ViolationView(this.#words);
    return Array.from({ length: n }, (_, i) => {
      view.at = first + i * K.VIOLATION_BYTES;
      return readViolation(view);
    });
  }

  #view(): void {
    if (this.#words.u32.buffer !== this.#memory.buffer) this.#words = new Words(this.#memory.buffer);
  }

  /** Judges `n` records of 12 words each: journal records of an engine, or what a parser of logs gives. */
  feed(words: Uint32Array, n: number = words.length / RECORD_WORDS): void {
    const input = (this.#core.inputPointer() >>> 0) / 4;
    for (let done = 0; done < n && !this.#spent; ) {
      const batch = Math.min(n - done, K.INPUT_RECORDS);
      this.#words.u32.set(words.subarray(done * RECORD_WORDS, (done + batch) * RECORD_WORDS), input);
      const judged = this.#core.judge(batch) >>> 0;
      done += judged;
      this.#records += judged;
      if (judged < batch) this.#grow();
    }
  }

  /** A quarter more memory; none is left: the judge is spent. */
  #grow(): void {
    const now = this.#memory.buffer.byteLength / WASM_PAGE;
    const more = Math.min(Math.max(64, now >>> 2), this.#maxPages - now);
    if (more > 0) {
      try {
        this.#memory.grow(more);
        this.#view();
        return;
      } catch {
        // the machine has no more either
      }
    }
    this.#spent = true;
  }

  /** A parser that judges a casemate log as it comes: `push` its pieces, `end` it, then ask for the verdict. */
  casemate(): CasemateParser {
    return new CasemateParser((words, n) => this.feed(words, n));
  }

  /**
   * Follows an engine: its journal is started, and each `drain` judges what came since. Tables that are there
   * already are read as they are.
   */
  watch(engine: Engine): Watch {
    return new Watch(this, engine);
  }

  /**
   * The end: whatever was never flushed is a violation too. ENOMEM if the judge's memory was spent: then there is no verdict.
   */
  finish(): Verdict {
    if (this.#spent) {
      throw new GranuleError(K.ENOMEM, {
        operation: "finish",
        hint: `the judge's memory is spent after ${this.#records} records (raise maxBytes)`,
      });
    }
    const open = this.#core.finish() >>> 0;
    const { count } = this;
    return {
      verdict: count === 0 ? "ok" : "violation",
      violations: this.violations(),
      count,
      records: this.#records,
      open,
    };
  }
}
