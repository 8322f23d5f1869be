/** Names kept per table: far above what any trace holds, and a bound for hostile ones. */
const CAPACITY = 4096;

interface Node<T> {
  readonly text: string;
  readonly value: T;
  readonly next: Node<T> | undefined;
}

/**
 * Finds the value of a stretch of text without cutting it out: the same few task, event and
 * pointer names come back on every line, and cutting them out each time is what costs most.
 */
export class Interner<T> {
  readonly #buckets = new Map<number, Node<T>>();
  readonly #make: (text: string) => T;
  #size = 0;

  constructor(make: (text: string) => T) {
    this.#make = make;
  }

  get(text: string, start: number, end: number): T {
    let hash = end - start;
    for (let i = start; i < end; i++) {
      hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
    }
    const first = this.#buckets.get(hash);
    for (let node = first; node !== undefined; node = node.next) {
      if (matches(text, start, end, node.text)) return node.value;
    }
    return this.#add(hash, text.slice(start, end), first);
  }

  #add(hash: number, text: string, next: Node<T> | undefined): T {
    const value = this.#make(text);
    // Past the bound, values are made again each time: slower, and no larger.
    if (this.#size < CAPACITY) {
      this.#buckets.set(hash, { text, value, next });
      this.#size++;
    }
    return value;
  }
}

function matches(text: string, start: number, end: number, name: string): boolean {
  if (name.length !== end - start) return false;
  for (let i = 0; i < name.length; i++) {
    if (text.charCodeAt(start + i) !== name.charCodeAt(i)) return false;
  }
  return true;
}
