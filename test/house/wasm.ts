// Reads the sections of a Wasm module: enough to say what it holds and what it asks for.

/** An import, `module.name`; a memory comes with its limits. */
export interface WasmImport {
  readonly name: string;
  readonly kind: string;
  readonly flags?: number;
  readonly initial?: number;
  readonly maximum?: number;
}

/** What a module consists of. */
export interface WasmModule {
  readonly sections: readonly string[];
  readonly customs: readonly string[];
  readonly imports: readonly WasmImport[];
  readonly exports: readonly { readonly name: string; readonly kind: string }[];
}

const SECTIONS = [
  "custom",
  "type",
  "import",
  "function",
  "table",
  "memory",
  "global",
  "export",
  "start",
  "element",
  "code",
  "data",
  "datacount",
];
const KINDS = ["function", "table", "memory", "global"];
const HAS_MAXIMUM = 1;

class Reader {
  #at: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  byte(): number {
    const value = this.#bytes[this.#at++];
    if (value === undefined) throw new Error("the module ends in the middle");
    return value;
  }

  /** LEB128, unsigned. */
  number(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  name(): string {
    const length = this.number();
    const start = this.#at;
    this.#at += length;
    return new TextDecoder().decode(this.#bytes.subarray(start, this.#at));
  }

  pass(bytes: number): void {
    this.#at += bytes;
  }

  limits(): { flags: number; initial: number; maximum?: number } {
    const flags = this.byte();
    const initial = this.number();
    return flags & HAS_MAXIMUM ? { flags, initial, maximum: this.number() } : { flags, initial };
  }
}

function readImport(reader: Reader): WasmImport {
  const name = `${reader.name()}.${reader.name()}`;
  const kind = KINDS[reader.byte()] ?? "unknown";
  if (kind === "memory") return { name, kind, ...reader.limits() };
  if (kind === "function") reader.number();
  else if (kind === "global") reader.pass(2);
  else throw new Error(`import ${name}: ${kind} is not expected`);
  return { name, kind };
}

function list<T>(reader: Reader, read: (reader: Reader) => T): T[] {
  return Array.from({ length: reader.number() }, () => read(reader));
}

/** Scans a module; throws if it is none. */
export function readModule(bytes: Uint8Array): WasmModule {
  const reader = new Reader(bytes);
  if ([...bytes.subarray(0, 8)].join() !== "0,97,115,109,1,0,0,0") throw new Error("not a Wasm module");
  reader.pass(8);
  const found: {
    sections: string[];
    customs: string[];
    imports: WasmImport[];
    exports: { name: string; kind: string }[];
  } = { sections: [], customs: [], imports: [], exports: [] };
  while (reader.at < bytes.length) {
    const section = SECTIONS[reader.byte()] ?? "unknown";
    const size = reader.number();
    const body = new Reader(bytes, reader.at);
    found.sections.push(section);
    if (section === "custom") found.customs.push(body.name());
    if (section === "import") found.imports = list(body, readImport);
    if (section === "export") {
      found.exports = list(body, (at) => {
        const exported = { name: at.name(), kind: KINDS[at.byte()] ?? "unknown" };
        at.number();
        return exported;
      });
    }
    reader.pass(size);
  }
  return found;
}
