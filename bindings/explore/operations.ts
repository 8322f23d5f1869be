// What a walker of an engine scenario does: operations of the core, as data with words for them.

import * as K from "../core/constants.generated.js";
import type { EngineWorld, Operation } from "./engine-world.js";

/** Read, write and execute, as the core's protections. */
const RIGHTS = { r: 4, w: 2, x: 1 } as const;

/**
 * Protections from letters: `rw`.
 *
 * @example
 * ```ts
 * import { rights } from "granule/explore";
 * console.log(rights("rw")); // 6
 * ```
 */
export function rights(letters: string): number {
  let prot = 0;
  for (const letter of letters) prot |= RIGHTS[letter as keyof typeof RIGHTS] ?? 0;
  return prot;
}

/**
 * Bytes of a page.
 *
 * @example
 * ```ts
 * import { PAGE } from "granule/explore";
 * console.log(PAGE); // 4096
 * ```
 */
export const PAGE = 4096;
/**
 * Bytes of a level-2 block of 4 KiB pages.
 *
 * @example
 * ```ts
 * import { BLOCK } from "granule/explore";
 * console.log(BLOCK); // 2097152
 * ```
 */
export const BLOCK: number = 1 << 21;
/**
 * An input address that scenarios map.
 *
 * @example
 * ```ts
 * import { BASE } from "granule/explore";
 * console.log(BASE); // 1073741824
 * ```
 */
export const BASE: number = 1 << 30;
const OUTPUT = 2 ** 36;

/** Flags of the walk beside what the operation implies. */
export interface Sharing {
  /** Under the lock for reading, beside others. */
  readonly shared?: boolean;
  /** Without the table's lock. */
  readonly lockFree?: boolean;
  /** The walker's own page cache. */
  readonly ownCache?: boolean;
  /** No cache maintenance: a hole may then be filled in one step. */
  readonly skipCmo?: boolean;
}

/** What a mapping maps to. */
export interface Mapping extends Sharing {
  /** Bytes; a page if it is not said. */
  readonly size?: number;
  /** Letters of r, w, x; `rw` if it is not said. */
  readonly rights?: string;
  /** A second output address for the same input: 1, 2 ... */
  readonly other?: number;
}

function flagsOf(sharing: Sharing, more = 0): number {
  const { shared, lockFree, skipCmo } = sharing;
  return more | (shared ? K.SHARED : 0) | (lockFree ? K.LOCK_FREE : 0) | (skipCmo ? K.SKIP_CMO : 0);
}

const hex = (n: number) => `0x${n.toString(16)}`;
const rangeOf = (address: number, size: number) => (size === PAGE ? hex(address) : `${hex(address)}+${hex(size)}`);

interface Fields {
  op: number;
  flags?: number;
  cache?: number;
  address?: number;
  size?: number;
  phys?: number;
  prot?: number;
  level?: number;
}

function operation(says: string, f: Fields, answers = false): Operation {
  return {
    says,
    call: (world, _results) => {
      const { core } = world.current;
      const run = () =>
        core.call(
          f.op,
          world.table,
          f.flags ?? 0,
          f.cache ?? K.CACHE_ARENA,
          f.address ?? 0,
          f.size ?? 0,
          f.phys ?? 0,
          f.prot ?? 0,
          f.level ?? 0,
        );
      return answers ? { run, result: (status) => [status, ...world.answer()] } : { run };
    },
  };
}

function mapping(verb: string, address: number, how: Mapping, more: number, op: number): Operation {
  const size = how.size ?? PAGE,
    phys = OUTPUT * (1 + (how.other ?? 0)) + address;
  const cache = how.ownCache ? K.CACHE_OWN : K.CACHE_ARENA;
  const says = `${verb} ${rangeOf(address, size)}${how.other ? ` to output ${how.other}` : ""}`;
  return operation(says, {
    op,
    flags: flagsOf(how, more),
    cache,
    address,
    size,
    phys,
    prot: rights(how.rights ?? "rw"),
  });
}

