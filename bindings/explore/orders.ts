// What a weak memory may give to a load. The model is that of release and acquire with views [Kang et al., POPL 2017, without promises;
// Kaiser et al., ECOOP 2017]:
//
//   message   every store leaves one, and the messages of a word have an order. A message holds a value, and a view: what its writer
//             passes on to those who acquire it
//   view      for each word a message; whoever has the view reads this message or a newer one
//   load      takes any message from its walker's view on. `acquire` makes the message's view part of the walker's
//   store     goes behind all that its walker's view holds, but perhaps before newer messages: it was delayed less than these.
//             `release` passes on the walker's view
//   exchange  takes the newest message, and passes on what that one did; nothing comes between the two
//   fence     "acquire" makes what was loaded before part of the view; "release" lets later stores pass the view on; "full" does both, and
//             all full fences have one order
//   seqcst    as acquire and release, and never behind another such access to the word
//
// `after` names words whose last load an access depends on, by its address, its value or a branch before a store: what that load
// could have acquired is known to this access alone.
//
// Against the Arm ARM (B2.3) the model allows more and less. More: stores need not reach all others at the same time, so two readers may
// see two independent stores in different orders, even by acquire. Less: no load takes its value from a store that comes
// later in its own program or depends on that (load buffering), and a read-modify-write takes nothing older than the newest value.
// `release` and `acquire` are those of LKMM, and of LDAPR: a load that acquires may come before a store that releases.

/** How an access orders what is around it. Plain accesses are as relaxed ones. */
export type Order = "relaxed" | "acquire" | "release" | "acquire-release" | "seqcst";

/** Which accesses are weak: plain ones, or atomic ones with an order of their own too. */
export type WeakModel = "plain" | "orders";

/** Says how many messages back an access goes; `backs` are the possible answers, the first is 0; `valueAt` says what is there. */
export type Choose = (backs: readonly number[], word: number, valueAt: (back: number) => number) => number;

type View = readonly number[];

interface Message {
  readonly value: number;
  readonly view: View;
  /** Left by an exchange: nothing comes between it and the message before. */
  readonly joined: boolean;
  readonly strong: boolean;
}

interface Thread {
  /** What its loads must not fall behind. */
  cur: View;
  /** What an acquire fence would add. */
  acq: View;
  /** What a relaxed store passes on: what was known at the last release fence. */
  rel: View;
  /** For each word: what its last load could have acquired. */
  seen: Record<number, View>;
}

const NOTHING: View = [];
const at = (view: View, word: number): number => view[word] ?? 0;

function join(a: View, b: View): View {
  const [long, short] = a.length >= b.length ? [a, b] : [b, a];
  return long.map((t, word) => Math.max(t, at(short, word)));
}

function put(view: View, word: number, place: number): View {
  if (at(view, word) >= place) return view;
  const next = [...view];
  while (next.length < word) next.push(0);
  next[word] = place;
  return next;
}

function trimmed(view: View): View {
  let end = view.length;
  while (end > 0 && view[end - 1] === 0) end--;
  return end === view.length ? view : view.slice(0, end);
}

const covers = (all: View, part: View): boolean => part.every((t, word) => t <= at(all, word));
const acquires = (order: Order) => order === "acquire" || order === "acquire-release" || order === "seqcst";
const releases = (order: Order) => order === "release" || order === "acquire-release" || order === "seqcst";

/** The memory of one weak execution. Words are numbers from 0. */
export class WeakMachine {
  readonly #base: (word: number) => number;
  readonly #walkers: number;
  readonly #everything: boolean;
  readonly #keys: string[] = [];
  readonly #ids = new Map<string, number>();
  /** Words that some weak access was made to; of the others only the newest message is kept. */
  readonly weakWords = new Set<number>();
  /** Has `weakWords` grown? Then what was searched before must be searched again. */
  grew = false;
  #cells: Message[][] = [];
  #threads: (Thread | undefined)[] = [];
  #full: View = NOTHING;

  /** `base`: what a word holds at first. `everything`: older messages of all words are kept from the beginning. */
  constructor(walkers: number, base: (word: number) => number, everything = false) {
    this.#walkers = walkers;
    this.#everything = everything;
    this.#base = base;
    this.reset();
  }

