/**
 * The naive peer: a page-table engine as most people would write it first, with bigint descriptors, a map of table pages
 * and a recursive walker that calls a visitor for each entry.
 *
 * @module
 */
import {
  EAGAIN,
  EINVAL,
  ERANGE,
  endPage,
  firstPage,
  IPA_PAGES,
  LeafDigest,
  type LeafVisitor,
  mapError,
  PAGE_SIZE,
  type Peer,
  type PeerCounters,
  PROT_R,
  PROT_W,
  PROT_X,
  TLBI_RANGE_PAGES,
} from "./peer.js";

const VALID = 1n << 0n;
const TABLE_OR_PAGE = 1n << 1n;
const MEMORY_NORMAL = 0x6n << 2n;
const READ = 1n << 6n;
const WRITE = 1n << 7n;
const SHAREABLE = 3n << 8n;
const ACCESS_FLAG = 1n << 10n;
const NO_EXEC = 1n << 54n;
const PERMISSIONS = READ | WRITE | NO_EXEC;
const ADDRESS = 0x0000_ffff_ffff_f000n;
const LOW_WORD = 0xffff_ffffn;

/** A page of 512 descriptors. */
interface Table {
  readonly address: bigint;
  readonly entries: BigUint64Array;
  count: number;
}

/** What a visitor is told about the entry it is called for. */
interface Visit {
  readonly table: Table;
  readonly index: number;
  readonly level: number;
  readonly address: bigint;
  readonly end: bigint;
  readonly old: bigint;
}

/** Called before a table, after a table, and for everything that is not a table. */
interface Visitor {
  before?(visit: Visit): void;
  after?(visit: Visit): void;
  leaf?(visit: Visit): void;
}

function shiftOf(level: number): bigint {
  return BigInt(12 + 9 * (3 - level));
}

function sizeOf(level: number): bigint {
  return 1n << shiftOf(level);
}

function isTable(descriptor: bigint, level: number): boolean {
  return level < 3 && (descriptor & (VALID | TABLE_OR_PAGE)) === (VALID | TABLE_OR_PAGE);
}

function leafDescriptor(pa: bigint, permissions: bigint, level: number): bigint {
  const type = level === 3 ? TABLE_OR_PAGE : 0n;
  return pa | permissions | MEMORY_NORMAL | SHAREABLE | ACCESS_FLAG | type | VALID;
}

function permissionsOf(prot: number): bigint {
  const read = (prot & PROT_R) !== 0 ? READ : 0n;
  const write = (prot & PROT_W) !== 0 ? WRITE : 0n;
  return read | write | ((prot & PROT_X) !== 0 ? 0n : NO_EXEC);
}

/** The peer on bigint. Its table pages are without limit. */
export class NaivePeer implements Peer {
  readonly name: string = "naive";
  foundHigh = 0;
  foundLevel = 0;

  private tables = new Map<bigint, Table>();
  private roots: Table[] = [];
  private nextAddress = 0n;
  private tlbiIpa = 0;
  private tlbiLocal = 0;
  private tlbiRange = 0;

  constructor() {
    this.reset();
  }

  reset(): void {
    this.tables = new Map();
    this.nextAddress = 0x8000_0000n;
    this.roots = [this.newTable(), this.newTable()];
    this.tlbiIpa = 0;
    this.tlbiLocal = 0;
    this.tlbiRange = 0;
  }

