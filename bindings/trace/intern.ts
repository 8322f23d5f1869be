/** Names kept in a table: far more than a real trace has, and a bound for hostile ones. */
const CAPACITY = 4096;

/** A text as numbers, one for each character. */
export type Codes = Uint8Array | Uint16Array;

/** The codes of a name. */
export function codesOf(name: string): Uint16Array {
  return Uint16Array.from({ length: name.length }, (_, i) => name.charCodeAt(i));
}

interface Node<T> {
  readonly codes: Uint16Array;
  readonly value: T;
  readonly next: Node<T> | undefined;
  /** What was asked for after this the last time: lines of a trace come in turns, so it is what will be asked for next. */
  follower: Node<T> | undefined;
}

/**
 * Finds the value that belongs to a stretch of text without making a substring. The same few names
 * of tasks, events and pointers are on every line, and a substring for each would cost most of the
 * time.
 */
export class Interner<T> {
  readonly #buckets = new Map<number, Node<T>>();
  readonly #make: (text: string) => T;
  #size = 0;
  #last: Node<T> | undefined;

  constructor(make: (text: string) => T) {
    this.#make = make;
  }

  get(text: Codes, start: number, end: number): T {
    const last = this.#last;
    const guess = last?.follower;
    const node = guess !== undefined && matches(text, start, end, guess.codes) ? guess : this.#find(text, start, end);
    if (last !== undefined) last.follower = node;
    this.#last = node;
    return node.value;
  }

  #find(text: Codes, start: number, end: number): Node<T> {
    let hash = end - start;
    for (let i = start; i < end; i++) {
      hash = (Math.imul(hash, 31) + (text[i] as number)) | 0;
    }
    const first = this.#buckets.get(hash);
    for (let node = first; node !== undefined; node = node.next) {
      if (matches(text, start, end, node.codes)) return node;
    }
    return this.#add(hash, Uint16Array.from(text.subarray(start, end)), first);
  }

  #add(hash: number, codes: Uint16Array, next: Node<T> | undefined): Node<T> {
    const node: Node<T> = { codes, value: this.#make(textOf(codes)), next, follower: undefined };
    // Beyond the bound a value is made anew each time: slower, but the table stays small.
    if (this.#size < CAPACITY) {
      this.#buckets.set(hash, node);
      this.#size++;
    }
    return node;
  }
}

/** Most arguments that a call may have everywhere. */
const SPREAD = 4096;

function textOf(codes: Uint16Array): string {
  let text = "";
  for (let at = 0; at < codes.length; at += SPREAD) text += String.fromCharCode(...codes.subarray(at, at + SPREAD));
  return text;
}

/** Is this stretch of the text that name? */
export function matches(text: Codes, start: number, end: number, name: Uint16Array): boolean {
  if (name.length !== end - start) return false;
  for (let i = 0; i < name.length; i++) if (text[start + i] !== name[i]) return false;
  return true;
}
