// Functions of the core that stay calls though they are small: their callers are in no hurry, and a copy of each in all of them
// would make the module a tenth larger. A name that a module does not have is passed over.

/** @type {Readonly<Record<string, readonly string[]>>} */
const ROOMS = {
  "arch/descriptor": ["addressMask"],
  "arch/granule": ["startTables", "stage1Levels", "stage2Levels"],
  "arch/protection": ["joinExecute"],
  "arch/stage2": ["isCacheable"],
  "arch/tlbi": ["granuleCode", "ipaOperand", "rangeNum"],
  engine: ["isStage2", "rangeResult", "realCache"],
  "memory/cache": ["capacityOf", "countOf", "isCache", "ownWord", "pageAt", "put"],
  "memory/epoch": ["enter", "leave"],
  "memory/frames": ["isTaken", "linkOf", "noteOf", "orderOf", "setLink", "setNote"],
  "memory/intent": ["holdTree", "intendNothing"],
  "memory/layout": ["isArenaPage", "isArenaRange", "isPlace"],
  "memory/limbo": ["retire"],
  "memory/lock": ["tryWriteLock", "unlock", "writeUnlock"],
  "memory/wait": ["isTooLate"],
  "record/maintenance": ["recordRange", "storeBarrier", "warn"],
  "table/down": ["findSlots*"],
  "table/hyp": ["fits"],
  "table/lookup": ["openEntry"],
  "table/map": ["isOutputRange"],
  "table/mmops": ["call", "deferUnlinked", "dropReference", "getPages", "setReferences"],
  "table/outside": ["current"],
  "table/place": ["clean"],
  "table/repair": ["holdsReference", "mendIfDoubtful"],
  "table/teardown": ["discard", "leaveTeardown", "noteGone", "resumeTeardowns", "toSubtree"],
  "table/walk": ["entriesAt"],
};

/**
 * A function that stays a call for another reason. V8 11.3, that of Node 20, compiles a function first in a hurry, and code of that kind
 * loses after `memory.atomic.wait` what the function holds in registers. So the function that sleeps does nothing else.
 */
const SLEEPERS = { "memory/word": ["sleepWhile"] };

/** Their names in a module that is compiled with names. */
export const COLD = Object.entries({ ...ROOMS, ...SLEEPERS }).flatMap(([file, names]) =>
  names.map((name) => `assembly/${file}/${name}`),
);