  map(ipa: number, size: number, pa: number, prot: number, forcePages: boolean): number {
    const error = mapError(ipa, size, pa, prot);
    if (error !== 0) return error;
    const offset = BigInt(pa) - BigInt(firstPage(ipa) * PAGE_SIZE);
    const permissions = permissionsOf(prot);
    const leafFits = (visit: Visit): boolean => {
      if (visit.level === 3) return true;
      const mask = sizeOf(visit.level) - 1n;
      const aligned = ((visit.address | (visit.address + offset)) & mask) === 0n;
      return !forcePages && aligned && visit.end - visit.address > mask;
    };
    this.walk(ipa, size, {
      before: (visit) => {
        if (!leafFits(visit)) return;
        this.tlbiRange += 1;
        this.set(visit, leafDescriptor(visit.address + offset, permissions, visit.level));
        this.freeTree(visit.old, visit.level + 1);
      },
      leaf: (visit) => {
        if (leafFits(visit)) this.setLeaf(visit, leafDescriptor(visit.address + offset, permissions, visit.level));
        else this.setTable(visit, this.newTable());
      },
    });
    return 0;
  }

  unmap(ipa: number, size: number): number {
    const status = this.walk(ipa, size, {
      leaf: (visit) => {
        if (visit.old !== 0n) this.set(visit, 0n);
      },
      after: (visit) => {
        const child = this.tableAt(visit.old);
        if (child.count !== 1) return;
        this.set(visit, 0n);
        this.tlbiRange += 1;
        this.tables.delete(child.address);
      },
    });
    if (status === 0) this.tlbiRange += Math.ceil((endPage(ipa, size) - firstPage(ipa)) / TLBI_RANGE_PAGES);
    return status;
  }

  wrprotect(ipa: number, size: number): number {
    return this.walk(ipa, size, {
      leaf: (visit) => {
        if ((visit.old & WRITE) !== 0n) this.set(visit, visit.old & ~WRITE);
      },
    });
  }

  testClearYoung(ipa: number, size: number, clear: boolean): number {
    let young = 0;
    const status = this.walk(ipa, size, {
      leaf: (visit) => {
        if ((visit.old & ACCESS_FLAG) === 0n) return;
        young = 1;
        if (clear) this.set(visit, visit.old & ~ACCESS_FLAG);
      },
    });
    return status < 0 ? status : young;
  }

  relax(ipa: number, prot: number): number {
    if (endPage(ipa, 1) < 0) return -ERANGE;
    if ((prot & ~(PROT_R | PROT_W | PROT_X)) !== 0) return -EINVAL;
    let status = -EAGAIN;
    this.walk(ipa, 1, {
      leaf: (visit) => {
        if ((visit.old & VALID) === 0n) return;
        status = 0;
        const wanted = permissionsOf(prot);
        const relaxed = (visit.old | (wanted & (READ | WRITE))) & ~(~wanted & NO_EXEC);
        if (relaxed !== visit.old) this.set(visit, relaxed);
      },
    });
    this.tlbiLocal += 1;
    return status;
  }

  split(ipa: number, size: number): number {
    return this.walk(ipa, size, {
      leaf: (visit) => {
        if (visit.level === 3 || (visit.old & VALID) === 0n) return;
        this.setTable(visit, this.pagesOf(visit.old, visit.level));
      },
    });
  }

  lookup(ipa: number): number {
    let found = 0n;
    const status = this.walk(ipa, 1, {
      leaf: (visit) => {
        found = visit.old;
        this.foundLevel = visit.level;
      },
    });
    this.foundHigh = Number(found >> 32n);
    return status < 0 ? status : Number(found & LOW_WORD);
  }

  countLeaves(ipa: number, size: number): number {
    let valid = 0;
    const status = this.walk(ipa, size, {
      leaf: (visit) => {
        if ((visit.old & VALID) !== 0n) valid += 1;
      },
    });
    return status < 0 ? status : valid;
  }

  walkLeaves(ipa: number, size: number, visitor: LeafVisitor): number {
    let visits = 0;
    const status = this.walk(ipa, size, {
      leaf: ({ address, level, old }) => {
        const base = address & ~(sizeOf(level) - 1n);
        visitor(Number(base), level, Number(old & LOW_WORD), Number(old >> 32n));
        visits += 1;
      },
    });
    return status < 0 ? status : visits;
  }

  digest(): string {
    const digest = new LeafDigest();
    this.walkLeaves(0, IPA_PAGES * PAGE_SIZE, (ipa, level, low, high) => {
      if ((low & 1) !== 0) digest.add(ipa, level, low, high);
    });
    return digest.toString();
  }

