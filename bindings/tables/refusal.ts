// Why the core refused an operation, in words: asked on the way to an error only. It gives a status; the values and the
// limits that they broke are here.

import * as K from "../core/constants.generated.js";
import { GranuleError } from "../core/errors.js";
import { shift } from "../core/granule.js";
import { type AddressLike, hex, toAddress } from "../model/address.js";
import { protNames } from "../model/protection.js";
import { PageCache } from "./cache.js";
import type { Format } from "./entry.js";
import type { EngineMemory } from "./memory.js";
import type { CacheOption } from "./options.js";

/** What an operation was asked; `phys` where it has an output address, `size` where it has a range. */
export interface Asked {
  readonly address: bigint;
  readonly size?: bigint | undefined;
  readonly phys?: bigint | undefined;
  readonly prot?: number | undefined;
  readonly cache?: CacheOption;
  /** Owner or type of an annotation, where the operation writes one. */
  readonly owner?: number | undefined;
  readonly type?: number | undefined;
}

/** What a refusal depends on, of a table. */
export interface Refuser {
  readonly engine: EngineMemory;
  readonly handle: number;
  readonly granule: number;
  readonly format: Format;
}

const EXECUTE = K.PROT_X | K.PROT_PX | K.PROT_UX;
/** End of what a 48-bit descriptor can name. */
const LOW_END = 1n << 48n;
const TYPES = K.PROT_DEVICE | K.PROT_NC | K.PROT_AS_STAGE1;

/** Input and output sizes of a table in bits; undefined once it is destroyed. */
function bitsOf({ engine, handle }: Refuser): { input: number; output: number } | undefined {
  if (engine.core.tableInfo(handle) < 0) return undefined;
  const { root, inputBits, outputBits } = engine.results.table;
  return root === 0 ? undefined : { input: inputBits, output: outputBits };
}

/** What of [first, first + size) lies at or above 2^bits. */
function beyond(what: "input" | "output", first: bigint, size: bigint, bits: number): string | undefined {
  const end = 1n << BigInt(bits);
  const limit = `the table's ${what} addresses end at ${hex(end)} (${bits} bits)`;
  if (first >= end) return `the ${what} address is ${hex(first)}, and ${limit}`;
  return first + size > end ? `the ${what} range ends at ${hex(first + size)}, and ${limit}` : undefined;
}

function outOfRange(table: Refuser, { address, size = 0n, phys }: Asked): string | undefined {
  const bits = bitsOf(table);
  if (bits === undefined) return undefined;
  const input = beyond("input", address, size, bits.input);
  if (input !== undefined || phys === undefined) return input;
  return beyond("output", phys, size, bits.output);
}

function wrongCache(table: Refuser, cache: CacheOption): string | undefined {
  if (!(cache instanceof PageCache) || cache.granule === table.granule) return undefined;
  return `the cache holds pages of ${cache.granule} bytes, and the table's granule is ${table.granule}`;
}

function wrongHypProt(prot: number, split: boolean): string | undefined {
  const names = protNames(prot).join(" ") || "nothing";
  if (!(prot & K.PROT_R)) return `the protection is ${names}: EL2's own mappings need R`;
  if (prot & EXECUTE && prot & (K.PROT_W | K.PROT_DEVICE)) {
    return `the protection is ${names}: at EL2 execute excludes W and DEVICE`;
  }
  return split ? undefined : splitExecute(prot, names, "hvhe");
}

function splitExecute(prot: number, names: string, option: string): string | undefined {
  const alone = prot & (K.PROT_PX | K.PROT_UX);
  if (prot & K.PROT_X || (alone !== K.PROT_PX && alone !== K.PROT_UX)) return undefined;
  return `the protection is ${names}: PX or UX alone needs a table with \`${option}\``;
}

/** What is wrong with a protection, of a leaf or (`added`) of a relaxation. */
function wrongProt({ format }: Refuser, prot: number, added: boolean): string | undefined {
  const names = protNames(prot).join(" ");
  if (prot & ~(K.PROT_SW | EXECUTE | TYPES | K.PROT_R | K.PROT_W))
    return `${hex(prot)} has bits that no protection has`;
  if (format.flags & K.T_HYP) return wrongHypProt(prot, (format.flags & (K.T_HVHE | K.T_LINUX)) === K.T_HVHE);
  if (added && prot & K.PROT_SW) return `the protection is ${names}: software bits cannot be added`;
  const types = prot & TYPES;
  if (!added && types & (types - 1)) return `the protection is ${names}: a leaf has one memory type`;
  if (!added && prot & (K.PROT_DEVICE | K.PROT_NC) && prot & EXECUTE) {
    return `the protection is ${names}: DEVICE and NC exclude execute`;
  }
  return format.flags & K.T_XNX ? undefined : splitExecute(prot, names, "xnx");
}

/** What is wrong with an annotation: of 6.12 an owner, of 7.x a type over a payload. */
function wrongAnnotation({ format }: Refuser, { owner, type }: Asked): string | undefined {
  const typed = (format.flags & K.T_TYPED) !== 0;
  if (owner !== undefined) {
    return typed
      ? 'owners are of tables with annotations: "6.12"; here it is `annotate`'
      : `the owner is ${owner}: 0 or 1`;
  }
  if (type === undefined) return undefined;
  if (!typed) return 'typed annotations are of tables with annotations: "7.x"; here it is `setOwner`';
  return `the type is ${type}: 2..15, and the payload lies in bits 59:1 and is not 0`;
}

