import { EINVAL, EPERM } from "./constants.generated.js";
import { GranuleError, invalid } from "./errors.js";
import type { Core, Host } from "./interfaces.generated.js";
import type { WasmMemory, WasmModule } from "./platform.js";

export type { AuditCore, Core, Host, MmuCore, VmCore } from "./interfaces.generated.js";

/** What a core can be made of: compiled, or its bytes. */
export type CoreSource = WasmModule | Uint8Array | ArrayBuffer;

/** @internal Bytes of a base64 text; present in browsers, workers and Node alike. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** The shortest module that there is. */
const EMPTY_MODULE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

const NO_WASM = "there is no WebAssembly here";
const FORBIDDEN =
  "WebAssembly may not be compiled here: the response header Content-Security-Policy (or its meta element) needs " +
  "'wasm-unsafe-eval' in script-src";
const NO_CORE =
  "the core does not compile: its bytes are not a granule core, or there are no WebAssembly threads and SIMD here";

/** Why not even an empty module compiles here, and what to do; undefined if one does. */
export function wasmRefusal(): string | undefined {
  if (typeof WebAssembly !== "object") return NO_WASM;
  try {
    new WebAssembly.Module(EMPTY_MODULE);
    return undefined;
  } catch {
    return FORBIDDEN; // no other reason is left for bytes that are right
  }
}

/** A compiled core. EPERM where no Wasm may be compiled; EINVAL for bytes that are no core. */
export function compile(source: CoreSource, operation: string): WasmModule {
  if (typeof WebAssembly === "object" && source instanceof WebAssembly.Module) return source;
  try {
    return new WebAssembly.Module(source as BufferSource);
  } catch (cause) {
    const refusal = wasmRefusal();
    throw new GranuleError(refusal ? EPERM : EINVAL, { operation, hint: refusal ?? NO_CORE, cause });
  }
}

const WRONG_MODULE =
  "this module is another one: granule.wasm is for engines, mmu.wasm for MMUs, audit.wasm for judges";

/** The debug core calls this where an assertion of the compiler fails: the line is all that it can say. */
function abort(_message: number, _file: number, line: number, column: number): never {
  throw new Error(`assertion failed in the core, line ${line}:${column} (see the stack)`);
}

/**
 * An instance of `module` on `memory`. `T` is the interface that bindings/core/generate.mjs writes for the module, and `known`
 * an export that tells it from the others; `base` is where its engine begins, `more` what it imports beside "env" and "host".
 * EINVAL for another module.
 */
export function instantiateModule<T>(
  module: WasmModule,
  memory: WasmMemory,
  known: keyof T & string,
  host: object = {},
  base = 0,
  more: Readonly<Record<string, object>> = {},
): T {
  let instance: WebAssembly.Instance | undefined;
  let cause: unknown;
  try {
    instance = new WebAssembly.Instance(module, {
      env: { memory, base, abort },
      host: { ...host },
      ...(more as WebAssembly.Imports),
    });
  } catch (error) {
    if (!(error instanceof WebAssembly.LinkError)) throw error;
    cause = error; // it imports what this one does not
  }
  if (typeof instance?.exports[known] === "function") return instance.exports as unknown as T;
  throw Object.assign(invalid("instantiate", WRONG_MODULE), { cause });
}

/** One instance of the core, for the engine at `base` of `memory`. */
export function instantiate<T = Core>(
  module: WasmModule,
  memory: WasmMemory,
  base: number,
  host: Host,
  known: keyof T & string = "createStage2" as keyof T & string,
): T {
  // Looked up at each call, so that a test can put a function of its own in its place.
  const point = (kind: number, pointer: number) => host.point(kind, pointer >>> 0);
  const clock = () => host.clock();
  return instantiateModule<T>(module, memory, known, { ...host, point, clock }, base);
}
