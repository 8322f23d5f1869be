// The records of the judge's input, field by field: the journal's shape (record/journal.ts).

export const LEVEL: usize = 4;
export const TABLE: usize = 8;
export const WALKER: usize = 12;
export const ADDRESS: usize = 16;
export const A: usize = 24;
export const B: usize = 32;
export const SEQUENCE: usize = 40;
