// What tests of assembly/memory call directly. AssemblyScript, compiled by the tests beside it.

export {
  clearRun,
  compareExchange,
  countMapped,
  countValid,
  exchange,
  fillHoles,
  read,
  release,
  testClear,
  updateValid,
  write,
} from "../../../assembly/memory/cell";
export { enter, expel, leave, slotOfWalker } from "../../../assembly/memory/epoch";
export { leastSince } from "../../../assembly/memory/lanes";
export { attach, layOut } from "../../../assembly/memory/layout";
export { readLock, readUnlock, writeLock, writerOf, writeUnlock } from "../../../assembly/memory/lock";
export { acquire, relinquish } from "../../../assembly/memory/spin";
