/// <reference lib="esnext.disposable" preserve="true" />
// Types of the platform in public signatures, for projects that have neither the DOM's nor Node's: each is the platform's
// own where the project knows it, and otherwise as much of it as a caller of this library needs. `Disposable` and
// `Symbol.dispose` come with the reference above.

/** The instance type of a global class; `Otherwise` where the project does not know the class. */
type GlobalClass<Name extends string, Otherwise> = typeof globalThis extends {
  [name in Name]: { prototype: infer Instance };
}
  ? Instance
  : Otherwise;

/** The instance type of a class of the global `WebAssembly`. */
type WasmClass<Name extends string, Otherwise> = typeof globalThis extends {
  WebAssembly: { [name in Name]: { prototype: infer Instance } };
}
  ? Instance
  : Otherwise;

/** A `WebAssembly.Memory`. */
export type WasmMemory = WasmClass<"Memory", { readonly buffer: ArrayBuffer }>;
/** A compiled `WebAssembly.Module`. */
export type WasmModule = WasmClass<"Module", object>;
/** An `AbortSignal`. */
export type Signal = GlobalClass<
  "AbortSignal",
  {
    readonly aborted: boolean;
    readonly reason: unknown;
    addEventListener(type: "abort", listener: () => void): void;
    removeEventListener(type: "abort", listener: () => void): void;
  }
>;
/** A `URL`. */
export type Url = GlobalClass<"URL", { readonly href: string }>;
/** A `ReadableStream` of bytes. */
export type ByteStream = GlobalClass<
  "ReadableStream",
  { getReader(): { read(): Promise<{ done: boolean; value?: Uint8Array }>; cancel(): Promise<void> } }
>;