/**
 * A translation fault: maps `address` beside other walkers, and gives up with EAGAIN where one was faster.
 *
 * @example
 * ```ts
 * import { BASE, fault } from "granule/explore";
 * console.log(fault(BASE).says); // fault 0x40000000
 * ```
 */
export function fault(address: number, how: Mapping = {}): Operation {
  return mapping("fault", address, how, K.SHARED | K.HANDLE_FAULT, K.OP_MAP);
}

/**
 * Maps a range; exclusive unless `how` says that it is shared.
 *
 * @example
 * ```ts
 * import { BASE, BLOCK, map } from "granule/explore";
 * console.log(map(BASE, { size: BLOCK }).says); // map 0x40000000+0x200000
 * ```
 */
export function map(address: number, how: Mapping = {}): Operation {
  return mapping("map", address, how, 0, K.OP_MAP);
}

/**
 * Maps in a hypervisor table.
 *
 * @example
 * ```ts
 * import { BASE, hypMap } from "granule/explore";
 * console.log(hypMap(BASE).says); // hyp map 0x40000000
 * ```
 */
export function hypMap(address: number, how: Mapping = {}): Operation {
  return mapping("hyp map", address, how, 0, K.OP_HYP_MAP);
}

function ranged(verb: string, op: number) {
  return (address: number, size: number = PAGE, how: Sharing = {}): Operation =>
    operation(`${verb} ${rangeOf(address, size)}`, { op, address, size, flags: flagsOf(how) });
}

/**
 * Unmaps a range, exclusively.
 *
 * @example
 * ```ts
 * import { BASE, unmap } from "granule/explore";
 * console.log(unmap(BASE).says); // unmap 0x40000000
 * ```
 */
export const unmap: (address: number, size?: number) => Operation = ranged("unmap", K.OP_UNMAP);
/**
 * Unmaps a range of a hypervisor table.
 *
 * @example
 * ```ts
 * import { BASE, hypUnmap } from "granule/explore";
 * console.log(hypUnmap(BASE).says); // hyp unmap 0x40000000
 * ```
 */
export const hypUnmap: (address: number, size?: number) => Operation = ranged("hyp unmap", K.OP_HYP_UNMAP);
/**
 * Write-protects a range.
 *
 * @example
 * ```ts
 * import { BASE, wrprotect } from "granule/explore";
 * console.log(wrprotect(BASE).says); // wrprotect 0x40000000
 * ```
 */
export const wrprotect: (address: number, size?: number, how?: Sharing) => Operation = ranged(
  "wrprotect",
  K.OP_WRPROTECT,
);
/**
 * Splits the blocks of a range into pages.
 *
 * @example
 * ```ts
 * import { BASE, BLOCK, split } from "granule/explore";
 * console.log(split(BASE, BLOCK).says); // split 0x40000000+0x200000
 * ```
 */
export const split: (address: number, size?: number, how?: Sharing) => Operation = ranged("split", K.OP_SPLIT);
/**
 * Cleans the caches of a range.
 *
 * @example
 * ```ts
 * import { BASE, flush } from "granule/explore";
 * console.log(flush(BASE).says); // flush 0x40000000
 * ```
 */
export const flush: (address: number, size?: number, how?: Sharing) => Operation = ranged("flush", K.OP_FLUSH);
/**
 * Empties a range in pieces of a teardown.
 *
 * @example
 * ```ts
 * import { BASE, destroyRange } from "granule/explore";
 * console.log(destroyRange(BASE).says); // destroy range 0x40000000
 * ```
 */
export const destroyRange: (address: number, size?: number) => Operation = ranged("destroy range", K.OP_DESTROY_RANGE);

/**
 * Tests the access flags of a range and clears them.
 *
 * @example
 * ```ts
 * import { BASE, age } from "granule/explore";
 * console.log(age(BASE).says); // age 0x40000000
 * ```
 */
export function age(address: number, size: number = PAGE, how: Sharing = {}): Operation {
  return operation(`age ${rangeOf(address, size)}`, {
    op: K.OP_TEST_CLEAR_YOUNG,
    address,
    size,
    level: 1,
    flags: flagsOf(how),
  });
}

