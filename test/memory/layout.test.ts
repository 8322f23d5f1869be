// How a memory is laid out: which sizes are taken, that the parts do not overlap, and which instance becomes which walker.

import { describe, expect, it } from "vitest";
import { BYTES } from "../../bindings/core/bytes.granule.generated.js";
import * as K from "../../bindings/core/constants.generated.js";
import { type Core, compile, fromBase64, instantiate } from "../../bindings/core/core.js";
import { Words } from "../../bindings/core/view.js";
import { Hosts } from "../../bindings/tables/host.js";
import { Results } from "../../bindings/tables/results.js";

const MODULE = compile(fromBase64(BYTES), "test");
const ARENA = 1 << 20;
const BASE = 0x8000_0000n;
const PAGES = 64;

const PAGE = 65536;

function core(
  pages = PAGES,
  memory = new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: true }),
  at: number = K.HEADER_BYTES,
) {
  return { memory, core: instantiate(MODULE, memory, at, new Hosts()) };
}

interface Sizes {
  /** Bytes of the arena, and its pointer. */
  arena?: number;
  pointer?: number;
  base?: bigint;
  tables?: number;
  walkers?: number;
  ring?: number;
}

function lay(made: Core, sizes: Sizes = {}): number {
  const { arena = ARENA, base = BASE, tables = 4, walkers = 1, ring = 0, pointer = 3 << 20 } = sizes;
  return made.initialise(pointer, arena, base, tables, walkers, ring);
}

/** The status of laying out a fresh memory, its arena at the end. */
function laid(sizes: Sizes, pages = PAGES): number {
  return lay(core(pages).core, { pointer: pages * PAGE - (sizes.arena ?? ARENA), ...sizes });
}

