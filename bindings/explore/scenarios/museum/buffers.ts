// Store buffers for protocols, whose own accesses are sequentially consistent. A CPU with a store buffer goes on before its store
// can be seen by others; that is all by which x86 (TSO) differs, and the least by which Arm does. A word that is stored so holds
// 256 * late + seen: `seen` is what memory holds, `late` (not 0) is what still lies in the buffer of the one CPU that stores late. A
// walker of one step, the drain, moves it to memory when the scheduler says so. A CPU that reads what it has itself stored late would
// have to look into its buffer first; the protocols here never do that.

import type { Access, ProtocolWalker, Request, Shared } from "../../protocol.js";

const SEEN = 0xff;
const LATE = 8;

function* change(word: string, next: (now: number) => number): Generator<Request, number, number> {
  return yield { kind: "exchange", word, next };
}

const drained = (now: number) => (now >> LATE === 0 ? now : now >> LATE);

/** A store whose value lies in the buffer until a drain or a fence. */
export function storeLate(word: string, value: number): Access {
  return change(word, (now) => (now & SEEN) | (value << LATE));
}

/** What others see of a word. */
export function* loadSeen<W extends string>(m: Shared<W>, word: W): Access {
  return (yield* m.load(word)) & SEEN;
}

/** An exchange by another CPU than the one that stores late. */
export function* exchangeSeen(word: string, value: number): Access {
  return (yield* change(word, (now) => (now & ~SEEN) | value)) & SEEN;
}

/** Waits until others see something else than `value`. */
export function* awaitSeen<W extends string>(m: Shared<W>, word: W, value: number): Access {
  for (;;) {
    const now = yield* m.load(word);
    if ((now & SEEN) !== value) return now & SEEN;
    yield* m.wait(word, now);
  }
}

/** A full fence, of a CPU that stores late to `word` alone; also the end of its program, since nothing stays in a buffer for ever. */
export function fence(word: string): Access {
  return change(word, drained);
}

/** Moves what lies in the buffer to memory, at any time. */
export function drain(word: string): ProtocolWalker<string> {
  return function* () {
    yield* change(word, drained);
  };
}
