/**
 * Readers of what a running kernel leaves behind: event traces, dumps of raw stage-2 tables, and
 * the manifests that say how they were made. Runs in browsers; `granule/trace/node` adds files.
 */

export { AccessBatch, type AccessStats } from "./access-batch.js";
export { type AccessFormat, type AccessOptions, AccessReader, isAccessFormat, readAccesses } from "./accesses.js";
export { CasemateParser, type CasemateSink } from "./casemate.js";
export { type CasemateEvent, CasemateWriter } from "./casemate-writer.js";
export {
  ManifestError,
  S2RawError,
  TraceError,
  TraceInputError,
  type TraceInputFault,
  TraceRecordError,
  TraceSyntaxError,
} from "./errors.js";
export * from "./events.js";
export { parseTraceLine, TraceParser } from "./ftrace.js";
export { formatOf, type InputFormat, type Sniffed, sniff } from "./input-format.js";
export { type ByteBlob, type ByteSource, type ReadBounds, readBlocks, readBytes, readWhole } from "./lines.js";
export {
  type Backing,
  type HostFeatures,
  type Manifest,
  type MemorySlotCall,
  parseManifest,
  readManifest,
} from "./manifest.js";
export { type HostCall, type MarkerNote, parseMarker, type SlotRegion } from "./marker.js";
export { looksLikeHostOnly } from "./perf.js";
export {
  inferNumbering,
  numberingOfKernel,
  type ProtectionNumbering,
  protectionDecoder,
  protectionFromLinux6,
  protectionFromLinux7,
} from "./protection.js";
export { readTrace, TraceReader } from "./reader.js";
export {
  isValidLeaf,
  parseS2Raw,
  readS2Raw,
  type S2Geometry,
  type S2RawDump,
  type S2RawLeaf,
  type S2RawTable,
} from "./s2raw.js";
export { sniffTrace, type TraceKind } from "./sniff.js";
export type { TraceOptions, TraceStats } from "./tally.js";
