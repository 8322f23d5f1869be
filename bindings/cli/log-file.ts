import { gzipSync } from "node:zlib";
import { createEngine } from "../index.js";
import type { Engine } from "../tables/engine.js";
import type { EngineOptions } from "../tables/layout.js";
import { CasemateWriter } from "../trace/index.js";
import { InputError } from "./command.js";
import { PartFile } from "./part-file.js";

/** Twice what gathers between two looks at it: half of it, and the records of one table page of 64 KiB. */
const JOURNAL_RECORDS = 1 << 17;
/** Text that is packed and written together; a log of one piece is a single gzip member. */
const PIECE_CHARACTERS = 8 << 20;

/** A gzipped text file that takes its place only when it is complete. */
class PackedFile {
  readonly #file: PartFile;
  #text = "";

  constructor(path: string) {
    this.#file = new PartFile(path);
  }

  get path(): string {
    return this.#file.path;
  }

  line(text: string): void {
    this.#text += `${text}\n`;
    if (this.#text.length >= PIECE_CHARACTERS) this.#flush();
  }

  #flush(): void {
    this.#file.write(gzipSync(this.#text));
    this.#text = "";
  }

  /** Puts the complete file in its place. */
  finish(): void {
    this.#flush();
    this.#file.finish();
  }

  /** Leaves nothing behind of a file that was not finished. */
  abandon(): void {
    this.#file.abandon();
  }
}

/**
 * A casemate log of what an engine's walkers do, written while they do it: its engine has the whole journal on, and
 * `catchUp` is called at every table that a walk descends to.
 */
export class WalkerLog {
  readonly #file: PackedFile;
  readonly #writer: CasemateWriter = new CasemateWriter();
  #engine: Engine | undefined;
  #read = 0;

  constructor(path: string) {
    this.#file = new PackedFile(path);
  }

  readonly createEngine = (options: EngineOptions): Engine => {
    const engine = createEngine({ ...options, journalRecords: JOURNAL_RECORDS });
    engine.journal.start();
    this.#engine = engine;
    return engine;
  };

  /** Writes what was recorded, if enough of it has gathered; between two calls there is far less than the journal holds. */
  readonly catchUp = (): void => {
    const { journal } = this.#engine as Engine;
    if (journal.total - this.#read >= JOURNAL_RECORDS / 2) this.#write();
  };

  /** Writes what the operation recorded that is now over. */
  readonly afterEach = (): void => {
    this.#write();
    this.#engine?.journal.clear();
    this.#read = 0;
  };

  #write(): void {
    const { journal } = this.#engine as Engine;
    const { total } = journal;
    if (total - this.#read > JOURNAL_RECORDS) {
      throw new InputError(`${this.#file.path}: an operation makes more records than a log can take`);
    }
    for (const line of this.#writer.write(journal.read(0, this.#read))) this.#file.line(line);
    this.#read = total;
  }

  finish(): void {
    this.#file.finish();
  }

  abandon(): void {
    this.#file.abandon();
  }
}
