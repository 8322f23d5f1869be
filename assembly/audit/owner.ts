// Whose memory is it: with O_EXCLUSIVE a judge keeps, for every 4K of output address, the one VM that maps it at stage 2;
// registers of devices are nobody's, and EL2 may map what a VM has. Memory that changes hands before its old translations are flushed is found here, in one look-up a leaf.

import { UNIT_SHIFT } from "../arch/granule";
import { S2_W } from "../arch/stage2";
import { isClean, Obligation, obligation, obligationPointer } from "./obligation";
import { isDevice } from "./predicate";
import { CAUSE_BREAK, O_EXCLUSIVE, V_FRAME_REUSE, V_SHARED_FRAME } from "./records";
import { R_STAGE1, Root, rootAt } from "./root";
import { state, take } from "./state";

// key + 1 u64 | family u32 | leaves u32 | obligation u32 | its id u32 | writable u32
const FAMILY: usize = 8;
const LEAVES: usize = 12;
const LAST: usize = 16;
const LAST_ID: usize = 20;
const WRITABLE: usize = 24;
const BYTES: u32 = 32;
const SHIFT: u32 = 5;
const FIRST: u32 = 1 << 12;
/** Blocks of more 4K pieces are not followed. */
const MAX_PIECES: u64 = 1 << 18;

function bucket(key: u64, mask: u32): u32 {
  return <u32>((key * 0x9e3779b97f4a7c15) >> 32) & mask;
}

function slotIn(table: u32, mask: u32, key: u64): usize {
  let i = bucket(key, mask);
  while (true) {
    const at: usize = table + (i << SHIFT);
    const found = load<u64>(at);
    if (found === key + 1 || found === 0) return at;
    i = (i + 1) & mask;
  }
}

/** Doubles the table; true if there is room then. */
function makeRoom(): bool {
  const s = state();
  if (s.owners !== 0 && s.ownersUsed <= s.ownersMask >> 1) return true;
  const count = s.owners === 0 ? FIRST : (s.ownersMask + 1) * 2;
  const table = take(count * BYTES);
  if (!table) return false;
  for (let i: u32 = 0; s.owners !== 0 && i <= s.ownersMask; i++) {
    const from: usize = s.owners + (i << SHIFT);
    if (load<u64>(from)) memory.copy(slotIn(table, count - 1, load<u64>(from) - 1), from, BYTES);
  }
  s.owners = table;
  s.ownersMask = count - 1;
  return true;
}

function slotOf(key: u64): usize {
  const s = state();
  return s.owners === 0 ? 0 : slotIn(s.owners, s.ownersMask, key);
}

function followed(pieces: u64): bool {
  return (state().options & O_EXCLUSIVE) !== 0 && pieces <= MAX_PIECES;
}

/** The open obligation through which the memory may still be reached; null for none. */
function lastOf(at: usize): Obligation {
  const o = obligation(load<u32>(at, LAST));
  if (!o || o.id !== load<u32>(at, LAST_ID) || o.root === 0 || o.cause !== CAUSE_BREAK) return obligation(0);
  return isClean(o) ? obligation(0) : o;
}

/** A table maps `bytes` of memory from `pa`: 0, or V_SHARED_FRAME, or V_FRAME_REUSE. */
export function claim(r: Root, pa: u64, bytes: u64, value: u64): u32 {
  const pieces = bytes >> UNIT_SHIFT,
    s = state(),
    owns = !(r.flags & R_STAGE1);
  if (!followed(pieces) || (owns ? isDevice(value) : s.owners === 0)) return 0;
  let wrong: u32 = 0;
  for (let i: u64 = 0; i < pieces && (!owns || makeRoom()); i++) {
    const at = slotOf((pa >> UNIT_SHIFT) + i);
    if (!at || (load<u64>(at) === 0 && !owns)) continue;
    if (load<u64>(at) === 0) {
      store<u64>(at, (pa >> UNIT_SHIFT) + i + 1);
      s.ownersUsed++;
    }
    const last = lastOf(at);
    const found = last && rootAt(last.root).family !== r.family ? V_FRAME_REUSE : owns ? claimPiece(at, r, value) : 0;
    if (found) wrong = found;
  }
  return wrong;
}

/** Stage 2 maps a piece: it is the VM's, whose nested tables may map it too. It stays the first one's if two do. */
function claimPiece(at: usize, r: Root, value: u64): u32 {
  const other = load<u32>(at, FAMILY) !== r.family,
    leaves = load<u32>(at, LEAVES),
    writable: u32 = value & S2_W ? 1 : 0;
  if (other && leaves !== 0) return load<u32>(at, WRITABLE) | writable ? V_SHARED_FRAME : 0;
  store<u32>(at, r.family, FAMILY);
  store<u32>(at, leaves + 1, LEAVES);
  store<u32>(at, load<u32>(at, WRITABLE) | writable, WRITABLE);
  return 0;
}

/** A table unmaps it; `o` says until when the old translation may be used. */
export function disclaim(r: Root, pa: u64, bytes: u64, value: u64, o: Obligation): void {
  const pieces = bytes >> UNIT_SHIFT,
    owns = !(r.flags & R_STAGE1);
  if (!followed(pieces) || (owns && isDevice(value))) return;
  for (let i: u64 = 0; i < pieces; i++) {
    const at = slotOf((pa >> UNIT_SHIFT) + i);
    if (!at || load<u64>(at) === 0) continue;
    if (owns && !disclaimPiece(at, r)) continue;
    store<u32>(at, obligationPointer(o), LAST);
    store<u32>(at, o ? o.id : 0, LAST_ID);
  }
}

/** Stage 2 unmaps a piece; false if it was another's. */
function disclaimPiece(at: usize, r: Root): bool {
  const leaves = load<u32>(at, LEAVES);
  if (load<u32>(at, FAMILY) !== r.family || leaves === 0) return false;
  store<u32>(at, leaves - 1, LEAVES);
  if (leaves === 1) store<u32>(at, 0, WRITABLE);
  return true;
}

/** The obligation through which the 4K at `pa` may still be reached; null for none. */
export function reachable(pa: u64): Obligation {
  if (!(state().options & O_EXCLUSIVE)) return obligation(0);
  const at = slotOf(pa >> UNIT_SHIFT);
  return at && load<u64>(at) !== 0 ? lastOf(at) : obligation(0);
}
