// Physical memory as a walker of the hardware sees it: one window of the linear memory, at any physical address.

import { ENTRY_BYTES } from "../arch/granule";

const WASM_PAGE: u32 = 16;

/** Bytes of the linear memory. */
export function memoryBytes(): u64 {
  return (<u64>memory.size()) << WASM_PAGE;
}

/** Do `bytes` from `p` lie in the linear memory, aligned as a descriptor is? Any values are allowed; memory never shrinks. */
export function isInMemory(p: u32, bytes: u64): bool {
  return (p & (ENTRY_BYTES - 1)) === 0 && <u64>p + bytes <= memoryBytes();
}

/** No pointer of a descriptor. A window may begin at pointer 0, so that 0 is one. */
export const NOWHERE: usize = 1;

/**
 * Pointer of the descriptor at physical address `pa`; NOWHERE where the window (base, bytes, pointer) has none, or across words.
 * Looks at the memory's end too: a descriptor that hardware updates may lie in the record that says where the window is.
 */
export function wordAt(pa: u64, base: u64, bytes: u64, pointer: u32): usize {
  const offset = pa - base;
  if (bytes < ENTRY_BYTES || offset > bytes - ENTRY_BYTES) return NOWHERE;
  const p = offset + pointer;
  return (p & (ENTRY_BYTES - 1)) === 0 && p + ENTRY_BYTES <= memoryBytes() ? <usize>p : NOWHERE;
}
