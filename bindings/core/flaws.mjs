// Flaws that the explorer must find: each is one guard of the parallel code taken out. All are compiled into one build, and
// FLAW in a replacement is true for the flaw that runs (memory/schedule.ts). docs/explore.md says how to add one.

/** @typedef {{ name: string, file: string, find: string, put: string, says: string }} Flaw */

/** @type {Flaw[]} */
export const FLAWS = [
  {
    name: "locked-again",
    file: "assembly/table/bbm.ts",
    find: "if (isLocked(old, <bool>(w.table.flags & T_TYPED))) {",
    put: "if (!FLAW && isLocked(old, <bool>(w.table.flags & T_TYPED))) {",
    says: "tryBreak takes the marker for an entry like others",
  },
];