  /** Everything as at first. */
  reset(): void {
    this.#cells = [];
    this.#full = NOTHING;
    this.#threads = Array.from({ length: this.#walkers }, () => ({
      cur: NOTHING,
      acq: NOTHING,
      rel: NOTHING,
      seen: {},
    }));
  }

  #messages(word: number): Message[] {
    let messages = this.#cells[word];
    if (messages === undefined) {
      messages = [{ value: this.#base(word), view: NOTHING, joined: false, strong: true }];
      this.#cells[word] = messages;
    }
    return messages;
  }

  #thread(id: number): Thread {
    const thread = this.#threads[id];
    if (thread === undefined) throw new Error(`walker ${id} has ended`);
    return thread;
  }

  #isKept(word: number): boolean {
    return this.#everything || this.weakWords.has(word);
  }

  #note(word: number, order: Order): void {
    if (order === "seqcst" || this.#isKept(word)) return;
    this.weakWords.add(word);
    this.grew = true;
  }

  #dependency({ seen }: Thread, after: readonly number[]): View {
    return after.reduce<View>((view, word) => join(view, seen[word] ?? NOTHING), NOTHING);
  }

  /** The first message that an access of `order` may take or go behind. */
  #floor(word: number, order: Order, known: View): number {
    const messages = this.#messages(word);
    let floor = at(known, word);
    if (order === "seqcst") {
      for (let i = messages.length - 1; i > floor; i--) if (messages[i]?.strong) floor = i;
    }
    return floor;
  }

  /** The newest value of a word. */
  newest(word: number): number {
    const messages = this.#messages(word);
    return (messages[messages.length - 1] as Message).value;
  }

  /** Walker `id` loads the word; the value that it gets. */
  load(id: number, word: number, order: Order, after: readonly number[], choose: Choose): number {
    this.#note(word, order);
    const thread = this.#thread(id),
      messages = this.#messages(word),
      newest = messages.length - 1,
      before = this.#dependency(thread, after),
      floor = this.#floor(word, order, join(thread.cur, before));
    const backs = Array.from({ length: newest - floor + 1 }, (_, back) => back),
      place = newest - choose(backs, word, (back) => (messages[newest - back] as Message).value);
    this.#take(thread, word, place, order, before);
    return (messages[place] as Message).value;
  }

  #take(thread: Thread, word: number, place: number, order: Order, before: View): void {
    const message = this.#messages(word)[place] as Message,
      got = put(message.view, word, place);
    thread.seen[word] = join(got, before);
    thread.cur = acquires(order) ? join(thread.cur, got) : put(thread.cur, word, place);
    thread.acq = join(thread.acq, got);
  }

  /** Walker `id` stores a value; the newest value of the word afterwards, which may be another one's. */
  store(id: number, word: number, value: number, order: Order, after: readonly number[], choose: Choose): number {
    this.#note(word, order);
    const thread = this.#thread(id),
      messages = this.#messages(word),
      before = this.#dependency(thread, after),
      floor = this.#floor(word, order, join(thread.cur, before)),
      backs: number[] = [];
    for (let place = messages.length; place > floor; place--) {
      if (messages[place]?.joined !== true) backs.push(messages.length - place);
    }
    const place = messages.length - choose(backs, word, () => value),
      passed = join(releases(order) ? thread.cur : thread.rel, before);
    this.#insert(thread, word, place, { value, view: passed, joined: false, strong: order === "seqcst" });
    return this.newest(word);
  }

  #insert(thread: Thread, word: number, place: number, message: Message): void {
    if (!this.#isKept(word)) {
      this.#cells[word] = [message];
      return;
    }
    const messages = this.#messages(word);
    if (place < messages.length) this.#mapViews((view) => shifted(view, word, place));
    const view = shifted(message.view, word, place);
    this.#messages(word).splice(place, 0, { ...message, view: put(view, word, place) });
    thread.cur = put(thread.cur, word, place);
  }

  /** First half of a read-modify-write: the newest value. */
  beginExchange(id: number, word: number, order: Order, after: readonly number[]): number {
    this.#note(word, order);
    const thread = this.#thread(id);
    this.#take(thread, word, this.#messages(word).length - 1, order, this.#dependency(thread, after));
    return this.newest(word);
  }

  /** Second half, if it succeeds: the value that is stored. */
  finishExchange(id: number, word: number, value: number, order: Order, after: readonly number[]): void {
    const thread = this.#thread(id),
      messages = this.#messages(word),
      had = messages[messages.length - 1] as Message,
      own = join(releases(order) ? thread.cur : thread.rel, this.#dependency(thread, after));
    const message = { value, view: join(had.view, own), joined: true, strong: order === "seqcst" };
    this.#insert(thread, word, messages.length, message);
  }

  /** Whoever waits for a word to change sees its newest value in the end. */
  look(id: number, word: number): void {
    if (!this.#isKept(word)) return;
    const thread = this.#thread(id);
    thread.cur = put(thread.cur, word, this.#messages(word).length - 1);
  }

  fence(id: number, order: Order): void {
    const thread = this.#thread(id);
    if (acquires(order)) thread.cur = join(thread.cur, thread.acq);
    if (order === "seqcst") {
      this.#full = join(this.#full, thread.cur);
      thread.cur = this.#full;
    }
    if (releases(order)) thread.rel = thread.cur;
  }

  /** Walker `id` reads nothing any more. */
  end(id: number): void {
    this.#threads[id] = undefined;
  }

  #mapViews(change: (view: View) => View): void {
    this.#cells = this.#cells.map((messages) =>
      messages?.map((message) => ({ ...message, view: change(message.view) })),
    );
    for (const thread of this.#threads) {
      if (thread === undefined) continue;
      thread.cur = change(thread.cur);
      thread.acq = change(thread.acq);
      thread.rel = change(thread.rel);
      for (const word of Object.keys(thread.seen)) thread.seen[+word] = change(thread.seen[+word] as View);
    }
    this.#full = change(this.#full);
  }

  /** Messages that nobody can read any more are forgotten, so that what is equal is the same. */
  #forget(): void {
    for (const word of this.weakWords) {
      const messages = this.#messages(word);
      let least = messages.length - 1;
      for (const thread of this.#threads) if (thread !== undefined) least = Math.min(least, at(thread.cur, word));
      if (least > 0) {
        messages.splice(0, least);
        this.#mapViews((view) => lowered(view, word, least));
      }
      const kept = this.#messages(word);
      kept[0] = { ...(kept[0] as Message), joined: false, strong: true };
    }
    for (const thread of this.#threads) {
      if (thread === undefined) continue;
      thread.acq = join(thread.acq, thread.cur);
      const { cur, seen } = thread;
      thread.seen = Object.fromEntries(Object.entries(seen).filter(([, view]) => !covers(cur, view)));
    }
    this.#mapViews(trimmed);
  }

  /** The number of what the memory holds now, views included. */
  save(): number {
    this.#forget();
    const key = JSON.stringify([this.#cells, this.#threads, this.#full]),
      had = this.#ids.get(key);
    if (had !== undefined) return had;
    this.#keys.push(key);
    this.#ids.set(key, this.#keys.length - 1);
    return this.#keys.length - 1;
  }

  /** The memory is again as it was at `save`. */
  restore(id: number): void {
    const [cells, threads, full] = JSON.parse(this.#keys[id] as string);
    this.#cells = cells.map((messages: Message[] | null) => messages ?? undefined);
    this.#threads = threads.map((thread: Thread | null) => thread ?? undefined);
    this.#full = full;
  }

  /** Bytes of what was saved, about. */
  get bytes(): number {
    return this.#keys.reduce((sum, { length }) => sum + length, 0);
  }
}

/** A message was put before the `place`th of a word. */
function shifted(view: View, word: number, place: number): View {
  return at(view, word) >= place && view.length > word ? view.map((t, i) => (i === word ? t + 1 : t)) : view;
}

/** The first `least` messages of a word were forgotten. */
function lowered(view: View, word: number, least: number): View {
  return view.length > word ? view.map((t, i) => (i === word ? Math.max(0, t - least) : t)) : view;
}