/**
 * Adds rights to a leaf.
 *
 * @example
 * ```ts
 * import { BASE, relax } from "granule/explore";
 * console.log(relax(BASE, "x").says); // relax 0x40000000 by x
 * ```
 */
export function relax(address: number, letters: string, how: Sharing = {}): Operation {
  return operation(`relax ${hex(address)} by ${letters}`, {
    op: K.OP_RELAX_PERMS,
    address,
    prot: rights(letters),
    flags: flagsOf(how),
  });
}

/**
 * Sets the access flag of a leaf.
 *
 * @example
 * ```ts
 * import { BASE, mkyoung } from "granule/explore";
 * console.log(mkyoung(BASE).says); // mkyoung 0x40000000
 * ```
 */
export function mkyoung(address: number, how: Sharing = {}): Operation {
  return operation(`mkyoung ${hex(address)}`, { op: K.OP_MKYOUNG, address, flags: flagsOf(how) });
}

/**
 * Looks a leaf up: status, low and high word of the leaf.
 *
 * @example
 * ```ts
 * import { BASE, leaf } from "granule/explore";
 * console.log(leaf(BASE).says); // look at 0x40000000
 * ```
 */
export function leaf(address: number): Operation {
  return operation(`look at ${hex(address)}`, { op: K.OP_GET_LEAF, address }, true);
}

/**
 * Tears the table down.
 *
 * @example
 * ```ts
 * import { destroy } from "granule/explore";
 * console.log(destroy().says); // destroy
 * ```
 */
export function destroy(): Operation {
  return operation("destroy", { op: K.OP_DESTROY });
}

/**
 * Any call of the core's exports; `args` may use what the operations before it returned.
 *
 * @example
 * ```ts
 * import { call } from "granule/explore";
 * console.log(call("reclaim").says); // reclaim
 * ```
 */
export function call(
  name: string,
  args: (world: EngineWorld, results: readonly number[]) => readonly (number | bigint)[] = () => [],
): Operation {
  return {
    says: name,
    call: (world, results) => {
      const exports = world.current.core as unknown as Record<string, (...args: (number | bigint)[]) => number>;
      return { run: () => exports[name]?.(...args(world, results)) as number };
    },
  };
}

/**
 * Gives the handle of the table back.
 *
 * @example
 * ```ts
 * import { release } from "granule/explore";
 * console.log(release().says); // release
 * ```
 */
export function release(): Operation {
  return { ...call("releaseTable", ({ table }) => [table]), says: "release" };
}

/**
 * Waits for the grace period of what is in limbo, and frees it.
 *
 * @example
 * ```ts
 * import { reclaim } from "granule/explore";
 * console.log(reclaim().says); // reclaim
 * ```
 */
export function reclaim(): Operation {
  return call("reclaim");
}

/**
 * Buries walker `id`.
 *
 * @example
 * ```ts
 * import { bury } from "granule/explore";
 * console.log(bury(2).says); // bury walker 2
 * ```
 */
export function bury(id: number): Operation {
  return { ...call("bury", () => [id]), says: `bury walker ${id}` };
}

/**
 * A column of translation faults in one call: statuses are its results.
 *
 * @example
 * ```ts
 * import { BASE, faultColumn } from "granule/explore";
 * console.log(faultColumn([BASE]).says); // column of faults 0x40000000
 * ```
 */
export function faultColumn(addresses: readonly number[], how: Mapping = {}): Operation {
  return {
    says: `column of faults ${addresses.map(hex).join(" ")}`,
    call: (world) => {
      const { core, buffer } = world.current,
        n = addresses.length,
        at = [buffer, buffer + 1024, buffer + 2048] as const;
      const run = () =>
        core.mapPages(
          world.table,
          ...at,
          n,
          rights(how.rights ?? "rw"),
          how.ownCache ? K.CACHE_OWN : K.CACHE_ARENA,
          flagsOf(how, K.SHARED | K.HANDLE_FAULT),
        );
      world.fillColumns(at[0], at[1], addresses, OUTPUT * (1 + (how.other ?? 0)));
      return { run, result: (done) => [done, ...world.statuses(at[2], n)] };
    },
  };
}
