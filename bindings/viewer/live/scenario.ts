// What a visitor of the page does, as data: it can be shared as a link, and everything else is worked out from it.

import type { Granule } from "../../model/granule.js";

/** The shape of the table. */
export interface Shape {
  readonly granule: Granule;
  readonly ipaBits: number;
  readonly lpa2: boolean;
}

/** What can be done to the table. Addresses and sizes in bytes. */
export type Operation =
  | { readonly op: "map"; readonly ipa: number; readonly size: number; readonly pa: number; readonly prot: string }
  | { readonly op: "unmap" | "wrprotect" | "split" | "age"; readonly ipa: number; readonly size: number }
  | { readonly op: "relax"; readonly ipa: number; readonly prot: string };

/** A vCPU's access, made after so many records of an operation: in the middle of it, too. */
export interface Access {
  readonly ipa: number;
  readonly kind: "r" | "w" | "x";
  /** Operations that are done before, and records of the one that comes next. */
  readonly operation: number;
  readonly record: number;
}

/** A table, what is done to it, and what a vCPU sees meanwhile. */
export interface Scenario {
  readonly shape: Shape;
  readonly operations: readonly Operation[];
  readonly accesses: readonly Access[];
}

const OPERATIONS: ReadonlySet<string> = new Set(["map", "unmap", "wrprotect", "split", "age", "relax"]);
const RANGED: ReadonlySet<string> = new Set(["map", "unmap", "wrprotect", "split", "age"]);
const MOST = 500;

/** What the page begins with: a block, one page of which gets other memory. */
export const FIRST: Scenario = {
  shape: { granule: 4096, ipaBits: 40, lpa2: false },
  operations: [
    { op: "map", ipa: 0x4000_0000, size: 0x40_0000, pa: 0x8000_0000, prot: "rwx" },
    { op: "map", ipa: 0x4000_3000, size: 0x1000, pa: 0x9000_0000, prot: "r" },
  ],
  accesses: [{ ipa: 0x4000_3000, kind: "r", operation: 1, record: 0 }],
};

const GUEST = 0x4000_0000;
const MIB2 = 0x20_0000;
const BLOCK = { op: "map", ipa: GUEST, size: MIB2, pa: 0x8000_0000, prot: "rw" } as const;
const { shape } = FIRST;

/** What a teacher may begin with, by what it shows. */
export const EXAMPLES: Readonly<Record<string, Scenario>> = {
  "a page of a block gets other memory: break before make": FIRST,
  "memory is taken away, and a TLB is stale until the TLBI": {
    shape,
    operations: [BLOCK, { op: "unmap", ipa: GUEST, size: MIB2 }],
    accesses: [0, 1, 2, 3].map((record) => ({ ipa: GUEST, kind: "r", operation: 1, record })),
  },
  "a migration asks what was written: write-protect, fault, allow again": {
    shape,
    operations: [
      { ...BLOCK, size: 0x4000 },
      { op: "wrprotect", ipa: GUEST, size: 0x4000 },
      { op: "relax", ipa: GUEST, prot: "rw" },
    ],
    accesses: [
      { ipa: GUEST, kind: "w", operation: 1, record: 0 },
      { ipa: GUEST, kind: "w", operation: 2, record: 0 },
      { ipa: GUEST, kind: "w", operation: 3, record: 0 },
      { ipa: GUEST + 0x1000, kind: "w", operation: 3, record: 0 },
    ],
  },
  "a block is split into 512 pages, and becomes a block again": {
    shape,
    operations: [BLOCK, { op: "split", ipa: GUEST, size: MIB2 }, BLOCK],
    accesses: [],
  },
};

function isAddress(n: unknown): n is number {
  return typeof n === "number" && Number.isSafeInteger(n) && n >= 0;
}

function isShape(shape: unknown): shape is Shape {
  const { granule, ipaBits, lpa2 } = (shape ?? {}) as Partial<Shape>;
  return [4096, 16384, 65536].includes(granule as number) && isAddress(ipaBits) && typeof lpa2 === "boolean";
}

function isOperation(one: unknown): one is Operation {
  const { op, ipa, size, pa, prot } = (one ?? {}) as Record<string, unknown>;
  if (typeof op !== "string" || !OPERATIONS.has(op) || !isAddress(ipa)) return false;
  if (RANGED.has(op) && !isAddress(size)) return false;
  if (op === "map" && !isAddress(pa)) return false;
  return (op !== "map" && op !== "relax") || (typeof prot === "string" && /^[rwx]{0,3}$/.test(prot));
}

function isAccess(one: unknown): one is Access {
  const { ipa, kind, operation, record } = (one ?? {}) as Record<string, unknown>;
  return isAddress(ipa) && ["r", "w", "x"].includes(kind as string) && isAddress(operation) && isAddress(record);
}

/** A scenario from anywhere: undefined for what is none. */
export function checked(data: unknown): Scenario | undefined {
  const { shape, operations, accesses } = (data ?? {}) as Record<string, unknown>;
  if (!isShape(shape) || !Array.isArray(operations) || !Array.isArray(accesses)) return undefined;
  if (operations.length > MOST || accesses.length > MOST) return undefined;
  return operations.every(isOperation) && accesses.every(isAccess) ? { shape, operations, accesses } : undefined;
}

/** The operation in words, as a call. */
export function operationText(one: Operation): string {
  const hex = (n: number) => `0x${n.toString(16)}`;
  if (one.op === "relax") return `relax ${hex(one.ipa)} ${one.prot}`;
  const range = `${one.op} ${hex(one.ipa)} + ${hex(one.size)}`;
  return one.op === "map" ? `${range} → ${hex(one.pa)} ${one.prot}` : range;
}
