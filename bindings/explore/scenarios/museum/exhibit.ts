// What the museum shows: a small protocol that keeps its rule, and the same with one flaw each that breaks it.

import {
  type Access,
  type Protocol,
  type ProtocolWalker,
  protocol,
  type Request,
  type Shared,
} from "../../protocol.js";
import type { Scenario } from "../../scenario.js";

/** A protocol of the museum. */
export interface Exhibit {
  /** Its page in docs/museum, without `.md`. */
  readonly page: string;
  /** The protocol as it should be: no schedule breaks its rule. */
  readonly sound: Scenario;
  /** The same with one flaw each, named `protocol-flaw`: some schedule of each breaks the rule. */
  readonly flawed: readonly Scenario[];
}

/** What makes an exhibit: the walkers of a protocol, by the flaw that is put back. */
export interface Plan<W extends string, F extends string> extends Omit<Protocol<W>, "walkers"> {
  readonly page: string;
  /** Flaws by name, and what each of them does wrong. */
  readonly flaws: Readonly<Record<F, string>>;
  readonly walkers: (flaw: F | undefined) => readonly ProtocolWalker<W>[];
}

/** One step or more of a walker, which give a number. */
export type Steps = Generator<Request, number, number>;

export function exhibit<W extends string, F extends string>(plan: Plan<W, F>): Exhibit {
  const { page, flaws, walkers, ...rest } = plan;
  return {
    page,
    sound: protocol({ ...rest, walkers: walkers(undefined) }),
    flawed: (Object.keys(flaws) as F[]).map((flaw) =>
      protocol({ ...rest, name: `${rest.name}-${flaw}`, title: flaws[flaw], walkers: walkers(flaw) }),
    ),
  };
}

/** Waits until `word` is not `value`; what it is then. */
export function* awaitChange<W extends string>(m: Shared<W>, word: W, value: number): Access {
  for (;;) {
    const now = yield* m.load(word);
    if (now !== value) return now;
    yield* m.wait(word, value);
  }
}

/** Takes the lock in `word`. */
export function* lock<W extends string>(m: Shared<W>, word: W): Access {
  while ((yield* m.compareExchange(word, 0, 1)) !== 0) yield* m.wait(word, 1);
  return 0;
}

export function unlock<W extends string>(m: Shared<W>, word: W): Access {
  return m.store(word, 0);
}
