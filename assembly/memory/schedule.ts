// Compiled into the explore build alone: what its instrumentation (bindings/core/instrument.mjs) calls before each load, store,
// atomic, wait and fill of the core. The instrumentation leaves these functions themselves as they are.
//
// Four tables of the host lie in the memory, behind the engine:
//
//   dirty    a byte for each chunk of CHUNK bytes: it may have changed since the host last looked
//   meeting  a byte for each 8 bytes: another walker may come in before an atomic access to them
//   met      16 bits for each 8 bytes: bit n says that walker n had an atomic access there, bit n + 8 that it was no load
//   touched  a byte for each 8 bytes: bit n says that walker n had any access there

import { hostAccess, hostPass } from "./observer";

/** log2 of the bytes of a chunk. */
const CHUNK: u32 = 8;
/** Bit of `mode`: a walker is being explored; without it nothing is observed. */
const EXPLORING: u32 = 1;
/** Bit of `mode`: the host sees every access. */
const SEEN: u32 = 2;
/** Bit of `mode`: every atomic access is a place for others to come in. */
const EVERYWHERE: u32 = 4;
/** Bit of `mode`, beside SEEN: the host sees only what two walkers have touched. */
const COMMON: u32 = 8;

let mode: u32 = 0;
let dirty: usize = 0;
let meeting: usize = 0;
let met: usize = 0;
let touched: usize = 0;
/** What an access of this instance leaves in `met` and `touched`. */
let bit: u32 = 0;
/** Which mutant of the core runs, 0 for none; see docs/explore.md. */
let flaw: u32 = 0;

/** Where the tables lie, and which walker this instance is. */
export function observe(dirtyAt: usize, meetingAt: usize, metAt: usize, touchedAt: usize, id: u32): void {
  dirty = dirtyAt;
  meeting = meetingAt;
  met = metAt;
  touched = touchedAt;
  bit = 1 << id;
}

export function setMode(next: u32): void {
  mode = next;
}

/** The core has flaw `n` from now on. Builds without mutants have none. */
export function setFlaw(n: u32): void {
  flaw = n;
}

export function hasFlaw(n: u32): bool {
  return flaw === n;
}

/** This walker accesses the 8 bytes around `p`; true if the host wants to see it. */
function touches(p: u32): bool {
  if (!(mode & EXPLORING)) return false;
  const at = touched + (p >> 3),
    all = load<u8>(at) | bit;
  store<u8>(at, <u8>all);
  if (!(mode & SEEN)) return false;
  return !(mode & COMMON) || <bool>(all & (all - 1));
}

export function beforeLoad(site: u32, p: u32): void {
  if (touches(p)) hostPass(site, p, 0);
}

/** Vectors may lie across two chunks. */
function mark(p: u32): void {
  store<u8>(dirty + (p >> CHUNK), 1);
  store<u8>(dirty + ((p + 15) >> CHUNK), 1);
}

export function beforeStore(site: u32, p: u32): void {
  if (touches(p)) hostPass(site, p, 0);
  mark(p);
}

/** Fills begin and end at multiples of 4. */
export function beforeFill(site: u32, p: u32, bytes: u32): void {
  if (bytes === 0) return;
  for (let at = p, end = p + bytes; at < end; at += 4) if (touches(at)) hostPass(site, at, 4);
  for (let chunk = p >> CHUNK, last = (p + bytes - 1) >> CHUNK; chunk <= last; chunk++) store<u8>(dirty + chunk, 1);
}

/** True where others may come in. */
function meets(p: u32, bits: u32): bool {
  const at = met + ((p >> 3) << 1);
  store<u16>(at, <u16>(load<u16>(at) | bits));
  return <bool>(mode & EVERYWHERE) || load<u8>(meeting + (p >> 3)) !== 0;
}

export function beforeAtomicLoad(site: u32, p: u32): void {
  if (!(mode & EXPLORING)) return;
  const seen = touches(p);
  if (meets(p, bit)) hostAccess(site, p, 0);
  else if (seen) hostPass(site, p, 0);
}

export function beforeAtomicStore(site: u32, p: u32): void {
  if (mode & EXPLORING) {
    const seen = touches(p);
    if (meets(p, (bit << 8) | bit)) hostAccess(site, p, 0);
    else if (seen) hostPass(site, p, 0);
  }
  mark(p);
}

/** In place of sleeping: the host lets the walker go on when something has happened. */
export function beforeWait(site: u32, p: u32, expected: i32): void {
  if (mode & EXPLORING) hostAccess(site, p, expected);
}
