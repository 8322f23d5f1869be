// States of a memory: saved, loaded and told apart.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { States, Tuples } from "../../bindings/explore/state.js";

describe("tuples", () => {
  it("have one number for equal contents, and another one for every other content", () => {
    const tuples = new Tuples(3),
      known = new Map<string, number>();
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -2, max: 2 }), { minLength: 3, maxLength: 3 }), (values) => {
        const id = tuples.intern(Int32Array.from(values), 0),
          key = values.join();
        expect(known.get(key) ?? id).toBe(id);
        known.set(key, id);
      }),
      { seed: 1, numRuns: 2000 },
    );
    expect(tuples.count).toBe(known.size);
  });
});

describe("states", () => {
  const CHUNKS = 64;
  function made() {
    const words = Int32Array.from({ length: CHUNKS * 64 }, (_, i) => i % 7),
      dirty = new Uint8Array(CHUNKS);
    const states = new States(words, dirty);
    const write = (word: number, value: number) => {
      words[word] = value;
      dirty[word >> 6] = 1;
    };
    return { words, states, write };
  }

  it("bring back every content that was saved, in any order", () => {
    const { words, states, write } = made(),
      saved = new Map<number, string>([[states.save(), words.join()]]);
    const step = fc.tuple(fc.integer({ min: 0, max: words.length - 1 }), fc.integer({ min: 0, max: 3 }), fc.boolean());
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), fc.nat(), (steps, back) => {
        for (const [word, value, save] of steps) {
          write(word, value);
          if (!save) continue;
          const id = states.save(),
            content = words.join();
          expect(saved.get(id) ?? content).toBe(content);
          saved.set(id, content);
        }
        const ids = [...saved.keys()],
          id = ids[back % ids.length] as number;
        states.load(id);
        expect(words.join()).toBe(saved.get(id));
      }),
      { seed: 2, numRuns: 200 },
    );
    expect(new Set(saved.values()).size).toBe(saved.size);
  });

  it("what was not saved is gone after a load", () => {
    const { words, states, write } = made(),
      first = states.save();
    write(5, 99);
    states.load(first);
    expect(words[5]).toBe(5);
  });
});
