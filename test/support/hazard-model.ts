// All interleavings of small programs on a machine with store buffers (TSO): the protocol of unmapper and remover of part G.
//
// Each thread is a list of steps. A plain store goes to the thread's own buffer, in order, and reaches memory some time
// later; fences and atomic steps wait until the buffer is empty. A load sees the thread's own buffer first.

export type Step =
  | readonly ["store", word: string, value: number]
  | readonly ["load", word: string, register: string]
  | readonly ["fence"]
  | readonly ["exchange", word: string, value: number, register: string]
  | readonly ["compare", word: string, expected: number, value: number]
  | readonly ["add", word: string, value: number]
  /** Goes to `target` if the register is (not) `value`. */
  | readonly ["ifEqual" | "ifOther", register: string, value: number, target: number]
  /** Touches the page of `owner`: a violation named `what` once that is freed. */
  | readonly ["use", what: string, owner: string]
  | readonly ["free", owner: string]
  /** Promises that no stale translation is left. */
  | readonly ["promise", what: string];

export type Program = readonly Step[];
export type Memory = Readonly<Record<string, number>>;

interface Thread {
  readonly pc: number;
  readonly buffer: readonly (readonly [word: string, value: number])[];
  readonly registers: Memory;
}

interface State {
  readonly memory: Memory;
  readonly threads: readonly Thread[];
}

/** What an exploration found: states seen, and the violations among them. */
export interface Exploration {
  states: number;
  violations: string[];
}

function keyOf({ memory, threads }: State): string {
  const words = (m: Memory) =>
    Object.keys(m)
      .sort()
      .map((k) => `${k}=${m[k]}`)
      .join();
  return [words(memory), ...threads.map((t) => `${t.pc};${t.buffer.join("|")};${words(t.registers)}`)].join("/");
}

function seenBy(thread: Thread, memory: Memory, word: string): number {
  const own = thread.buffer.findLast(([name]) => name === word);
  return own ? own[1] : (memory[word] ?? 0);
}

/** Memory, and the thread behind `step`; undefined where it must wait for its buffer. */
type Next = { memory: Memory; thread: Thread } | undefined;

const WAITS: ReadonlySet<Step[0]> = new Set(["fence", "exchange", "compare", "add", "free"]);

function perform(step: Step, thread: Thread, memory: Memory, violate: (what: string) => void): Next {
  if (WAITS.has(step[0]) && thread.buffer.length > 0) return undefined;
  const on = { ...thread, pc: thread.pc + 1 };
  const put = (word: string, value: number): Next => ({ memory: { ...memory, [word]: value }, thread: on });
  switch (step[0]) {
    case "store":
      return { memory, thread: { ...on, buffer: [...thread.buffer, [step[1], step[2]]] } };
    case "load":
      return { memory, thread: withRegister(on, step[2], seenBy(thread, memory, step[1])) };
    case "exchange":
      return {
        memory: { ...memory, [step[1]]: step[2] },
        thread: withRegister(on, step[3], memory[step[1]] ?? 0),
      };
    case "compare":
      return memory[step[1]] === step[2] ? put(step[1], step[3]) : { memory, thread: on };
    case "add":
      return put(step[1], (memory[step[1]] ?? 0) + step[2]);
    case "free":
      return put(`freed ${step[1]}`, 1);
    case "ifEqual":
    case "ifOther": {
      const equal = thread.registers[step[1]] === step[2];
      return { memory, thread: equal === (step[0] === "ifEqual") ? { ...on, pc: step[3] } : on };
    }
    case "use":
      if (memory[`freed ${step[2]}`]) violate(step[1]);
      return { memory, thread: on };
    case "promise":
      if (memory.tlb) violate(step[1]);
      return { memory, thread: on };
    case "fence":
      return { memory, thread: on };
  }
}

function withRegister(thread: Thread, register: string, value: number): Thread {
  return { ...thread, registers: { ...thread.registers, [register]: value } };
}

/** What thread `i` can do next: drain one store, or perform one step. */
function successors(programs: readonly Program[], state: State, i: number, violate: (what: string) => void): State[] {
  const thread = state.threads[i] as Thread;
  const found: State[] = [];
  const reach = (memory: Memory, next: Thread) => {
    found.push({ memory, threads: state.threads.map((t, j) => (j === i ? next : t)) });
  };
  const [oldest, ...younger] = thread.buffer;
  if (oldest) reach({ ...state.memory, [oldest[0]]: oldest[1] }, { ...thread, buffer: younger });
  const step = programs[i]?.[thread.pc];
  const next = step && perform(step, thread, state.memory, violate);
  if (next) reach(next.memory, next.thread);
  return found;
}

