/** Names kept in a table: far more than a real trace has, and a bound for hostile ones. */
const CAPACITY = 4096;

interface Node<T> {
  readonly text: string;
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

  get(text: string, start: number, end: number): T {
    const last = this.#last;
    const guess = last?.follower;
    const node = guess !== undefined && matches(text, start, end, guess.text) ? guess : this.#find(text, start, end);
    if (last !== undefined) last.follower = node;
    this.#last = node;
    return node.value;
  }

  #find(text: string, start: number, end: number): Node<T> {
    let hash = end - start;
    for (let i = start; i < end; i++) {
      hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
    }
    const first = this.#buckets.get(hash);
    for (let node = first; node !== undefined; node = node.next) {
      if (matches(text, start, end, node.text)) return node;
    }
    return this.#add(hash, text.slice(start, end), first);
  }

  #add(hash: number, text: string, next: Node<T> | undefined): Node<T> {
    const node: Node<T> = { text, value: this.#make(text), next, follower: undefined };
    // Beyond the bound a value is made anew each time: slower, but the table stays small.
    if (this.#size < CAPACITY) {
      this.#buckets.set(hash, node);
      this.#size++;
    }
    return node;
  }
}

/** Is this stretch of the text that name? */
export function matches(text: string, start: number, end: number, name: string): boolean {
  if (name.length !== end - start) return false;
  for (let i = 0; i < name.length; i++) {
    if (text.charCodeAt(start + i) !== name.charCodeAt(i)) return false;
  }
  return true;
}
