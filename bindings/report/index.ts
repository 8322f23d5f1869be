/**
 * Tables as text and as images: the kernel's ptdump, descriptors explained, memory for an independent MMU.
 * Runs in browsers too.
 *
 * @module
 */

export {
  type DiffOptions,
  diffFields,
  diffTables,
  type FieldDifference,
  type LeafDifference,
  type TableDifference,
} from "./diff.js";
export { type ExplainOptions, explain, type Reading, type ReadingKind } from "./explain.js";
export { draw, type Field } from "./fields.js";
export { htmlReport } from "./html.js";
export { type ImageManifest, type TableImage, tableImage } from "./image.js";
export { type Leaf, type LeafFormat, type LeafRun, type LeafTable, leafTable } from "./leaf-runs.js";
export {
  type AddressArgument,
  type ByteSink,
  PerfettoWriter,
  type SliceArguments,
  type SliceDetails,
} from "./perfetto.js";
export { picture } from "./picture.js";
export {
  type PtdumpEntry,
  type PtdumpEntryOptions,
  type PtdumpFormat,
  type PtdumpOptions,
  type PtdumpRun,
  ptdump,
  ptdumpLines,
  ptdumpOf,
  ptdumpRuns,
  type RawTables,
  rawEntries,
} from "./ptdump.js";
export { formatPtdump, type ParsedRun, type Ptdump, parsePtdump, ptdumpLeaves } from "./ptdump-parse.js";
export { tableSnapshot, treeFormat } from "./snapshot.js";
export type {
  Cell,
  ChartSection,
  Column,
  HeatmapSection,
  Section,
  Series,
  Snapshot,
  StepsSection,
  Story,
  TableSection,
  TreeSection,
} from "./story.js";
