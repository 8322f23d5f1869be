// What the judge reads: the engine's journal records as they are (assembly/record/journal.ts), and further kinds for
// what a log of another program says. All have the journal's shape, 48 bytes:
//
//   kind u32 | level i32 | table u32 | walker u32 | address u64 | a u64 | b u64 | sequence u64
//
// In records of a log `table` is 0, `walker` is the CPU, and `sequence` the number of the record in the log.

/** A page of table memory becomes known, all zero: address. */
export const R_INIT: u32 = 64;
/** A page of memory is given back: address. */
export const R_FREE: u32 = 65;
/** Every word of the page at address becomes a. */
export const R_SET: u32 = 66;
/** A word is written: address, a = value; level = 1 for release order. */
export const R_STORE: u32 = 67;
/** A word is read: address. */
export const R_READ: u32 = 68;
/** System register: level = SYSREG_*, a = value. */
export const R_SYSREG: u32 = 69;
/** TLBI: level = OP_*, a = operand. */
export const R_TLBI: u32 = 70;
/** Hint: level = HINT_*, address, a = value. */
export const R_HINT: u32 = 71;
/** Lock of address taken; level = 1 if it may be held already. */
export const R_LOCK: u32 = 72;
export const R_UNLOCK: u32 = 73;
/** Barrier: a = DSB_*; as the journal's J_DSB. */
export const R_DSB: u32 = 74;
export const R_ISB: u32 = 75;

export const SYSREG_VTTBR: i32 = 0;
export const SYSREG_TTBR0: i32 = 1;
export const SYSREG_VTCR: i32 = 2;
export const SYSREG_TCR: i32 = 3;
export const SYSREG_MAIR: i32 = 4;
export const SYSREG_HCR: i32 = 5;
export const SYSREG_SCTLR: i32 = 6;

export const OP_VMALLS12E1IS: i32 = 0;
export const OP_VMALLE1IS: i32 = 1;
export const OP_ALLE1IS: i32 = 2;
export const OP_ALLE2IS: i32 = 3;
export const OP_VMALLS12E1: i32 = 4;
export const OP_VMALLE1: i32 = 5;
export const OP_ALLE1: i32 = 6;
export const OP_ALLE2: i32 = 7;
export const OP_IPAS2E1IS: i32 = 8;
export const OP_VAE2IS: i32 = 9;
export const OP_VALE2IS: i32 = 10;

export const HINT_ROOT_LOCK: i32 = 0;
export const HINT_OWNER_ROOT: i32 = 1;
export const HINT_RELEASE: i32 = 2;
export const HINT_THREAD_OWNER: i32 = 3;

// What can be wrong.
/** Valid to valid where break-before-make is needed. */
export const V_NO_BREAK: u32 = 1;
/** Made valid before the old translation is flushed everywhere. */
export const V_EARLY_MAKE: u32 = 2;
/** A slot that another CPU has locked. */
export const V_STOLEN: u32 = 3;
/** Written without the root's lock. */
export const V_UNLOCKED: u32 = 4;
/** A table that was unlinked changes before it is flushed. */
export const V_FROZEN: u32 = 5;
/** A page that is still linked, or not yet flushed, is given back, or set up anew. */
export const V_EARLY_FREE: u32 = 6;
/** A table page linked twice, or linked and a root. */
export const V_LINKED_TWICE: u32 = 7;
/** A page that nobody has set up is linked, written, or a root. */
export const V_UNKNOWN_PAGE: u32 = 8;
/** A linked table holds what an earlier life left. */
export const V_STALE_TABLE: u32 = 9;
/** A valid descriptor that the architecture does not have. */
export const V_ENCODING: u32 = 10;
/** One VMID for two tables that CPUs walk, or two for one. */
export const V_VMID: u32 = 11;
/** A VMID given anew without a flush. */
export const V_VMID_REUSE: u32 = 12;
/** A table released while a CPU has it loaded. */
export const V_LOADED: u32 = 13;
/** Lock taken twice, or given back by who does not hold it. */
export const V_LOCK: u32 = 14;
/** Memory of one VM is mapped by another. */
export const V_SHARED_FRAME: u32 = 15;
/** Memory is handed on before its translations are flushed. */
export const V_FRAME_REUSE: u32 = 16;
/** Never flushed, to the end. */
export const V_UNFLUSHED: u32 = 17;
/** Released with translations that are not flushed. */
export const V_RELEASE_UNFLUSHED: u32 = 18;
/** An ASID where EL2 has none. */
export const V_ASID: u32 = 19;
/** A geometry that no hardware has. */
export const V_GEOMETRY: u32 = 20;
/** The page is known already. */
export const V_KNOWN_PAGE: u32 = 21;
/** A release, or a hint, that names no table. */
export const V_NO_TABLE: u32 = 22;
/** A marker that nobody made anything of, to the end. */
export const V_LEFT_LOCKED: u32 = 23;
/** TTBR0_EL2 names another table, and what TLBs hold of the one before is not flushed. */
export const V_STALE_ROOT: u32 = 24;
/** A control register changed under translations that TLBs may hold, and they were not flushed. */
export const V_LIVE_CONTROL: u32 = 25;
/** Entries of a contiguous run that do not agree. */
export const V_CONTIGUOUS: u32 = 26;
/** A removal is said to be done before its flush is. */
export const V_EARLY_RETURN: u32 = 27;

// What an obligation lacked.
export const MISS_NONE: u32 = 0;
/** No TLBI reached it. */
export const MISS_TLBI: u32 = 1;
/** The TLBI came, but no DSB stood between the write and it. */
export const MISS_DSB_BEFORE: u32 = 2;
/** The TLBI was of another level. */
export const MISS_LEVEL: u32 = 3;
/** The TLBI was of last-level entries, and this is a table. */
export const MISS_LAST_LEVEL: u32 = 4;
/** The TLBI was of one CPU only. */
export const MISS_LOCAL: u32 = 5;
/** No DSB ISH of the CPU that issued the TLBI came after it. */
export const MISS_DSB_AFTER: u32 = 6;
/** Combined stage-1 and stage-2 entries are left: no VMALLE1IS after the by-address TLBI was complete. */
export const MISS_STAGE1: u32 = 7;
/** VMALLE1IS is not complete. */
export const MISS_DSB_LAST: u32 = 8;
/** Entries below the table are left. */
export const MISS_BELOW: u32 = 9;
/** A walker that was in a read section when the table was unlinked has not left it, or nobody asked. */
export const MISS_GRACE: u32 = 10;
/** No ISB stood between the write of VTTBR_EL2 or HCR_EL2 and the TLBI: it may be of the VMID before. */
export const MISS_ISB: u32 = 11;
/** The TLBI was of another ASID. */
export const MISS_ASID: u32 = 12;

/** Why an obligation arose. */
export const CAUSE_BREAK: u32 = 0;
export const CAUSE_DOWNGRADE: u32 = 1;
export const CAUSE_AGE: u32 = 2;
/** A control register changed. */
export const CAUSE_CONTROL: u32 = 3;

// Options of a judge.
/** Memory of one VM is no other's. */
export const O_EXCLUSIVE: u32 = 1 << 0;
/** Pages that no record set up are an error. */
export const O_KNOWN_PAGES: u32 = 1 << 1;
/** An access flag cleared and never flushed is an error at the end. */
export const O_AGE: u32 = 1 << 2;
/** Level of FEAT_BBM, two bits. */
export const O_BBM_SHIFT: u32 = 8;
