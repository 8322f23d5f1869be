import * as K from "../core/constants.generated.js";
import { decodeAddress, isTable } from "../core/descriptor.js";
import { entries as entriesOf, shift } from "../core/granule.js";
import { S2RawError } from "./errors.js";
import { type ByteSource, readBlocks } from "./lines.js";

/*
 * The raw stage-2 tables of a stopped machine, as text:
 *
 *   # raw stage-2 tables ... at freeze point <scenario>.<point>
 *   # <REGISTER>=0x<value>                                          one line each
 *   # granule=N ia_bits=N start_level=N root_entries=N root_pa=0x.. DS=0|1
 *   TABLE level=N pa=0x.. ipa=0x.. entries=N                        every table, parents first
 *     <index> 0x<descriptor>                                        its non-zero descriptors
 *   # tables=N nonzero_entries=N                                    the end, and a check
 */

/** Shape of a stage-2 table. */
export interface S2Geometry {
  /** Bytes: 4096, 16384 or 65536. */
  readonly granule: number;
  /** Width of the input address. */
  readonly iaBits: number;
  /** Level of the root, -1 to 3. */
  readonly startLevel: number;
  /** Entries of the root, more than one table's when tables are concatenated. */
  readonly rootEntries: number;
  /** Physical address of the root. */
  readonly rootPa: number;
  /** VTCR_EL2.DS: 52-bit output addresses with the 4K and 16K granules (LPA2). */
  readonly ds: boolean;
}

/** One table and its non-zero descriptors, `indices[i]` holding `descriptors[i]`. */
export interface S2RawTable {
  /** Its level, -1 to 3. */
  readonly level: number;
  /** Where the table lies. */
  readonly pa: number;
  /** First guest address that it translates. */
  readonly ipa: number;
  /** How many entries it has, zero ones included. */
  readonly entries: number;
  /** Numbers of the entries that are not zero, ascending. */
  readonly indices: Uint32Array;
  /** Their values, in the same order. */
  readonly descriptors: BigUint64Array;
}

/** A non-zero descriptor that points to no table: a block, a page, or an invalid one. */
export interface S2RawLeaf {
  /** First guest address that it covers, in bytes. */
  readonly ipa: number;
  /** Level of the entry, which gives its size. */
  readonly level: number;
  /** The 64 bits as they were in memory. */
  readonly descriptor: bigint;
}

/** A dump of the stage-2 tables of one VM at one point. */
export interface S2RawDump {
  /** As the trace's FREEZE marker names them: `<scenario>.<point>`. */
  readonly scenario: string;
  /** The second half of the name: which moment of the scenario. */
  readonly point: string;
  /** From the file's name (`.cpu01.`), `undefined` if there is none. */
  readonly cpu: number | undefined;
  /** By name: VTTBR_EL2, VTCR_EL2, ID registers, whatever was recorded. */
  readonly registers: ReadonlyMap<string, bigint>;
  /**
   * VTTBR_EL2 read as 0 in this dump, since KVM switches it off after TLB maintenance; the walk
   * began from this last value of the VM. `undefined` when the register could be read.
   */
  readonly lastVttbr: bigint | undefined;
  /** The table's shape, as VTCR_EL2 gives it. */
  readonly geometry: S2Geometry;
  /** Parents before children. */
  readonly tables: readonly S2RawTable[];
  /** The leaves in ascending order of address, invalid non-zero descriptors included. */
  leaves(): Generator<S2RawLeaf, void, undefined>;
}

/** Names the parts of a dump's file name, `<scenario>.<point>.cpu<n>.s2raw[.gz]`. */
const FILE_NAME = /\.cpu(\d{1,4})\.s2raw(?:\.gz)?$/;
const TITLE = /^# raw stage-2 tables .* at freeze point (\S+?)\.(\S+)$/;
const REGISTER = /^# ([A-Z][A-Za-z0-9_]*)=(0x[0-9a-f]{1,16})$/;
const LAST_VTTBR = /^# VTTBR_EL2 read 0 here .*: (0x[0-9a-f]{1,16})$/;
const GEOMETRY = new RegExp(
  "^# granule=(\\d+) ia_bits=(\\d+) start_level=(-?\\d) root_entries=(\\d+) " + "root_pa=(0x[0-9a-f]{1,13}) DS=([01])$",
);
const TABLE = /^TABLE level=(-?\d) pa=(0x[0-9a-f]{1,13}) ipa=(0x[0-9a-f]{1,13}) entries=(\d+)$/;
const ENTRY = /^ +(\d+) (0x[0-9a-f]{16})$/;
const TOTALS = /^# tables=(\d+) nonzero_entries=(\d+)$/;

/** Bits of address that a level's entry covers. */
function shiftOf(granule: number, level: number): number {
  return shift(Math.log2(granule), level);
}

/** Where a table descriptor points. */
function nextTable(descriptor: bigint, { granule, ds }: S2Geometry): number {
  return Number(decodeAddress(Math.log2(granule), ds, descriptor));
}

