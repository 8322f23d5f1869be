// What an obligation lacks: which step of its flush is still to come.

import { isAwaited, P_ALL, P_FULL, P_STAGE1 } from "./cpu";
import { isFlushed, Obligation } from "./obligation";
import {
  MISS_BELOW,
  MISS_DSB_AFTER,
  MISS_DSB_BEFORE,
  MISS_DSB_LAST,
  MISS_ISB,
  MISS_LOCAL,
  MISS_NONE,
  MISS_STAGE1,
  MISS_TLBI,
} from "./records";
import { R_STAGE1, rootAt } from "./root";
import { state } from "./state";

/** What an obligation that is not discharged lacks, MISS_*. */
export function missing(o: Obligation): u32 {
  const r = rootAt(o.root);
  if (isFlushed(o, r)) return o.kids ? MISS_BELOW : MISS_NONE;
  if (o.flushed !== 0) return isAwaited(o.root, P_STAGE1) ? MISS_DSB_LAST : MISS_STAGE1;
  if (o.pending !== 0 && !o.pendingLocal) return MISS_DSB_AFTER;
  const all = r.flags & R_STAGE1 ? 0 : state().allTime;
  if (r.fullTime > o.time || all > o.time)
    return isAwaited(o.root, P_FULL) || isAwaited(0, P_ALL) ? MISS_DSB_AFTER : MISS_DSB_BEFORE;
  if (o.miss) return o.miss;
  if (r.unsynced > o.time) return MISS_ISB;
  return r.localTime > o.time ? MISS_LOCAL : MISS_TLBI;
}
