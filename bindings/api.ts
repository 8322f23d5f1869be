// The public names that every entry point has: `granule`, `granule/slim`, `granule/debug`.

export type { Core, CoreSource } from "./core/core.js";
export { type ErrorCode, type ErrorDetails, errnoName, GranuleError } from "./core/errors.js";
export { type AddressLike, hex, type Ipa, ipa, type Pa, pa, toAddress, type Va, va } from "./model/address.js";
export { GRANULES, type Granule, granuleShift, type Level, levelShift } from "./model/granule.js";
export { Prot, type ProtLike, protFromNames, protNames, toProt } from "./model/protection.js";
export { decodeVtcr, paRangeCode, type VtcrFields } from "./model/registers.js";
export { Batch, type BatchResult } from "./tables/batch.js";
export type { PageCache } from "./tables/cache.js";
export type { Columns } from "./tables/columns.js";
export {
  type ArenaUse,
  type Counters,
  Engine,
  type EngineOptions,
  type EngineTicket,
  joinEngine,
} from "./tables/engine.js";
export type { Entry, EntryKind } from "./tables/entry.js";
export type { MmOps } from "./tables/hooks.js";
export type { HypConfig, HypTable } from "./tables/hyp.js";
export { type Journal, JournalKind, type JournalRecord } from "./tables/journal.js";
export type { CacheOption, LeafShareOptions, MapOptions, ShareOptions } from "./tables/options.js";
export type { ForcePte, Stage2Config, Stage2Table } from "./tables/stage2.js";
export type { EntryOptions, Outcome, Range, Table, TableConfig, TableInfo, TableTicket } from "./tables/table.js";
export { type TlbiOperation, type TlbiRange, tlbiOperations } from "./tables/tlbi.js";
export type { Phase, Visit, Visitor, WalkOptions } from "./tables/visitor.js";
export type { Burial, LimboInfo, WalkerInfo } from "./tables/walkers.js";