interface OpenTable {
  readonly level: number;
  readonly pa: number;
  readonly ipa: number;
  readonly entries: number;
  readonly indices: number[];
  readonly descriptors: bigint[];
}

/** Reads a dump line by line, checking each against what went before. */
class S2RawReader {
  #line = 0;
  #text = "";
  #title: RegExpExecArray | undefined;
  readonly #registers = new Map<string, bigint>();
  #lastVttbr: bigint | undefined;
  #geometry: S2Geometry | undefined;
  readonly #tables: S2RawTable[] = [];
  #open: OpenTable | undefined;
  /** Tables that a descriptor has announced and that have not come yet: place to address. */
  readonly #announced = new Map<string, number>();
  #entries = 0;
  #ended = false;

  read(block: string): void {
    for (const text of block.split("\n")) this.#readLine(text.replace(/\r$/, ""));
  }

  #fail(expected: string): never {
    throw new S2RawError(this.#line, this.#text, expected);
  }

  #readLine(text: string): void {
    this.#line++;
    this.#text = text;
    if (text === "") return;
    if (this.#ended) this.#fail("nothing after the totals");
    if (text.startsWith(" ")) this.#readEntry(ENTRY.exec(text));
    else if (text.startsWith("T")) this.#readTable(TABLE.exec(text));
    else this.#readComment(text);
  }

