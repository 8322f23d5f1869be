import { plural } from "../report/text.js";

/** Differences printed in text. */
const PRINTED = 20;
/** Characters of JSON that a run keeps: a document must fit into one string, and a hostile input has no end of differences. */
const KEPT_CHARACTERS = 64 << 20;

/** A place in a list of differences, to go back to. */
export interface Mark {
  readonly total: number;
  readonly kept: number;
  readonly characters: number;
}

/** The differences that a command found: all are counted, and as many are kept as a document can hold. */
export class Differences<T extends object> {
  readonly kept: T[] = [];
  #total = 0;
  #characters = 0;

  add(found: readonly T[]): void {
    for (const difference of found) {
      this.#total++;
      if (this.#characters > KEPT_CHARACTERS) continue;
      this.#characters += JSON.stringify(difference).length;
      if (this.#characters <= KEPT_CHARACTERS) this.kept.push(difference);
    }
  }

  get total(): number {
    return this.#total;
  }

  mark(): Mark {
    return { total: this.#total, kept: this.kept.length, characters: this.#characters };
  }

  /** Forgets what came after the mark. */
  reset({ total, kept, characters }: Mark): void {
    this.#total = total;
    this.kept.length = kept;
    this.#characters = characters;
  }

  /** The first ones as text, and how many more there are. */
  text(format: (difference: T) => string): string {
    const shown = this.kept.slice(0, PRINTED).map(format);
    const hidden = this.#total - shown.length;
    if (hidden > 0) shown.push(`... and ${plural(hidden, "more difference")} (--json lists them)\n`);
    return shown.join("");
  }
}
