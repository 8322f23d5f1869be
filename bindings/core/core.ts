import { invalid } from "./errors.js";

/** The functions that the core imports; see assembly/memory/host.ts. */
export interface Host {
  hook(op: number, table: number, a: number, lo: number, hi: number, n: number): number;
  visit(phase: number, level: number, addrLo: number, addrHi: number, oldLo: number, oldHi: number): number;
  forcePte(table: number, addrLo: number, addrHi: number, endLo: number, endHi: number, prot: number): number;
  /** Debug core: a rule of assembly/memory/guard.ts is broken. */
  breach(rule: number, table: number): void;
  /** Debug core: a precondition of assembly/demand.ts is broken. */
  demand(rule: number): void;
  /** Debug core: a shared access is about to happen, or has (POINT_*). */
  point(kind: number, pointer: number): void;
}

/** The functions that the core exports; see assembly/index.ts. u32 results come signed: `>>> 0` is the caller's. */
export interface Core {
  initialise(arenaBytes: number, physBase: bigint, tables: number, walkers: number, ring: number): number;
  attach(id: number, sleeps: number): number;
  entrust(a: number, b: number): number;
  detach(): number;
  resultPointer(): number;
  counterPointer(id: number): number;
  engineInfo(): number;
  setJournal(kinds: number): number;
  journalInfo(id: number): number;
  takeBlock(order: number): number;
  giveBlock(p: number): number;
  pageReferences(p: number): number;
  cacheCreate(ps: number, capacity: number): number;
  cacheDestroy(cache: number, ps: number): number;
  cacheTopUp(cache: number, ps: number, min: number): number;
  cacheFill(cache: number, ps: number, n: number): number;
  cacheCount(cache: number, ps: number): number;
  createStage2(ps: number, vtcr: bigint, flags: number, hooks: number): number;
  createHyp(ps: number, vaBits: number, flags: number, hooks: number): number;
  releaseTable(table: number): number;
  tableInfo(table: number): number;
  setForcePte(table: number, force: number, below: bigint): number;
  createUnlinked(table: number, phys: bigint, level: number, prot: number, cache: number, pages: number): number;
  freeUnlinked(table: number, page: number, level: number): number;
  submit(p: number, n: number, stop: number): number;
  mapPages(
    table: number,
    addrs: number,
    physs: number,
    statuses: number,
    n: number,
    prot: number,
    cache: number,
    flags: number,
  ): number;
  relaxPages(table: number, addrs: number, statuses: number, n: number, prot: number, flags: number): number;
  getLeaves(table: number, addrs: number, leaves: number, levels: number, n: number): number;
  scan(
    table: number,
    root: number,
    level: number,
    cursor: bigint,
    cursorLevel: number,
    end: bigint,
    what: number,
    out: number,
    max: number,
  ): number;
  walkOutside(table: number, addr: bigint, size: bigint, flags: number, cache: number): number;
  poke(table: number, addr: bigint, descriptor: bigint): number;
  visitRead(): number;
  visitTryBreak(): number;
  visitMake(next: bigint): number;
  visitSet(next: bigint): number;
  visitNewTable(): number;
  visitFreeTable(descriptor: bigint): number;
  lockTable(table: number, exclusive: number): number;
  unlockTable(table: number, exclusive: number): number;
  reclaim(): number;
  limboInfo(): number;
  walkerInfo(id: number): number;
  writerOfTable(table: number): number;
  bury(id: number): number;
  levelShift(ps: number, level: number): number;
  stage2StartLevel(ps: number, bits: number): number;
  startTables(ps: number, bits: number, start: number): number;
  blockSizes(ps: number): bigint;
  vtcr(ps: number, bits: number, mmfr0: bigint, mmfr1: bigint, lpa2: number, wide: number, af: number): bigint;
  vttbr(pa: bigint, vmid: number, cnp: number): bigint;
  vttbrAlignment(ps: number, bits: number): number;
  tcrEl2(ps: number, vaBits: number, paCode: number, lpa2: number): bigint;
  stage2Leaf(ps: number, level: number, pa: bigint, prot: number, flags: number): bigint;
  hypLeaf(ps: number, level: number, pa: bigint, prot: number, flags: number): bigint;
  protectionOf(descriptor: bigint, flags: number, type: number): number;
  addressBits(ps: number, lpa2: number, pa: bigint): bigint;
  outputAddress(ps: number, lpa2: number, descriptor: bigint): bigint;
  outputMask(ps: number, lpa2: number): bigint;
  tlbiIpaOperand(ps: number, ipa: bigint, level: number): bigint;
  tlbiRangeStep(
    ps: number,
    addr: bigint,
    pages: bigint,
    scale: number,
    level: number,
    lpa2: number,
    ranged: number,
  ): number;
}

/** What a core can be made of: compiled, or its bytes. */
export type CoreSource = WebAssembly.Module | Uint8Array<ArrayBuffer> | ArrayBuffer;

/** Bytes of a base64 text; present in browsers, workers and Node alike. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** A compiled core; throws EINVAL for what is no Wasm. */
export function compile(source: CoreSource): WebAssembly.Module {
  if (source instanceof WebAssembly.Module) return source;
  try {
    return new WebAssembly.Module(source);
  } catch (cause) {
    throw Object.assign(invalid("compile", "these bytes are no granule core"), { cause });
  }
}

/** One instance of the core on `memory`. */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory, host: Host): Core {
  // The debug core calls `abort` where an assertion fails: file and line as numbers are all it needs.
  const abort = (_message: number, _file: number, line: number, column: number): never => {
    throw new Error(`assertion failed in the core, line ${line}:${column} (see the stack)`);
  };
  // Looked up at each call, so that a test can put a function of its own in its place.
  const point = (kind: number, pointer: number) => host.point(kind, pointer >>> 0);
  const imports = { env: { memory, abort }, host: { ...host, point } };
  return new WebAssembly.Instance(module, imports).exports as unknown as Core;
}
