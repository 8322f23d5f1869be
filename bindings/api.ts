// The public names that every entry point has: `granule`, `granule/slim`, `granule/debug`.

import type { Ipa, Va } from "./model/address.js";
import type { Engine } from "./tables/engine.js";
import type { HypTable as HypTableIn } from "./tables/hyp.js";
import type { Stage2Table as Stage2TableIn } from "./tables/stage2.js";
import type { Table as TableIn } from "./tables/table.js";

export type { Core, CoreSource } from "./core/core.js";
export { type ErrorCode, type ErrorDetails, errnoName, GranuleError } from "./core/errors.js";
export {
  type AddressLike,
  hex,
  type Ipa,
  type IpaLike,
  ipa,
  type Like,
  type Pa,
  type PaLike,
  pa,
  type SizeLike,
  toAddress,
  type Va,
  type VaLike,
  va,
} from "./model/address.js";
export { GRANULES, type Granule, granuleShift, type Level, levelShift } from "./model/granule.js";
export { Prot, type ProtLike, protFromNames, protNames, toProt } from "./model/protection.js";
export { decodeVtcr, paRangeCode, type VtcrFields } from "./model/registers.js";
export { Batch, type BatchResult } from "./tables/batch.js";
export type { PageCache } from "./tables/cache.js";
export type { Columns } from "./tables/columns.js";
export type { TableConfig } from "./tables/config.js";
export type { DirectOptions, HypDirect, Stage2Direct } from "./tables/direct.js";
export { Engine, type EngineTicket, joinEngine } from "./tables/engine.js";
export type { Entry, EntryKind } from "./tables/entry.js";
export type { MmOps } from "./tables/hooks.js";
export type { HypConfig } from "./tables/hyp.js";
export { type Journal, JournalKind, type JournalRecord } from "./tables/journal.js";
export type { EngineOptions } from "./tables/layout.js";
export type { ArenaUse, Counters, EngineMemory } from "./tables/memory.js";
export type { CacheOption, LeafShareOptions, MapOptions, ShareOptions } from "./tables/options.js";
export type { ForcePte, Stage2Config } from "./tables/stage2.js";
export type { EntryOptions, Outcome, Range, TableInfo } from "./tables/table.js";
export type { AdoptOptions, TableTicket } from "./tables/ticket.js";
export { type TlbiOperation, type TlbiRange, tlbiOperations } from "./tables/tlbi.js";
export type { Phase, Run, RunVisitor, Visit, Visitor, WalkOptions } from "./tables/visitor.js";
export type { Burial, LimboInfo, WalkerInfo } from "./tables/walkers.js";
export { type Capabilities, capabilities } from "./workers/capabilities.js";
export type { BrowserWorker, CreateWorker, NodeWorker, PoolWorker } from "./workers/kinds.js";
export { createPool, type JobOptions, type JobReport, Pool, type PoolOptions } from "./workers/pool.js";

/** What stage-1 and stage-2 tables have in common; `engine` is the engine that it lives in, `A` the space of its inputs. */
export interface Table<A extends Ipa | Va = Ipa | Va> extends TableIn<Engine, A> {}
/** The hypervisor's own stage-1 table; `engine.createHyp` makes one. */
export interface HypTable extends HypTableIn<Engine> {}
/** A guest's stage-2 table; `engine.createStage2` makes one. */
export interface Stage2Table extends Stage2TableIn<Engine> {}
