// Pictures of streams of unknown length in constant memory: when the stream outgrows the picture, two neighbours become one.

/** Steps of time that become twice as long whenever there are too many. */
export class TimeAxis {
  readonly #most: number;
  readonly #folds: (() => void)[] = [];
  #start = Number.NaN;
  #step: number;
  #last = 0;

  /** At most `most` steps, an even number, the first ones of `step` seconds. */
  constructor(most: number, step: number) {
    this.#most = most;
    this.#step = step;
  }

  /** `fold` is called whenever steps 2n and 2n + 1 become step n. */
  onFold(fold: () => void): void {
    this.#folds.push(fold);
  }

  /** The step that a moment lies in. A moment before the first counts as the first. */
  at(seconds: number): number {
    if (Number.isNaN(this.#start)) this.#start = seconds;
    const passed = Math.max(0, seconds - this.#start);
    while (passed >= this.#most * this.#step) {
      this.#step *= 2;
      this.#last >>= 1;
      for (const fold of this.#folds) fold();
    }
    const index = Math.floor(passed / this.#step);
    this.#last = Math.max(this.#last, index);
    return index;
  }

  /** First moment, length of a step and number of steps; the first moment is 0 where nothing happened. */
  get extent(): { start: number; step: number; count: number } {
    const nothing = Number.isNaN(this.#start);
    return { start: nothing ? 0 : this.#start, step: this.#step, count: nothing ? 0 : this.#last + 1 };
  }

  /** Where each step begins, in seconds since the first moment. */
  get marks(): number[] {
    return Array.from({ length: this.extent.count }, (_, i) => i * this.#step);
  }
}

/** How often something happened in each step. */
export class Counts {
  readonly #axis: TimeAxis;
  #counts: number[] = [];

  constructor(axis: TimeAxis) {
    this.#axis = axis;
    axis.onFold(() => {
      const half: number[] = [];
      this.#counts.forEach((n, i) => {
        half[i >> 1] = (half[i >> 1] ?? 0) + (n ?? 0);
      });
      this.#counts = half;
    });
  }

  add(seconds: number, n = 1): void {
    const i = this.#axis.at(seconds);
    this.#counts[i] = (this.#counts[i] ?? 0) + n;
  }

  get values(): number[] {
    return Array.from({ length: this.#axis.extent.count }, (_, i) => this.#counts[i] ?? 0);
  }

  get total(): number {
    return this.#counts.reduce((sum, n) => sum + (n ?? 0), 0);
  }
}

/** A state that lasts until it changes: what it was at the end of each step. */
export class States {
  readonly #axis: TimeAxis;
  #states: (number | undefined)[] = [];

  constructor(axis: TimeAxis) {
    this.#axis = axis;
    axis.onFold(() => {
      const half: (number | undefined)[] = [];
      this.#states.forEach((state, i) => {
        half[i >> 1] = state ?? half[i >> 1];
      });
      this.#states = half;
    });
  }

  set(seconds: number, state: number): void {
    const i = this.#axis.at(seconds); // may fold the states: before they are looked at
    this.#states[i] = state;
  }

  get values(): (number | null)[] {
    let last: number | null = null;
    return Array.from({ length: this.#axis.extent.count }, (_, i) => {
      last = this.#states[i] ?? last;
      return last;
    });
  }
}

/** How often something happened where and when: rows of addresses, columns of time. */
export class HeatGrid {
  readonly #axis: TimeAxis;
  readonly #mostRows: number;
  /** Row number (address / bytes of a row), then column, then a count for each layer. */
  #rows = new Map<number, Map<number, number[]>>();
  #rowBytes: number;
  readonly #layers: readonly string[];

  /** At most so many rows, of `rowBytes` at first. */
  constructor(axis: TimeAxis, layers: readonly string[], rowBytes: number, mostRows: number) {
    this.#axis = axis;
    this.#layers = layers;
    this.#rowBytes = rowBytes;
    this.#mostRows = mostRows;
    axis.onFold(() => {
      for (const [row, cells] of this.#rows) this.#rows.set(row, folded(cells));
    });
  }

  add(layer: number, address: number, seconds: number): void {
    const column = this.#axis.at(seconds);
    const row = this.#row(Math.floor(address / this.#rowBytes));
    let cell = row.get(column);
    if (cell === undefined) {
      cell = this.#layers.map(() => 0);
      row.set(column, cell);
    }
    cell[layer] = (cell[layer] ?? 0) + 1;
  }

  #row(index: number): Map<number, number[]> {
    let row = this.#rows.get(index);
    if (row !== undefined) return row;
    row = new Map();
    this.#rows.set(index, row);
    if (this.#rows.size <= this.#mostRows) return row;
    let at = index;
    while (this.#rows.size > this.#mostRows) {
      this.#foldRows();
      at = Math.floor(at / 2);
    }
    return this.#rows.get(at) as Map<number, number[]>;
  }

  #foldRows(): void {
    const half = new Map<number, Map<number, number[]>>();
    for (const [row, cells] of this.#rows) {
      const target = half.get(Math.floor(row / 2));
      if (target === undefined) half.set(Math.floor(row / 2), cells);
      else for (const [column, counts] of cells) merge(target, column, counts);
    }
    this.#rows = half;
    this.#rowBytes *= 2;
  }

  get rowBytes(): number {
    return this.#rowBytes;
  }

  /** First address of each row, and the layers' cells as triples: row, column, how often. */
  result(): { rows: number[]; layers: { name: string; cells: number[] }[] } {
    const sorted = [...this.#rows].sort(([a], [b]) => a - b);
    const layers = this.#layers.map((name, layer) => {
      const cells: number[] = [];
      sorted.forEach(([, columns], row) => {
        for (const [column, counts] of [...columns].sort(([a], [b]) => a - b)) {
          const n = counts[layer] ?? 0;
          if (n > 0) cells.push(row, column, n);
        }
      });
      return { name, cells };
    });
    return { rows: sorted.map(([row]) => row * this.#rowBytes), layers };
  }
}

function merge(cells: Map<number, number[]>, column: number, counts: readonly number[]): void {
  const there = cells.get(column);
  cells.set(
    column,
    counts.map((n, layer) => n + (there?.[layer] ?? 0)),
  );
}

function folded(cells: Map<number, number[]>): Map<number, number[]> {
  const half = new Map<number, number[]>();
  for (const [column, counts] of cells) merge(half, column >> 1, counts);
  return half;
}

/** What occurred most often. Rare ones are forgotten when there are too many to count. */
export class Frequent<T> {
  readonly #counts = new Map<T, number>();
  readonly #most: number;
  /** True once something was forgotten: counts are lower bounds then. */
  forgot = false;

  constructor(most: number) {
    this.#most = most;
  }

  add(key: T): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    for (let rare = 1; this.#counts.size > this.#most; rare *= 2) {
      this.forgot = true;
      for (const [one, n] of this.#counts) if (n <= rare && one !== key) this.#counts.delete(one);
    }
  }

  /** The `n` most frequent, most often first. */
  top(n: number): [key: T, count: number][] {
    return [...this.#counts].sort(([, a], [, b]) => b - a).slice(0, n);
  }
}

/** The greatest of a stream. */
export class Greatest<T> {
  readonly #of: (one: T) => number;
  readonly #most: number;
  #kept: T[] = [];
  #floor = Number.NEGATIVE_INFINITY;

  constructor(most: number, of: (one: T) => number) {
    this.#most = most;
    this.#of = of;
  }

  add(one: T): void {
    if (this.#of(one) <= this.#floor) return;
    this.#kept.push(one);
    if (this.#kept.length < 4 * this.#most) return;
    this.#kept = this.list();
    const last = this.#kept.at(-1);
    if (last !== undefined) this.#floor = this.#of(last);
  }

  /** The greatest first. */
  list(): T[] {
    return [...this.#kept].sort((a, b) => this.#of(b) - this.#of(a)).slice(0, this.#most);
  }
}