function wrongArgument(table: Refuser, asked: Asked): string | undefined {
  if (bitsOf(table) === undefined) return "the table was destroyed";
  const { address, phys, prot, cache } = asked;
  const found = wrongCache(table, cache) ?? wrongAnnotation(table, asked);
  if (found !== undefined) return found;
  if (table.format.flags & K.T_IDMAP && phys !== undefined && phys !== address) {
    return `the table maps one to one (flags.identity), and the output address is ${hex(phys)}`;
  }
  return prot === undefined ? undefined : wrongProt(table, prot, phys === undefined);
}

function noMemory({ engine, granule }: Refuser, cache: CacheOption): string {
  if (cache === null) return "a table is needed, and `cache: null` gives none";
  if (cache instanceof PageCache) return `a table is needed, and the cache is empty: \`topUp\` before`;
  const { bytes, taken } = engine.arena();
  return `no page of ${granule} bytes for a table: ${taken} of the arena's ${bytes} bytes are taken (raise arenaBytes)`;
}

/** One sentence that names the value and the limit, or undefined where there is no more to say than the error number. */
export function refusal(table: Refuser, errno: number, asked: Asked): string | undefined {
  if (errno === K.ERANGE) return outOfRange(table, asked);
  if (errno === K.EINVAL) return wrongArgument(table, asked);
  return errno === K.ENOMEM ? noMemory(table, asked.cache) : undefined;
}

/** Why no detached subtree was made: `level` is that of the entry that would name it. */
export function unlinkedRefusal(table: Refuser, errno: number, level: number, asked: Asked): string | undefined {
  if (errno === K.EINVAL && !(level >= 1 && level < K.LAST_LEVEL)) {
    return `the level is ${level}: an entry that names a table is of level 1 or 2`;
  }
  const bytes = 1n << BigInt(shift(table.format.ps, level));
  const { phys = 0n } = asked;
  if (errno === K.EINVAL && phys & (bytes - 1n)) {
    return `the output address ${hex(phys)} is not a multiple of what an entry of level ${level} covers, ${hex(bytes)}`;
  }
  return refusal(table, errno, { ...asked, address: 0n, size: bytes });
}

/** Why no table was made. */
export function unmade(engine: EngineMemory, granule: number, errno: number, vtcr?: bigint): string | undefined {
  const { bytes, taken } = engine.arena();
  if (errno === K.EBUSY) return "no table slot is free: close a table, or make the engine with more maxTables";
  if (errno === K.ENOMEM) {
    return `no start tables of ${granule} bytes a page: ${taken} of the arena's ${bytes} bytes are taken (raise arenaBytes)`;
  }
  if (errno !== K.EINVAL) return undefined;
  const end = engine.physBase + BigInt(bytes);
  if (end > LOW_END) return `the arena ends at ${hex(end)}: descriptors of this format name addresses below 2^48`;
  return vtcr === undefined
    ? undefined
    : `VTCR ${hex(vtcr)}: its TG0, T0SZ and SL0 make no table of granule ${granule}`;
}

/** Operations on ranges that change what is mapped there, or its attributes, one bit each. */
const WHOLE_PAGES = [
  K.OP_MAP,
  K.OP_UNMAP,
  K.OP_SET_OWNER,
  K.OP_ANNOTATE,
  K.OP_WRPROTECT,
  K.OP_TEST_CLEAR_YOUNG,
  K.OP_FLUSH,
  K.OP_SPLIT,
  K.OP_DESTROY_RANGE,
  K.OP_HYP_MAP,
  K.OP_HYP_UNMAP,
].reduce((mask, op) => mask | (1 << op), 0);

/** Is some of a range no whole page, where `op` needs such? `rest` is of the table; numbers, or the low halves of words. */
export function isPartial(op: number, rest: number, address: number, size: number, phys: number): boolean {
  if (((WHOLE_PAGES >> op) & 1) === 0) return false;
  const low = op === K.OP_ANNOTATE ? address | size : address | size | phys; // annotations: a payload
  return (low & rest) !== 0;
}

/** What of a range is no whole page, in words; undefined if all of it is. */
function notWhole(granule: number, { address, size = 0n, phys = 0n }: Asked): string | undefined {
  const rest = BigInt(granule - 1);
  const parts: readonly (readonly [string, bigint])[] = [
    ["address", address],
    ["size", size],
    ["output address", phys],
  ];
  const odd = parts.find(([, value]) => value & rest);
  if (odd === undefined) return undefined;
  const [what, value] = odd;
  return `the ${what} ${hex(value)} is not a multiple of the granule ${hex(granule)} (\`strict: false\` of the table rounds)`;
}

/** What single operation `op` was asked, by the arguments of `Table.perform`. EINVAL names what is no address: the core does not. */
export function askedOf(
  op: number,
  operation: string,
  addr: AddressLike,
  bytes: AddressLike,
  output: AddressLike,
  prot = 0,
  cache: CacheOption = undefined,
  level = 0,
): Asked {
  const [address, size, phys] = [addr, bytes, output].map((given) => toAddress(given, operation)) as [
    bigint,
    bigint,
    bigint,
  ];
  const hasOutput = op === K.OP_MAP || op === K.OP_HYP_MAP;
  return {
    address,
    size,
    phys: hasOutput ? phys : undefined,
    prot: hasOutput || op === K.OP_RELAX_PERMS ? prot : undefined,
    cache,
    owner: op === K.OP_SET_OWNER ? level : undefined,
    type: op === K.OP_ANNOTATE ? level : undefined,
  };
}

/** The error of an operation that `isPartial` finds. */
export function partial(
  granule: number,
  op: number,
  operation: string,
  addr: AddressLike,
  bytes: AddressLike,
  output: AddressLike,
): GranuleError {
  const asked = askedOf(op, operation, addr, bytes, output);
  return new GranuleError(K.EINVAL, { operation, address: asked.address, hint: notWhole(granule, asked) as string });
}
