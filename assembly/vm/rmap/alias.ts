// Aliases: guest addresses that lead to memory of a slot which has addresses of its own. So a page has several mappings, as a
// page of a guest under shadow paging, which the guest maps wherever it likes.

import { EBUSY, EEXIST, EINVAL, OK } from "../../memory/errno";
import { peek64, publish, publish64 } from "../../memory/word";
import { Vm } from "../state";
import { aliasAt, Maps, mapsOf } from "./maps";

/** Aliases of a VM, at most. */
export const MAX_ALIASES: u32 = 64;
/** Both addresses of an alias are so far apart modulo this that blocks of any size fit: 1 GiB. */
export const ALIAS_ALIGN: u64 = 1 << 30;

/** [ipa, ipa + size) leads to [gpa, gpa + size). */
@unmanaged
export class Alias {
  ipa: u64;
  gpa: u64;
  size: u64;
}

export function alias(r: Maps, i: u32): Alias {
  return changetype<Alias>(aliasAt(r, <u32>offsetof<Alias>(), i));
}

function sizeWord(a: Alias): usize {
  return changetype<usize>(a) + offsetof<Alias>("size");
}

/** The alias of `ipa`; null if it is none. A size other than 0 is published behind the addresses. */
export function aliasOf(r: Maps, ipa: u64): Alias {
  for (let i: u32 = 0; i < r.aliases; i++) {
    const a = alias(r, i),
      size = peek64(sizeWord(a));
    if (ipa - a.ipa < size) return a;
  }
  return changetype<Alias>(0);
}

/** How far the addresses of an alias lie above the memory that they lead to: subtract it from an address; 0 for what is no alias. */
export function offsetOf(v: Vm, ipa: u64): u64 {
  const r = mapsOf(v);
  if (!r) return 0;
  const a = aliasOf(r, ipa);
  return a ? a.ipa - a.gpa : 0;
}

/** One more alias. EINVAL for addresses that no block could have both, EEXIST over another, EBUSY when there are too many. The caller has checked the slots. */
export function addAlias(v: Vm, ipa: u64, gpa: u64, size: u64): i32 {
  const r = mapsOf(v),
    page = ((<u64>1) << v.ps) - 1;
  if (size === 0 || (ipa | gpa | size) & page || (ipa - gpa) & (ALIAS_ALIGN - 1)) return EINVAL;
  if (ipa + size < ipa || (ipa + size - 1) >> v.ipaBits !== 0) return EINVAL;
  let free: u32 = r.aliases;
  for (let i: u32 = 0; i < r.aliases; i++) {
    const old = alias(r, i);
    if (old.size === 0) free = i;
    else if (old.ipa < ipa + size && ipa < old.ipa + old.size) return EEXIST;
  }
  if (free >= MAX_ALIASES) return EBUSY;
  const a = alias(r, free);
  a.ipa = ipa;
  a.gpa = gpa;
  publish64(sizeWord(a), size);
  if (free === r.aliases) publish(changetype<usize>(r) + offsetof<Maps>("aliases"), free + 1);
  return OK;
}

/** Takes away all aliases of memory in [gpa, gpa + size). Their records may be used anew when no fault reads them any more. */
export function dropAliases(r: Maps, gpa: u64, size: u64): void {
  for (let i: u32 = 0; i < r.aliases; i++) if (alias(r, i).gpa - gpa < size) publish64(sizeWord(alias(r, i)), 0);
}