  counters(): PeerCounters {
    const { tlbiIpa, tlbiLocal, tlbiRange } = this;
    return { tables: this.tables.size - this.roots.length, tlbiIpa, tlbiLocal, tlbiRange };
  }

  countsHold(): boolean {
    return [...this.tables.values()].every(
      (table) => table.count === 1 + table.entries.filter((entry) => entry !== 0n).length,
    );
  }

  private newTable(): Table {
    const table = { address: this.nextAddress, entries: new BigUint64Array(512), count: 1 };
    this.nextAddress += BigInt(PAGE_SIZE);
    this.tables.set(table.address, table);
    return table;
  }

  private tableAt(descriptor: bigint): Table {
    const table = this.tables.get(descriptor & ADDRESS);
    if (table === undefined) throw new Error(`no table at ${descriptor.toString(16)}`);
    return table;
  }

  /** Writes an entry and keeps the reference count of its table. */
  private set({ table, index, old }: Visit, descriptor: bigint): void {
    if (old === 0n && descriptor !== 0n) table.count += 1;
    if (old !== 0n && descriptor === 0n) table.count -= 1;
    table.entries[index] = descriptor;
  }

  private setLeaf(visit: Visit, descriptor: bigint): void {
    if ((visit.old & VALID) !== 0n) {
      if (((visit.old ^ descriptor) & ~PERMISSIONS) === 0n) return;
      this.tlbiIpa += 1;
    }
    this.set(visit, descriptor);
  }

  private setTable(visit: Visit, child: Table): void {
    if ((visit.old & VALID) !== 0n) this.tlbiIpa += 1;
    this.set(visit, child.address | TABLE_OR_PAGE | VALID);
  }

  private freeTree(descriptor: bigint, level: number): void {
    const table = this.tableAt(descriptor);
    for (const entry of table.entries) if (isTable(entry, level)) this.freeTree(entry, level + 1);
    this.tables.delete(table.address);
  }

  /** A tree of pages that maps what a block maps. */
  private pagesOf(block: bigint, level: number): Table {
    const table = this.newTable();
    const pa = block & ADDRESS;
    for (let index = 0; index < 512; index++) {
      const part = pa + (BigInt(index) << shiftOf(level + 1));
      const leaf = leafDescriptor(part, block & PERMISSIONS, level + 1);
      table.entries[index] = level === 2 ? leaf : this.pagesOf(leaf, 2).address | TABLE_OR_PAGE | VALID;
      table.count += 1;
    }
    return table;
  }

  private walk(ipa: number, size: number, visitor: Visitor): number {
    const last = endPage(ipa, size);
    if (last < 0) return -ERANGE;
    const end = BigInt(last * PAGE_SIZE);
    let address = BigInt(firstPage(ipa) * PAGE_SIZE);
    while (address < end) {
      const root = this.roots[Number(address >> shiftOf(0))]!;
      this.walkTable(root, 1, address, end, visitor);
      address = ((address >> shiftOf(0)) + 1n) << shiftOf(0);
    }
    return 0;
  }

  private walkTable(table: Table, level: number, start: bigint, end: bigint, visitor: Visitor): void {
    const shift = shiftOf(level);
    let address = start;
    let index = Number((start >> shift) & 511n);
    while (index < 512 && address < end) {
      const visit = { table, index, level, address, end, old: table.entries[index]! };
      if (isTable(visit.old, level)) visitor.before?.(visit);
      else visitor.leaf?.(visit);
      // The visitor may have put a table here, or taken one away.
      const now = table.entries[index]!;
      if (isTable(now, level)) {
        this.walkTable(this.tableAt(now), level + 1, address, end, visitor);
        visitor.after?.({ ...visit, old: now });
      }
      address = ((address >> shift) + 1n) << shift;
      index += 1;
    }
  }
}
