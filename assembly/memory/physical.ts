// Physical memory as a walker of the hardware sees it: one window of the linear memory, at any physical address.

const WASM_PAGE: u32 = 16;

/** Do `bytes` from `p` lie in the linear memory, 8-byte aligned? Any values are allowed; memory never shrinks. */
export function isInMemory(p: u32, bytes: u64): bool {
  return (p & 7) === 0 && <u64>p + bytes <= (<u64>memory.size()) << WASM_PAGE;
}

/**
 * Pointer of the 8 bytes at physical address `pa`; 0 where the window (base, bytes, pointer) has none, or across words.
 * Looks at the memory's end too: a descriptor that hardware updates may lie in the record that says where the window is.
 */
export function wordAt(pa: u64, base: u64, bytes: u64, pointer: u32): usize {
  const offset = pa - base;
  if (bytes < 8 || offset > bytes - 8) return 0;
  const p = offset + pointer;
  return (p & 7) === 0 && p + 8 <= (<u64>memory.size()) << WASM_PAGE ? <usize>p : 0;
}