describe("a memory", () => {
  it.each([
    ["an arena", "arena", [0, 1, ARENA - 4096, ARENA + 4096, ARENA >> 1], [ARENA, 2 * ARENA]],
    ["tables", "tables", [0, 1025, 2 ** 31, -1], [1, 2, 1024]],
    ["walkers", "walkers", [0, 65, 2 ** 31, -1], [1, 2, 64]],
  ] as const)("takes sizes of %s that exist", (_, name, wrong, right) => {
    for (const size of wrong) expect(laid({ [name]: size }), `${size}`).toBe(K.EINVAL);
    for (const size of right) expect(laid({ [name]: size }), `${size}`).toBe(0);
  });

  it("takes a physical address that is aligned, and whose arena ends at 2^52 or before [GEO-5]", () => {
    const end = 1n << 52n;
    for (const base of [
      1n,
      4096n,
      BigInt(ARENA) - 1n,
      BASE + 4096n,
      end,
      end + BigInt(ARENA),
      end - BigInt(ARENA >> 1),
      1n << 63n,
    ])
      expect(laid({ base }), base.toString(16)).toBe(K.EINVAL);
    for (const base of [0n, BigInt(ARENA), BASE, end - BigInt(ARENA)])
      expect(laid({ base }), base.toString(16)).toBe(0);
    expect(laid({ base: end - BigInt(ARENA), arena: 2 * ARENA })).toBe(K.EINVAL);
  });

  it("takes an engine and an arena where their pages are aligned, inside the memory", () => {
    for (const pointer of [4096, (1 << 20) + 32768, -1]) expect(laid({ pointer }), `${pointer}`).toBe(K.EINVAL);
    const place = (at: number) => lay(core(PAGES, undefined, at).core);
    for (const at of [1, 512, 1025, PAGES * PAGE, PAGES * PAGE - 512, 2 ** 31, -1024]) {
      expect(place(at), `${at}`).toBe(K.EINVAL);
      expect(core(PAGES, undefined, at).core.attach(0, 0), `${at}`).toBe(K.EINVAL);
    }
    for (const at of [0, 1024, PAGE]) expect(place(at), `${at}`).toBe(0);
  });

  it("holds several engines, each of them known by its own place", () => {
    const memory = new WebAssembly.Memory({ initial: PAGES, maximum: 65536, shared: true });
    const [low, high] = [core(PAGES, memory, 0).core, core(PAGES, memory, 2 << 20).core];
    expect([lay(low, { pointer: 1 << 20 }), lay(high)]).toEqual([0, 0]);
    expect(core(PAGES, memory, PAGE).core.attach(0, 0)).toBe(K.EINVAL);
    // A copy of a header is no engine.
    new Uint8Array(memory.buffer).copyWithin(PAGE, 0, K.HEADER_BYTES);
    expect(core(PAGES, memory, PAGE).core.attach(0, 0)).toBe(K.EINVAL);
  });

  it("that is too small is said to be, and one that is laid out stays as it is", () => {
    // The least memory that is enough holds everything: with one page less it is ENOMEM.
    let pages = 1;
    while (laid({ walkers: 2, ring: 100 }, pages) === K.ENOMEM) pages++;
    expect(laid({ walkers: 2, ring: 100 }, pages)).toBe(0);
    expect(pages).toBeGreaterThan(ARENA >> 16);
    expect(pages).toBeLessThan((ARENA >> 16) + 20);
    expect(laid({ walkers: 64, ring: 2 ** 24 }, PAGES)).toBe(K.ENOMEM);
    expect(laid({ pointer: 4 << 20 })).toBe(K.ENOMEM);
    expect(laid({ pointer: 2 ** 32 - ARENA })).toBe(K.ENOMEM);
    const { core: made } = core();
    expect([lay(made), lay(made), lay(made, { arena: 2 * ARENA })]).toEqual([0, K.EEXIST, K.EEXIST]);
  });

  it("has room for what each part says: journals, references and frames of every walker lie apart", () => {
    const [walkers, ring] = [3, 50];
    const { memory, core: made } = core();
    expect(lay(made, { walkers, ring, tables: 7 })).toBe(0);
    const parts: [from: number, bytes: number][] = [];
    made.setJournal(-1);
    const results = new Results(new Words(memory.buffer), made.resultPointer() >>> 0);
    for (let id = 0; id < walkers; id++) {
      expect(made.journalInfo(id)).toBe(0);
      expect(results.journal.capacity).toBe(ring);
      parts.push([results.journal.pointer, ring * K.JOURNAL_BYTES]);
      parts.push([made.counterPointer(id) >>> 0, K.WALKER_BYTES]);
    }
    made.engineInfo();
    const { arena } = results.engine;
    parts.push([arena, ARENA]);
    parts.sort(([a], [b]) => a - b);
    for (const [i, [from, bytes]] of parts.slice(0, -1).entries()) {
      expect(from + bytes).toBeLessThanOrEqual(parts[i + 1]?.[0] as number);
    }
    const units = ARENA / 4096;
    const journalsEnd = Math.max(
      ...parts.filter(([, bytes]) => bytes === ring * K.JOURNAL_BYTES).map(([p, n]) => p + n),
    );
    // A frame word has 12 bytes, and each walker a count of 4 for each unit.
    expect(arena - journalsEnd).toBeGreaterThanOrEqual(units * (12 + 4 * walkers));
    expect(arena + ARENA).toBeLessThanOrEqual(memory.buffer.byteLength);
  });
});

describe("a walker", () => {
  it("is one instance at a time, of those that the memory was made for", () => {
    const { memory, core: zero } = core();
    const [one, other] = [core(PAGES, memory).core, core(PAGES, memory).core];
    expect(one.attach(0, 1)).toBe(K.EINVAL);
    expect(lay(zero, { walkers: 3 })).toBe(0);
    expect(one.attach(3, 1)).toBe(K.EINVAL);
    expect(one.attach(-1, 1)).toBe(K.EINVAL);
    expect(one.attach(0, 1)).toBe(K.EBUSY);
    expect([one.attach(2, 1), one.attach(2, 0), other.attach(2, 1)]).toEqual([0, 0, K.EBUSY]);
    expect(one.attach(1, 1)).not.toBe(0);
    expect([one.detach(), other.attach(2, 1), one.attach(1, 1)]).toEqual([0, 0, 0]);
    expect(one.detach()).toBe(0);
    expect(one.detach()).toBe(K.EINVAL);
  });
});