  #readComment(text: string): void {
    const register = REGISTER.exec(text);
    if (register) {
      this.#registers.set(register[1] as string, BigInt(register[2] as string));
      return;
    }
    const vttbr = LAST_VTTBR.exec(text);
    const geometry = GEOMETRY.exec(text);
    const totals = TOTALS.exec(text);
    const title = TITLE.exec(text);
    if (title) this.#title = title;
    else if (vttbr) this.#lastVttbr = BigInt(vttbr[1] as string);
    else if (geometry) this.#readGeometry(geometry);
    else if (totals) this.#readTotals(Number(totals[1]), Number(totals[2]));
    else if (!text.startsWith("#")) this.#fail("a comment, TABLE or a descriptor");
  }

  #readGeometry(m: RegExpExecArray): void {
    const [granule, iaBits, startLevel, rootEntries, rootPa, ds] = m.slice(1).map(Number) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    if (this.#geometry) this.#fail("one line of geometry");
    if (![4096, 16384, 65536].includes(granule)) this.#fail("a granule of 4096, 16384 or 65536");
    if (iaBits < 25 || iaBits > 52) this.#fail("25 to 52 bits of input address");
    if (startLevel < -1 || startLevel > K.LAST_LEVEL) this.#fail("a start level of -1 to 3");
    if (rootEntries !== 2 ** (iaBits - shiftOf(granule, startLevel))) {
      this.#fail("as many root entries as the start level needs");
    }
    if (rootEntries > 2 ** K.CONCATENATED_BITS * entriesOf(Math.log2(granule)))
      this.#fail("at most 16 concatenated tables");
    if (rootPa % granule !== 0) this.#fail("a root that is aligned to the granule");
    this.#geometry = { granule, iaBits, startLevel, rootEntries, rootPa, ds: ds === 1 };
  }

  #readTable(m: RegExpExecArray | null): void {
    if (!m) this.#fail("TABLE level=N pa=0x.. ipa=0x.. entries=N");
    const geometry = this.#geometry ?? this.#fail("the geometry before the first table");
    this.#close();
    const [level, pa, ipa, entries] = m.slice(1).map(Number) as [number, number, number, number];
    if (this.#tables.length === 0) {
      this.#checkRoot(level, pa, ipa, entries, geometry);
    } else {
      if (this.#announced.get(`${level} ${ipa}`) !== pa) {
        this.#fail("a table that a descriptor before it points to");
      }
      this.#announced.delete(`${level} ${ipa}`);
      const whole = entriesOf(Math.log2(geometry.granule));
      if (entries !== whole) this.#fail(`entries=${whole}`);
    }
    this.#open = { level, pa, ipa, entries, indices: [], descriptors: [] };
  }

  #checkRoot(level: number, pa: number, ipa: number, entries: number, g: S2Geometry): void {
    const fits = level === g.startLevel && pa === g.rootPa && ipa === 0 && entries === g.rootEntries;
    if (!fits) this.#fail("the root table first, as the geometry says");
  }

  #readEntry(m: RegExpExecArray | null): void {
    if (!m) this.#fail("an index and a descriptor of 16 digits");
    const geometry = this.#geometry as S2Geometry;
    const table = this.#open ?? this.#fail("a TABLE line before the first descriptor");
    const index = Number(m[1]);
    const descriptor = BigInt(m[2] as string);
    if (index >= table.entries) this.#fail(`an index below ${table.entries}`);
    if (index <= (table.indices.at(-1) ?? -1)) this.#fail("ascending indices");
    if (descriptor === 0n) this.#fail("a descriptor that is not zero");
    table.indices.push(index);
    table.descriptors.push(descriptor);
    this.#entries++;
    if (!isTable(descriptor, table.level)) return;
    const ipa = table.ipa + index * 2 ** shiftOf(geometry.granule, table.level);
    this.#announced.set(`${table.level + 1} ${ipa}`, nextTable(descriptor, geometry));
  }

  #close(): void {
    const table = this.#open;
    this.#open = undefined;
    if (!table) return;
    const { level, pa, ipa, entries } = table;
    const indices = Uint32Array.from(table.indices);
    const descriptors = BigUint64Array.from(table.descriptors);
    this.#tables.push({ level, pa, ipa, entries, indices, descriptors });
  }

  /** The last line says how much there was: a file cut short lacks it. */
  #readTotals(tables: number, entries: number): void {
    this.#close();
    if (tables !== this.#tables.length) this.#fail(`tables=${this.#tables.length}`);
    if (entries !== this.#entries) this.#fail(`nonzero_entries=${this.#entries}`);
    if (this.#announced.size > 0) this.#fail("every table that a descriptor points to");
    this.#ended = true;
  }

  finish(fileName: string): S2RawDump {
    if (!this.#ended) this.#fail("the totals at the end: the file is cut short");
    const title = this.#title ?? this.#fail("a title that names the freeze point");
    const geometry = this.#geometry ?? this.#fail("a line of geometry");
    if (this.#tables.length === 0) this.#fail("a root table");
    const cpu = FILE_NAME.exec(fileName)?.[1];
    const tables = this.#tables;
    return {
      scenario: title[1] as string,
      point: title[2] as string,
      cpu: cpu === undefined ? undefined : Number(cpu),
      registers: this.#registers,
      lastVttbr: this.#lastVttbr,
      geometry,
      tables,
      leaves: () => leavesOf(tables, geometry.granule),
    };
  }
}

function* leavesOf(tables: readonly S2RawTable[], granule: number): Generator<S2RawLeaf, void, undefined> {
  const places = new Map(tables.map((table) => [`${table.level} ${table.ipa}`, table]));
  yield* walk(tables[0] as S2RawTable);

  function* walk(table: S2RawTable): Generator<S2RawLeaf, void, undefined> {
    const { level, indices, descriptors } = table;
    const span = 2 ** shiftOf(granule, level);
    for (let i = 0; i < indices.length; i++) {
      const ipa = table.ipa + (indices[i] as number) * span;
      const descriptor = descriptors[i] as bigint;
      // The reader made sure that each table descriptor has its table.
      if (isTable(descriptor, level)) yield* walk(places.get(`${level + 1} ${ipa}`) as S2RawTable);
      else yield { ipa, level, descriptor };
    }
  }
}

/**
 * Tells whether a leaf translates: bit 0 of its descriptor.
 *
 * @example
 * ```ts
 * import { isValidLeaf } from "granule/trace";
 *
 * console.log(isValidLeaf({ ipa: 0, level: 3, descriptor: 0x400n })); // false
 * ```
 */
export function isValidLeaf(leaf: S2RawLeaf): boolean {
  return (leaf.descriptor & K.VALID) !== 0n;
}

/**
 * Parses a dump of raw stage-2 tables. What it checks: the geometry fits together, the root comes
 * first and is the one named, each table is where a descriptor before it points, indices ascend
 * and are in range, and the totals at the end agree.
 *
 * @param text - the whole file
 * @param fileName - its name or path, which tells the CPU
 * @throws {@link S2RawError} at the first line that does not fit
 * @example
 * ```ts
 * import { parseS2Raw } from "granule/trace";
 *
 * const dump = parseS2Raw(`# raw stage-2 tables of a VM at freeze point demo.start
 * # granule=4096 ia_bits=30 start_level=2 root_entries=512 root_pa=0x1000 DS=0
 * TABLE level=2 pa=0x1000 ipa=0x0 entries=512
 *   1 0x00400000400007fd
 * # tables=1 nonzero_entries=1
 * `);
 * for (const leaf of dump.leaves()) console.log(leaf.ipa.toString(16)); // "200000"
 * ```
 */
export function parseS2Raw(text: string, fileName = ""): S2RawDump {
  const reader = new S2RawReader();
  reader.read(text);
  return reader.finish(fileName);
}

/**
 * Reads a dump of raw stage-2 tables, gzipped or not: {@link parseS2Raw} for a stream.
 *
 * @throws {@link S2RawError}, and TraceInputError on damaged gzip data
 * @example
 * ```ts
 * import { openFile, readS2Raw } from "granule/trace/node";
 *
 * async function leavesIn(path: string): Promise<number> {
 *   const dump = await readS2Raw(openFile(path), path);
 *   return [...dump.leaves()].length;
 * }
 * ```
 */
export async function readS2Raw(source: ByteSource, fileName = ""): Promise<S2RawDump> {
  const reader = new S2RawReader();
  // A block ends with a line end: without it, split() would see one more, empty line.
  for await (const block of readBlocks(source)) {
    reader.read(block.endsWith("\n") ? block.slice(0, -1) : block);
  }
  return reader.finish(fileName);
}
