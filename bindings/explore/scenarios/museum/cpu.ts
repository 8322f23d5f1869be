// A CPU for protocols: one word that says whether an access is under way, and what its TLB holds.

import type { Access, Shared } from "../../protocol.js";

/** An access is under way. */
export const BUSY = 1;

/** An access begins; what the TLB holds then. Whoever calls it stores in the end what the TLB holds, without BUSY. */
export function* beginAccess<W extends string>(m: Shared<W>, cpu: W): Access {
  for (;;) {
    const held = yield* m.load(cpu);
    if ((yield* m.compareExchange(cpu, held, held | BUSY)) === held) return held;
  }
}

/** TLBI and DSB: waits for the access that is under way, and leaves of what is held only `kept`. */
export function* invalidate<W extends string>(m: Shared<W>, cpu: W, kept = 0): Access {
  for (;;) {
    const held = yield* m.load(cpu);
    if (held & BUSY) yield* m.wait(cpu, held);
    else if ((yield* m.compareExchange(cpu, held, held & kept)) === held) return 0;
  }
}
