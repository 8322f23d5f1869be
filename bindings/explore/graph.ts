// The graph of states that a search has walked.

/** A BoundTable as it can be written to a file. */
export interface KeptTable {
  readonly least: Uint8Array<ArrayBuffer>;
  readonly visited: Uint8Array<ArrayBuffer>;
  readonly states: number;
}

/** States that were visited, with what was left of the bound. */
export class BoundTable {
  readonly #walkers: number;
  readonly #bounded: boolean;
  /** For each state and last walker: preemptions of the cheapest visit + 1, 0 for none; unbounded: 1 for a visit. */
  #least = new Uint8Array(1 << 12);
  #visited = new Uint8Array(1 << 12);
  states = 0;

  constructor(walkers: number, bound: number) {
    this.#walkers = walkers;
    this.#bounded = bound !== Number.POSITIVE_INFINITY;
  }

  /** True if the state must be visited: for the first time, or after fewer preemptions than before. */
  visit(state: number, last: number, used: number): boolean {
    this.#grow(state);
    const isNew = this.#visited[state] === 0;
    if (isNew) {
      this.#visited[state] = 1;
      this.states++;
    }
    if (!this.#bounded) return isNew;
    const at = state * this.#walkers + last,
      had = this.#least[at] as number;
    if (had !== 0 && had <= used + 1) return false;
    this.#least[at] = used + 1;
    return true;
  }

  kept(): KeptTable {
    return { least: this.#least.slice(), visited: this.#visited.slice(), states: this.states };
  }

  restore({ least, visited, states }: KeptTable): void {
    this.#least = least.slice();
    this.#visited = visited.slice();
    this.states = states;
  }

  #grow(state: number): void {
    if (state >= this.#visited.length) this.#visited = larger(this.#visited, state + 1);
    if (this.#bounded && (state + 1) * this.#walkers > this.#least.length) {
      this.#least = larger(this.#least, (state + 1) * this.#walkers);
    }
  }
}

/** The same bytes, with zeros behind them: `least` bytes or more. */
export function larger(bytes: Uint8Array, least: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(Math.max(least, bytes.length * 2));
  copy.set(bytes);
  return copy;
}

/** The steps between states, each from one to another. */
export class Edges {
  #from = new Int32Array(1 << 12);
  #to = new Int32Array(1 << 12);
  count = 0;

  add(from: number, to: number): void {
    if (this.count === this.#from.length) {
      const [a, b] = [new Int32Array(this.count * 2), new Int32Array(this.count * 2)];
      a.set(this.#from);
      b.set(this.#to);
      this.#from = a;
      this.#to = b;
    }
    this.#from[this.count] = from;
    this.#to[this.count++] = to;
  }

  /** Both ends of each, one after the other. */
  kept(): Int32Array {
    const both = new Int32Array(this.count * 2);
    for (let i = 0; i < this.count; i++) both.set([this.#from[i] as number, this.#to[i] as number], i * 2);
    return both;
  }

  /** Adds edges that were kept. */
  restore(both: Int32Array): void {
    for (let i = 0; i < both.length; i += 2) this.add(both[i] as number, both[i + 1] as number);
  }

  /** Edges in the order of one end: `starts[s]` to `starts[s + 1]` of `others` are the other ends of state s. */
  #sorted(by: Int32Array, other: Int32Array): { starts: Int32Array; others: Int32Array } {
    let states = 0;
    for (let i = 0; i < this.count; i++)
      states = Math.max(states, (this.#from[i] as number) + 1, (this.#to[i] as number) + 1);
    const starts = new Int32Array(states + 1),
      others = new Int32Array(this.count);
    for (let i = 0; i < this.count; i++) (starts[(by[i] as number) + 1] as number)++;
    for (let s = 0; s < states; s++) (starts[s + 1] as number) += starts[s] as number;
    const at = starts.slice();
    for (let i = 0; i < this.count; i++) {
      const s = by[i] as number;
      others[at[s] as number] = other[i] as number;
      (at[s] as number)++;
    }
    return { starts, others };
  }

  /** Ways from `first` to a state without steps; undefined where a way can come round to a state again. */
  paths(first: number): bigint | undefined {
    const { starts, others } = this.#sorted(this.#from, this.#to);
    const OPEN = -1n,
      count = new Map<number, bigint>(),
      stack: [state: number, next: number, sum: bigint][] = [];
    const enter = (state: number) => {
      count.set(state, OPEN);
      stack.push([state, starts[state] ?? 0, 0n]);
    };
    enter(first);
    while (stack.length > 0) {
      const top = stack[stack.length - 1] as [number, number, bigint],
        [state, next] = top,
        begin = starts[state] ?? 0,
        end = starts[state + 1] ?? 0;
      if (next >= end) {
        count.set(state, begin === end ? 1n : top[2]);
        stack.pop();
        continue;
      }
      const child = others[next] as number,
        had = count.get(child);
      if (had === OPEN) return undefined;
      if (had === undefined) enter(child);
      else {
        top[1]++;
        top[2] += had;
      }
    }
    return count.get(first);
  }

  /** A state from which no way leads to one of `finals`, if there is one. */
  hopeless(finals: ReadonlySet<number>, first: number, states: Iterable<number>): number | undefined {
    const { starts, others } = this.#sorted(this.#to, this.#from);
    const good = new Set(finals),
      todo = [...finals];
    for (let state = todo.pop(); state !== undefined; state = todo.pop()) {
      for (let i = starts[state] ?? 0, end = starts[state + 1] ?? 0; i < end; i++) {
        const before = others[i] as number;
        if (good.has(before)) continue;
        good.add(before);
        todo.push(before);
      }
    }
    if (!good.has(first)) return first;
    for (const state of states) if (!good.has(state)) return state;
    return undefined;
  }
}
