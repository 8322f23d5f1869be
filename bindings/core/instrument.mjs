// Rewrites a compiled module so that every access to memory is first said to the functions of assembly/memory/schedule.ts,
// and makes every stack that may reach `explore.access` one that can be put aside (Binaryen's asyncify).

import binaryen from "binaryen";

const [I32, I64, F32, F64, V128] = [0x7f, 0x7e, 0x7d, 0x7c, 0x7b];
const [ATOMIC, VECTOR, BULK] = [0xfe, 0xfd, 0xfc];
const COPY = 10;
const FILL = 11;
/** Functions of this file are left as they are. */
const OBSERVER = "assembly/memory/schedule/";

/** Kinds of accesses, and the function that each is said to. */
export const KINDS = {
  load: "beforeLoad",
  store: "beforeStore",
  "atomic load": "beforeAtomicLoad",
  "atomic store": "beforeAtomicStore",
  exchange: "beforeAtomicStore",
  wait: "beforeWait",
  fill: "beforeFill",
  copy: "beforeFill",
};

function uleb(n) {
  const bytes = [];
  do {
    const low = n & 0x7f;
    n >>>= 7;
    bytes.push(n ? low | 0x80 : low);
  } while (n);
  return bytes;
}

function sleb(n) {
  const bytes = [];
  for (;;) {
    const low = n & 0x7f;
    n >>= 7;
    if ((n === 0 && !(low & 0x40)) || (n === -1 && low & 0x40)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

class Reader {
  constructor(bytes, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }
  byte() {
    return this.bytes[this.at++];
  }
  u() {
    let value = 0;
    for (let shift = 0, byte = 0x80; byte & 0x80; shift += 7) {
      byte = this.byte();
      value |= (byte & 0x7f) << shift;
    }
    return value >>> 0;
  }
  skip(n = 1) {
    for (; n > 0; n--) while (this.byte() & 0x80);
  }
  text() {
    const size = this.u();
    this.at += size;
    return new TextDecoder().decode(this.bytes.subarray(this.at - size, this.at));
  }
}

const LOADS = [
  [I32, 2], [I64, 3], [F32, 2], [F64, 3], [I32, 0], [I32, 0], [I32, 1], [I32, 1], [I64, 0], [I64, 0], [I64, 1], [I64, 1], [I64, 2], [I64, 2],
]; // biome-ignore format: a table
const STORES = [
  [I32, 2],
  [I64, 3],
  [F32, 2],
  [F64, 3],
  [I32, 0],
  [I32, 1],
  [I64, 0],
  [I64, 1],
  [I64, 2],
];
const WIDTHS = [
  [I32, 2],
  [I64, 3],
  [I32, 0],
  [I32, 1],
  [I64, 0],
  [I64, 1],
  [I64, 2],
];

/** An access: its kind, log2 of its bytes, the types that it takes after the pointer, and of its result. */
const access = (kind, log2, takes, gives) => ({ kind, log2, takes, gives });

function plainAccess(op) {
  if (op < 0x36) {
    const [type, log2] = LOADS[op - 0x28];
    return access("load", log2, [], type);
  }
  const [type, log2] = STORES[op - 0x36];
  return access("store", log2, [type], 0);
}

function atomicAccess(op) {
  if (op === 0) return access("notify", 2, [I32], I32);
  if (op === 1) return access("wait", 2, [I32, I64], I32);
  if (op >= 0x10 && op <= 0x16) return access("atomic load", WIDTHS[op - 0x10][1], [], WIDTHS[op - 0x10][0]);
  if (op >= 0x17 && op <= 0x1d) return access("atomic store", WIDTHS[op - 0x17][1], [WIDTHS[op - 0x17][0]], 0);
  const [type, log2] = WIDTHS[(op - 0x1e) % 7];
  return access("exchange", log2, op >= 0x48 ? [type, type] : [type], type);
}

function vectorAccess(op) {
  if (op === 0) return access("load", 4, [], V128);
  if (op === 11) return access("store", 4, [V128], 0);
  throw new Error(`vector access ${op} has no instrumentation`);
}

/** Steps over one instruction; the access that it is, if it is one. */
function instruction(code) {
  const op = code.byte();
  if (op >= 0x28 && op <= 0x3e) return { prefix: 0, op, ...memarg(code), what: plainAccess(op) };
  if (op === 0x02 || op === 0x03 || op === 0x04) code.skip();
  else if (op === 0x0c || op === 0x0d || op === 0x10 || (op >= 0x20 && op <= 0x26) || op === 0xd2) code.skip();
  else if (op === 0x0e) code.skip(code.u() + 1);
  else if (op === 0x11) code.skip(2);
  else if (op === 0x1c) code.skip(code.u());
  else if (op === 0x3f || op === 0x40 || op === 0xd0) code.byte();
  else if (op === 0x41 || op === 0x42) code.skip();
  else if (op === 0x43) code.at += 4;
  else if (op === 0x44) code.at += 8;
  else if (op === BULK) return bulk(code);
  else if (op === VECTOR) return vector(code);
  else if (op === ATOMIC) return atomic(code);
  return undefined;
}

function memarg(code) {
  code.u();
  return { offset: code.u() };
}

function bulk(code) {
  const op = code.u();
  if (op === FILL) {
    code.u();
    return { prefix: BULK, op, offset: 0, what: access("fill", 0, [I32, I32], 0) };
  }
  if (op === COPY) {
    code.u();
    code.u();
    return { prefix: BULK, op, offset: 0, what: access("copy", 0, [I32, I32], 0) }; // what it reads is not told
  }
  if (op > 7) throw new Error(`bulk instruction ${op} has no instrumentation`);
  return undefined;
}

function vector(code) {
  const op = code.u();
  if (op <= 11 || op === 0x5c || op === 0x5d) return { prefix: VECTOR, op, ...memarg(code), what: vectorAccess(op) };
  if (op === 12 || op === 13) code.at += 16;
  else if (op >= 0x15 && op <= 0x22) code.byte();
  else if (op >= 0x54 && op <= 0x5b) throw new Error("lane accesses have no instrumentation");
  return undefined;
}

function atomic(code) {
  const op = code.u();
  if (op !== 3) return { prefix: ATOMIC, op, ...memarg(code), what: atomicAccess(op) };
  code.byte();
  return undefined;
}

function sectionsOf(bytes) {
  const reader = new Reader(bytes, 8),
    found = [];
  while (reader.at < bytes.length) {
    const id = reader.byte(),
      size = reader.u(),
      start = reader.at;
    found.push({ id, start, data: bytes.subarray(start, start + size) });
    reader.at = start + size;
  }
  return found;
}

/** Names of functions, by index. */
function namesOf(sections) {
  const names = new Map();
  for (const { id, data } of sections) {
    const reader = new Reader(data);
    if (id !== 0 || reader.text() !== "name") continue;
    while (reader.at < data.length) {
      const kind = reader.byte(),
        end = reader.u() + reader.at;
      if (kind === 1) for (let n = reader.u(); n > 0; n--) names.set(reader.u(), reader.text());
      reader.at = end;
    }
  }
  return names;
}

/** Reads the imports; `memoryFlags` is where the flags of the memory lie in the section. */
function importsOf(data) {
  const reader = new Reader(data);
  let functions = 0,
    memoryFlags = -1;
  for (let n = reader.u(); n > 0; n--) {
    reader.text();
    reader.text();
    const kind = reader.byte();
    if (kind === 0) {
      reader.u();
      functions++;
    } else if (kind === 2) {
      memoryFlags = reader.at;
      if (reader.u() & 1) reader.u();
      reader.u();
    } else if (kind === 3) {
      reader.at += 2;
    } else throw new Error(`import of kind ${kind}`);
  }
  return { functions, memoryFlags };
}

function exportsOf(data) {
  const reader = new Reader(data),
    found = new Map();
  for (let n = reader.u(); n > 0; n--) {
    const name = reader.text();
    reader.byte();
    found.set(name, reader.u());
  }
  return found;
}

/** The functions that stand for accesses: each says what is about to happen, and then does it. */
class Wrappers {
  types = [];
  functions = [];
  bodies = [];
  #known = new Map();

  constructor(firstType, firstFunction, observers) {
    this.firstType = firstType;
    this.firstFunction = firstFunction;
    this.observers = observers;
  }

  /** Index of the function for `found`. */
  of({ prefix, op, what }) {
    const key = prefix * 256 + op,
      had = this.#known.get(key);
    if (had !== undefined) return had;
    const params = [I32, ...what.takes, I32, I32];
    this.types.push([0x60, ...uleb(params.length), ...params, ...(what.gives ? [1, what.gives] : [0])]);
    this.functions.push(uleb(this.firstType + this.types.length - 1));
    const body = [0, ...this.#say(what), ...this.#perform(prefix, op, what), 0x0b];
    this.bodies.push([...uleb(body.length), ...body]);
    const index = this.firstFunction + this.functions.length - 1;
    this.#known.set(key, index);
    return index;
  }

  /** Parameters: pointer, what the access takes, offset, site. */
  #say({ kind, takes }) {
    const offset = takes.length + 1,
      site = offset + 1,
      pointer = [0x20, 0, 0x20, offset, 0x6a, 0x21, 0];
    if (kind === "notify") return [];
    const third = kind === "wait" ? [0x20, 1] : kind === "fill" || kind === "copy" ? [0x20, 2] : [];
    return [...pointer, 0x20, site, 0x20, 0, ...third, 0x10, ...uleb(this.observers[KINDS[kind]])];
  }

  #perform(prefix, op, { kind, takes, log2 }) {
    if (kind === "wait" || kind === "notify") return [0x41, 0];
    const values = takes.flatMap((_, i) => [0x20, 1 + i]);
    if (kind === "fill") return [0x20, 0, ...values, BULK, FILL, 0];
    if (kind === "copy") return [0x20, 0, ...values, BULK, COPY, 0, 0];
    const code = prefix ? [prefix, ...uleb(op)] : [op];
    return [0x20, 0, ...values, ...code, prefix === ATOMIC ? log2 : 0, 0];
  }
}

const section = (id, data) => Buffer.concat([Buffer.from([id, ...uleb(data.length)]), data]);

/** Rewrites the bodies of all functions; `sites` collects what was replaced. */
function rewriteCode(code, imported, names, wrappers, sites) {
  const reader = new Reader(code.data),
    bodies = [];
  for (let n = reader.u(), f = imported; n > 0; n--, f++) {
    const size = reader.u(),
      end = reader.at + size,
      name = names.get(f) ?? `function ${f}`;
    const own = name.startsWith(OBSERVER),
      parts = [];
    let from = reader.at;
    for (let groups = reader.u(); groups > 0; groups--) {
      reader.u();
      reader.byte();
    }
    while (reader.at < end) {
      const start = reader.at,
        found = instruction(reader);
      if (found === undefined || own) continue;
      const { kind, log2 } = found.what;
      const call = [0x41, ...sleb(found.offset | 0), 0x41, ...sleb(sites.length), 0x10, ...uleb(wrappers.of(found))];
      sites.push({ kind, bytes: 1 << log2, name, offset: code.start + start });
      parts.push(code.data.subarray(from, start), Buffer.from(call));
      from = reader.at;
    }
    parts.push(code.data.subarray(from, end));
    const body = Buffer.concat(parts);
    bodies.push(Buffer.from(uleb(body.length)), body);
  }
  return bodies;
}

/**
 * The module with every access said first, on a memory that is not shared: all its instances are on one thread.
 * `sites`: the accesses, by the number that the functions of memory/schedule.ts are given.
 */
export function instrument(bytes) {
  const sections = sectionsOf(bytes),
    get = (id) => sections.find((s) => s.id === id);
  const names = namesOf(sections),
    exported = exportsOf(get(7).data),
    imports = importsOf(get(2).data);
  const observers = Object.fromEntries(Object.values(KINDS).map((name) => [name, exported.get(name)]));
  const types = new Reader(get(1).data),
    typeCount = types.u(),
    functions = new Reader(get(3).data),
    functionCount = functions.u();
  const wrappers = new Wrappers(typeCount, imports.functions + functionCount, observers),
    sites = [];
  const bodies = rewriteCode(get(10), imports.functions, names, wrappers, sites);
  const counted = (n, ...parts) => Buffer.concat([Buffer.from(uleb(n)), ...parts]);
  const replaced = new Map([
    [1, counted(typeCount + wrappers.types.length, get(1).data.subarray(types.at), Buffer.from(wrappers.types.flat()))],
    [2, unshared(get(2).data, imports.memoryFlags)],
    [
      3,
      counted(
        functionCount + wrappers.functions.length,
        get(3).data.subarray(functions.at),
        Buffer.from(wrappers.functions.flat()),
      ),
    ],
    [10, counted(functionCount + wrappers.bodies.length, ...bodies, Buffer.from(wrappers.bodies.flat()))],
  ]);
  const kept = sections.filter(({ id, data }) => id !== 0 || new Reader(data).text() === "name");
  const out = [bytes.subarray(0, 8), ...kept.map(({ id, data }) => section(id, replaced.get(id) ?? data))];
  return { bytes: Buffer.concat(out), sites };
}

function unshared(data, flagsAt) {
  const copy = Buffer.from(data);
  copy[flagsAt] &= ~2;
  return copy;
}

/** Makes every stack that may reach `explore.access` one that can be put aside. */
export function asyncify(bytes) {
  const module = binaryen.readBinary(bytes),
    f = binaryen.Features;
  module.setFeatures(
    f.Atomics | f.BulkMemory | f.BulkMemoryOpt | f.SIMD128 | f.MutableGlobals | f.SignExt | f.NontrappingFPToInt,
  );
  binaryen.setPassArgument("asyncify-imports", "explore.access");
  binaryen.setPassArgument("asyncify-ignore-indirect", "true");
  binaryen.setOptimizeLevel(2);
  binaryen.setShrinkLevel(0);
  module.runPasses(["asyncify"]);
  module.optimize();
  module.runPasses(["strip"]);
  if (!module.validate()) throw new Error("the explore build is not valid");
  const done = module.emitBinary();
  module.dispose();
  return done;
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

function decodeSegment(segment) {
  const values = [];
  let shift = 0,
    n = 0;
  for (const digit of segment) {
    const bits = DIGITS.indexOf(digit);
    n |= (bits & 31) << shift;
    shift += 5;
    if (bits & 32) continue;
    values.push(n & 1 ? -(n >>> 1) : n >>> 1);
    n = 0;
    shift = 0;
  }
  return values;
}

/** The source line, as `path:line`, of a byte of the module that the source map `text` belongs to. */
export function linesOf(text) {
  const { sources, mappings } = JSON.parse(text),
    rows = [];
  let at = 0,
    source = 0,
    line = 0;
  for (const segment of mappings.split(/[,;]/)) {
    const [step, ...rest] = decodeSegment(segment);
    at += step ?? 0;
    source += rest[0] ?? 0;
    line += rest[1] ?? 0;
    rows.push([at, source, line]);
  }
  return (offset) => {
    let low = 0,
      high = rows.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (rows[middle][0] <= offset) low = middle;
      else high = middle - 1;
    }
    const [, s, l] = rows[low];
    return `${sources[s]}:${l + 1}`;
  };
}
