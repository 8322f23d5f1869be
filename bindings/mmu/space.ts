import { invalid } from "../core/errors.js";
import type { WasmMemory } from "../core/platform.js";
import { type PaLike, toAddress } from "../model/address.js";
import type { Engine } from "../tables/engine.js";

/** Where a walker works: a memory, the physical window in it, and room for what the walker itself keeps. */
export interface Space {
  readonly memory: WasmMemory;
  readonly physBase: bigint;
  readonly pointer: number;
  readonly bytes: number;
  /** Zeroed, 8-byte aligned. */
  take(bytes: number): number;
  give(pointer: number): void;
}

/** The arena of an engine. */
export function engineSpace(engine: Engine): Space {
  return {
    memory: engine.memory,
    physBase: engine.physBase,
    pointer: engine.arenaPointer,
    bytes: engine.arenaBytes,
    take: (bytes) => engine.takeBlock(bytes),
    give: (pointer) => {
      if (!engine.closed) engine.giveBlock(pointer);
    },
  };
}

const WASM_PAGE = 65536;
const MAX_PAGES = 65536;

/** A memory of its own that begins with a copy of `image`; what the walker keeps lies behind it. */
export function imageSpace(image: Uint8Array, base: PaLike): Space {
  const physBase = toAddress(base, "createMmu");
  if (physBase % 8n !== 0n) throw invalid("createMmu", "physBase must be 8-byte aligned");
  // The first page stays empty: pointer 0 is none.
  const pages = 1 + Math.ceil(image.length / WASM_PAGE);
  if (pages >= MAX_PAGES) throw invalid("createMmu", "an image must be smaller than 4 GiB");
  const memory = new WebAssembly.Memory({ initial: pages, maximum: MAX_PAGES, shared: true });
  new Uint8Array(memory.buffer, WASM_PAGE, image.length).set(image);
  return {
    memory,
    physBase,
    pointer: WASM_PAGE,
    bytes: image.length,
    take: (bytes) => memory.grow(Math.ceil(bytes / WASM_PAGE)) * WASM_PAGE,
    give: () => {},
  };
}