/** Every state that the programs can reach from `memory`, and what goes wrong in any. */
export function explore(programs: readonly Program[], memory: Memory): Exploration {
  const violations = new Set<string>();
  const first: State = { memory, threads: programs.map(() => ({ pc: 0, buffer: [], registers: {} })) };
  const seen = new Set([keyOf(first)]);
  const todo = [first];
  for (let state = todo.pop(); state; state = todo.pop()) {
    for (let i = 0; i < programs.length; i++) {
      for (const next of successors(programs, state, i, (what) => violations.add(what))) {
        const key = keyOf(next);
        if (seen.has(key)) continue;
        seen.add(key);
        todo.push(next);
      }
    }
  }
  return { states: seen.size, violations: [...violations].sort() };
}

// The protocol of [HZ-2] and [HZ-3]. Words: h the hazard word (R while the unmapper is in the rmap), and of each entry i:
// its spte `s<i>` and its place `e<i>` in the rmap (SPTE, or SKIP once nobody may use it).

const R = 7;
const SPTE = 1;
const SKIP = 2;

/** The words as they are before anybody runs, for `n` entries. */
export function entriesOf(n: number): Memory {
  const words: Record<string, number> = { h: 0 };
  for (let i = 0; i < n; i++) Object.assign(words, { [`s${i}`]: SPTE, [`e${i}`]: SPTE, [`freed ${i}`]: 0 });
  return words;
}

export interface UnmapperFlaws {
  /** Without the fence between publishing and reading. */
  noFence?: boolean;
  /** Reads the entry before it publishes. */
  readsEarly?: boolean;
}

/** The unmapper goes through `n` entries of rmap R [HZ-2]. */
export function unmapper({ noFence = false, readsEarly = false }: UnmapperFlaws = {}, n = 1): Program {
  const steps: Step[] = [];
  if (readsEarly) for (let i = 0; i < n; i++) steps.push(["load", `e${i}`, `x${i}`]);
  steps.push(["store", "h", R]);
  if (!noFence) steps.push(["fence"]);
  for (let i = 0; i < n; i++) {
    if (!readsEarly) steps.push(["load", `e${i}`, `x${i}`]);
    steps.push(["ifOther", `x${i}`, SPTE, steps.length + 5]);
    steps.push(["use", "the unmapper exchanges in a freed page", String(i)]);
    steps.push(["exchange", `s${i}`, 0, `o${i}`]);
    steps.push(n === 1 ? ["store", `e${i}`, SKIP] : ["compare", `e${i}`, SPTE, SKIP]);
    steps.push(["use", "the unmapper counts in a freed page", String(i)]);
  }
  steps.push(["fence"], ["store", "h", 0]);
  return steps;
}

export interface RemoverFlaws {
  noFence?: boolean;
  /** Looks at the hazard word first, and marks the entry then. */
  checksFirst?: boolean;
  /** Does not wait where the spte was 0 already. */
  skipsAbsent?: boolean;
}

/** Waits while the unmapper is in the rmap, from step `at` on. */
function wait(at: number): Step[] {
  return [
    ["load", "h", "q"],
    ["ifEqual", "q", R, at],
  ];
}

/** A remover takes spte `i` and frees its page [HZ-3]. */
export function remover(
  { noFence = false, checksFirst = false, skipsAbsent = false }: RemoverFlaws = {},
  i = 0,
): Program {
  const steps: Step[] = [["exchange", `s${i}`, 0, "o"]];
  if (checksFirst) return [...steps, ...wait(1), ["store", `e${i}`, SKIP], ["fence"], ["free", String(i)]];
  const mark: Step[] = [["store", `e${i}`, SKIP], ...(noFence ? [] : [["fence"] as const])];
  const start = steps.length + (skipsAbsent ? 1 : 0) + mark.length;
  const body = [...mark, ...wait(start)];
  if (skipsAbsent) steps.push(["ifEqual", "o", 0, steps.length + 1 + body.length]);
  return [...steps, ...body, ["free", String(i)]];
}

/** The batch of an unmapper, cleared and flushed later, with or without its count of pending batches [HZ-5]. */
export function batch(pending: boolean): Program {
  const cleared: Step[] = [
    ["exchange", "s0", 0, "o"],
    ["exchange", "tlb", 0, "z"],
  ];
  return pending ? [["add", "p", 1], ...cleared, ["add", "p", -1]] : cleared;
}

/** A notifier that promises "unmapped": flushes if it cleared the spte, or if a batch is pending [HZ-5]. */
export function notifier(): Program {
  return [
    ["exchange", "s0", 0, "o"],
    ["ifEqual", "o", SPTE, 4],
    ["load", "p", "q"],
    ["ifEqual", "q", 0, 5],
    ["exchange", "tlb", 0, "z"],
    ["promise", "a stale translation after the notifier has returned"],
  ];
}
