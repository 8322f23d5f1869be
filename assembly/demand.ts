// What a helper demands of its caller. The first lines of a helper state its preconditions:
//
//   demand(w.addr < w.end, RULE_RANGE);
//
// The debug builds check them and name the broken rule to the host. The release builds are compiled without these lines
// (bindings/core/compile.mjs drops each statement that begins with `demand(`), so a condition may read whatever it needs.
// A rule is broken by a defect of the core alone: bad input is refused at the exports, by a status.
// The one file that every room may import. It is not linted, as memory/host.ts.

// @ts-ignore: decorator
@external("host", "demand")
declare function hostDemand(rule: u32): void;

/** Checks a precondition in a debug build. */
export function demand(condition: bool, rule: u32): void {
  if (isDefined(DEBUG)) {
    if (!condition) hostDemand(rule);
  }
}

// The rules, by room. The comment of each is what the host says.

// arch: 1 to 19
/** The page size is 4K, 16K or 64K. */
export const RULE_GRANULE: u32 = 1;
/** The level lies between the first and the last one. */
export const RULE_LEVEL: u32 = 2;
/** The field has a width, and lies within 64 bits. */
export const RULE_FIELD: u32 = 3;
/** The range has pages, and the scale is 0..3. */
export const RULE_RANGE: u32 = 4;
/** The operand of a range names a granule. */
export const RULE_RANGE_GRANULE: u32 = 5;
/** The stage can have these protections. */
export const RULE_PROTECTION: u32 = 6;
/** The kind and payload make an annotation. */
export const RULE_ANNOTATION: u32 = 7;

// memory: 20 to 39
/** There is a free list for blocks of this size. */
export const RULE_ORDER: u32 = 20;
/** References belong to pages of the arena. */
export const RULE_COUNTED_PAGE: u32 = 21;
/** Who leaves a read section is in one. */
export const RULE_IN_SECTION: u32 = 22;
/** Who lets go of a table holds it for writing. */
export const RULE_WRITER: u32 = 23;

/** Whoever lets go of a spin lock, or works under it, holds it. */
export const RULE_SPIN: u32 = 24;
/** The pointer is that of a table's record. */
export const RULE_TABLE_RECORD: u32 = 25;
/** The cache is a real one, of this walker. */
export const RULE_CACHE: u32 = 26;

// record: 40 to 49
/** This instance is a walker. */
export const RULE_WALKER: u32 = 40;
/** Somebody reads the journal. */
export const RULE_JOURNALLING: u32 = 41;

// table: 50 to 69
/** A walk's range is not empty. */
export const RULE_WALK_RANGE: u32 = 50;
/** A walk that is closed was opened, and its record fits the stack of walks. */
export const RULE_WALK_STACK: u32 = 51;
/** Rows are those of a whole table: it is aligned, and its entries are a power of two. */
export const RULE_WHOLE_TABLE: u32 = 52;
/** A run is made of whole entries of one table page. */
export const RULE_RUN: u32 = 53;
/** The input address lies in the table's input space. */
export const RULE_INPUT_ADDRESS: u32 = 54;
/** A slot is a descriptor in the arena. */
export const RULE_SLOT: u32 = 55;
/** What is made is not the locked marker. */
export const RULE_NO_MARKER: u32 = 56;
/** Only an exclusive walk does this. */
export const RULE_EXCLUSIVE: u32 = 57;
/** Only a hole is filled without a break. */
export const RULE_HOLE: u32 = 58;
/** Nobody watches, and who else walks is as the code was compiled for. */
export const RULE_UNWATCHED: u32 = 59;
/** The entry is no table. */
export const RULE_TABLE_DESCRIPTOR: u32 = 60;

/** Columns and records lie in the arena. */
export const RULE_COLUMN: u32 = 61;

// mmu: 70 to 89
/** The MMU's context is configured, and its window lies in memory. */
export const RULE_CONTEXT: u32 = 70;
/** An address belongs to the low half or to the high half. */
export const RULE_HALF: u32 = 71;
/** A walk asks and fills a TLB only during an access through one. */
export const RULE_THROUGH: u32 = 72;
/** A TLB has so many banks. */
export const RULE_BANK: u32 = 73;
/** The bank has entries, and they lie in memory. */
export const RULE_ENTRIES: u32 = 74;
/** A tag that is published is valid and has no holes. */
export const RULE_TAG: u32 = 75;
/** A hole is a page of its run, and a run has no more pages than a tag has holes. */
export const RULE_RUN_HOLE: u32 = 76;
/** An entry says its part of stage 1 and of stage 2. */
export const RULE_STAGE: u32 = 77;
/** Whoever invalidates holds the TLB's lock. */
export const RULE_LOCKED: u32 = 78;
/** Whoever holds a TLB's lock has a name that is not 0. */
export const RULE_HOLDER: u32 = 79;

// audit: 90 to 119
/** The CPU is one of those that the judge keeps. */
export const RULE_JUDGED_CPU: u32 = 90;
/** The word lies in the unit. */
export const RULE_JUDGED_WORD: u32 = 91;
/** The root is registered. */
export const RULE_JUDGED_ROOT: u32 = 92;
/** The obligation is open: in its root's list. */
export const RULE_OWED: u32 = 93;
/** The obligation has a slot. */
export const RULE_PLACED: u32 = 94;
/** The slot holds a valid descriptor. */
export const RULE_JUDGED_LINK: u32 = 95;
/** The tag is not another root's. */
export const RULE_JUDGED_TAG: u32 = 96;

// vm: 120 to 139
/** The key of a sparse array is small enough. */
export const RULE_SPARSE_KEY: u32 = 120;
/** A descriptor of a chain is in use. */
export const RULE_DESCRIPTOR: u32 = 121;
/** An entry of a reverse map is the address of a descriptor of a table. */
export const RULE_ENTRY: u32 = 122;
