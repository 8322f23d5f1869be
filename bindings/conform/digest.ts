// What an operation did, in the form of docs/formats/operations.md: a list while it is short, counts and a hash beyond.

/** One event or visit in the spelling of that page: name, address, size or level. */
export type Event = (string | number)[];

/** A SHA-256 that takes its bytes in pieces, as `createHash("sha256")` of node:crypto does. */
export interface Hash {
  update(data: string | Uint8Array): unknown;
  digest(encoding: "hex"): string;
}

/** Text that is gathered before it is hashed. */
const PIECE = 1 << 16;

/** An event's JSON and a line end. No string in it needs an escape, and files have millions of events. */
function compactJson(event: Event): string {
  let text = "[";
  for (const item of event) text += typeof item === "string" ? `"${item}",` : `${item},`;
  return `${text.slice(0, -1)}]\n`;
}

/** Takes events one by one and keeps none of them beyond `max`: an operation may make millions. */
export class EventDigest {
  readonly #max: number;
  readonly #createHash: () => Hash;
  readonly #first: Event[] = [];
  readonly #counts: Record<string, number> = {};
  #total = 0;
  #hash: Hash | undefined;
  #text = "";

  constructor(max: number, createHash: () => Hash) {
    this.#max = max;
    this.#createHash = createHash;
  }

  /** Events so far. */
  get total(): number {
    return this.#total;
  }

  add(event: Event): void {
    this.#total++;
    const name = String(event[0]);
    this.#counts[name] = (this.#counts[name] ?? 0) + 1;
    if (this.#total <= this.#max) {
      this.#first.push(event);
      return;
    }
    if (this.#hash === undefined) {
      this.#hash = this.#createHash();
      this.#text = this.#first.map(compactJson).join("");
    }
    this.#text += compactJson(event);
    if (this.#text.length < PIECE) return;
    this.#hash.update(this.#text);
    this.#text = "";
  }

  /** The list, or what stands for it. Nothing may be added after it. */
  result(what: "events" | "visits"): unknown {
    if (this.#hash === undefined) return this.#first;
    this.#hash.update(this.#text);
    const sha256 = this.#hash.digest("hex");
    return what === "visits" ? { count: this.#total, sha256 } : { counts: this.#counts, sha256 };
  }
}
