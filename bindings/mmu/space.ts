import { checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { GranuleError, invalid } from "../core/errors.js";
import type { WasmMemory } from "../core/platform.js";
import { type PaLike, toAddress } from "../model/address.js";
import type { Engine } from "../tables/engine.js";
import { assertFree, checkMemory, checkPlace, mark, PAGE, type Place, unmark } from "../tables/place.js";

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

/** A window of a memory, as options name it. */
export interface Window {
  physBase?: PaLike | undefined;
  offset?: number | undefined;
  bytes?: number | undefined;
}

const WORD = 8;
const MAX_WINDOW = 2 ** 32 - WORD;
const PLACE: OptionKinds<Place> = { offset: "number", bytes: "number" };

/** The window that options name; EINVAL for one that is not in the memory. */
function windowOf(memory: WasmMemory, { offset = 0, bytes }: Window, physBase: bigint): Omit<Space, "take" | "give"> {
  const rest = Math.min(memory.buffer.byteLength - offset, MAX_WINDOW);
  const place = checkPlace("createMmu", memory, { offset, bytes: bytes ?? rest }, WORD);
  if (place.bytes > MAX_WINDOW) throw invalid("createMmu", `bytes ${place.bytes}: a window is smaller than 4 GiB`);
  if (physBase < 0n || physBase % BigInt(WORD)) {
    throw invalid("createMmu", `physBase ${physBase} is not the address of the window's first byte: a multiple of 8`);
  }
  return { memory, physBase, pointer: place.offset, bytes: place.bytes };
}

/** The arena of an engine, or a window of the memory that the engine lies in; records are blocks of the arena. */
export function engineSpace(engine: Engine, window: Window): Space {
  const { memory, physBase, arenaPointer, arenaBytes } = engine;
  const whole = window.offset === undefined;
  if (whole && (window.bytes !== undefined || window.physBase !== undefined)) {
    throw invalid("createMmu", "bytes and physBase are those of a window of the engine's memory: give its offset too");
  }
  // Unless the options say otherwise, the physical address of every byte is as far from the arena's as its pointer.
  const start = physBase - BigInt(arenaPointer - (window.offset ?? 0));
  return {
    ...(whole
      ? { memory, physBase, pointer: arenaPointer, bytes: arenaBytes }
      : windowOf(memory, window, window.physBase === undefined ? start : toAddress(window.physBase, "createMmu"))),
    take: (bytes) => engine.takeBlock(bytes),
    give: (pointer) => {
      if (!engine.closed) engine.giveBlock(pointer);
    },
  };
}

/** A window of a caller's memory, in place; records lie in the range `scratch` of the same memory. */
export function memorySpace(memory: WasmMemory, scratch: Place | undefined, window: Window): Space {
  checkMemory("createMmu", memory);
  if (scratch === undefined) {
    throw invalid(
      "createMmu",
      "`memory` needs `scratch`: { offset, bytes } of the same memory, for the MMU's own records",
    );
  }
  const place = checkPlace("createMmu", memory, checkOptions("createMmu", scratch, PLACE), PAGE, "scratch: ");
  if (place.bytes === 0) throw invalid("createMmu", "scratch: bytes 0 is too few: 65536 hold an MMU and a small TLB");
  return {
    ...windowOf(memory, window, toAddress(window.physBase ?? 0, "createMmu")),
    ...new Scratch(memory, place).asRoom(),
  };
}

/** Bytes at the start of a scratch range that say that it is in use. */
const MARK_BYTES = K.HEADER_BYTES;

/** Blocks of a range: the first gap that is large enough. A range in use is marked, so that nothing else is laid over it. */
class Scratch {
  readonly #memory: WasmMemory;
  readonly #place: Place;
  /** Blocks that are taken: pointer and end, in order. */
  #blocks: [from: number, to: number][] = [];

  constructor(memory: WasmMemory, place: Place) {
    this.#memory = memory;
    this.#place = place;
  }

  asRoom(): Pick<Space, "take" | "give"> {
    return { take: (bytes) => this.#take(bytes), give: (pointer) => this.#give(pointer) };
  }

  #take(bytes: number): number {
    const { offset, bytes: room } = this.#place;
    const size = Math.ceil(bytes / WORD) * WORD;
    let at = offset + MARK_BYTES;
    let i = 0;
    for (; i < this.#blocks.length && (this.#blocks[i] as [number, number])[0] - at < size; i++) {
      at = (this.#blocks[i] as [number, number])[1];
    }
    if (at + size > offset + room) {
      const hint = `scratch of ${room} bytes has no ${size} bytes left: close what is not needed, or give a larger range`;
      throw new GranuleError(K.ENOMEM, { operation: "createMmu", hint });
    }
    if (this.#blocks.length === 0) {
      assertFree("createMmu", this.#memory, this.#place);
      new Uint8Array(this.#memory.buffer, offset, MARK_BYTES).fill(0);
      mark(this.#memory, this.#place);
    }
    this.#blocks.splice(i, 0, [at, at + size]);
    new Uint8Array(this.#memory.buffer, at, size).fill(0);
    return at;
  }

  #give(pointer: number): void {
    this.#blocks = this.#blocks.filter(([from]) => from !== pointer);
    if (this.#blocks.length === 0) unmark(this.#memory, this.#place);
  }
}

const MAX_PAGES = 65536;

/** A memory of its own that begins with a copy of `image`; what the walker keeps lies behind it. */
export function imageSpace(image: Uint8Array, base: PaLike): Space {
  const physBase = toAddress(base, "createMmu");
  if (physBase % 8n !== 0n) throw invalid("createMmu", "physBase must be 8-byte aligned");
  const pages = Math.ceil(image.length / PAGE);
  if (pages + 1 >= MAX_PAGES) throw invalid("createMmu", "an image must be smaller than 4 GiB");
  const memory = new WebAssembly.Memory({ initial: Math.max(1, pages), maximum: MAX_PAGES, shared: true });
  new Uint8Array(memory.buffer, 0, image.length).set(image);
  return {
    memory,
    physBase,
    pointer: 0,
    bytes: image.length,
    take: (bytes) => memory.grow(Math.ceil(bytes / PAGE)) * PAGE,
    give: () => {},
  };
}
