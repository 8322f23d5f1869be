import * as K from "../core/constants.generated.js";
import type { Core } from "../core/core.js";

/** A walker of an engine: one thread's part in it. */
export interface WalkerInfo {
  id: number;
  /** Is an instance attached as this walker? */
  attached: boolean;
  /** Is it in a read section? Tables that were unlinked since wait for it. */
  inSection: boolean;
  /** Handle of the table whose lock it holds for reading, 0 for none. */
  reads: number;
  /** How many tables it holds for writing. */
  writes: number;
}

/** What an engine's limbo holds: tables that were unlinked and wait until nobody can be in them [LCK-10]. */
export interface LimboInfo {
  /** Tables that wait now. */
  waiting: number;
  /** Tables that ever did. */
  retired: number;
  /** A walker that has not left the section in which it was when they went; undefined if none holds them up. */
  heldUpBy: number | undefined;
}

/** What a walker held when it died; see `engine.bury`. */
export interface Burial {
  walker: number;
  /** It was in a read section, which held up every table in limbo. */
  inSection: boolean;
  /** Descriptors that it left locked, of the tables whose locks it held: holes now. */
  unlocked: number;
  /** Tables that it held for writing: what an exclusive operation had half done there stays. */
  wroteTables: number;
  /** Locks of the core that it held: the lists that they guard may be torn, and the engine should go. */
  coreLocks: number;
}

/** @internal Reads results 0.. of the last call. */
type Result = (i: number) => bigint;

/** @internal */
export function walkerInfo(core: Core, result: Result, id: number): WalkerInfo {
  core.walkerInfo(id);
  const [attached, reads, section, writes] = [0, 1, 2, 3].map((i) => Number(result(i))) as [
    number,
    number,
    number,
    number,
  ];
  return { id, attached: attached !== 0, inSection: section !== 0, reads, writes };
}

/** @internal */
export function limboInfo(core: Core, result: Result): LimboInfo {
  core.limboInfo();
  const late = Number(BigInt.asIntN(32, result(2)));
  return { waiting: Number(result(0)), retired: Number(result(1)), heldUpBy: late < 0 ? undefined : late };
}

const RULES: Record<number, string> = {
  [K.BREACH_SLEEP]: "something that may sleep, in a read section or under a lock [LCK-15]",
  [K.BREACH_SECTION]: "a shared walk outside a read section [WLK-13]",
  [K.BREACH_EXCLUSIVE]: "an exclusive walk without the table's lock for writing [LCK-3]",
  [K.BREACH_SHARED]: "a shared walk without the table's lock for reading [LCK-2]",
  [K.BREACH_FREED]: "a descriptor read from a page that was given back",
  [K.BREACH_DIRTY]: "a page that somebody wrote to after it was given back",
};

/** @internal The sentence for a rule that the debug core finds broken: who did it, and who holds what. */
export function explainBreach(
  walkers: readonly WalkerInfo[],
  me: number,
  writer: number,
  rule: number,
  at: number,
): string {
  const held = walkers.flatMap(({ id, reads, inSection, writes }) => {
    const what = [
      reads !== 0 ? `reads table ${reads}` : inSection ? "is in a read section" : "",
      writes !== 0 ? `holds ${writes} for writing` : "",
    ].filter((text) => text !== "");
    return what.length === 0 ? [] : [`walker ${id} ${what.join(" and ")}`];
  });
  const owner = writer < 0 ? [] : [`walker ${writer} writes table ${at}`];
  const who = [...owner, ...held].join("; ") || "nobody holds anything";
  return `walker ${me}: ${RULES[rule] ?? `rule ${rule}`}, at ${at}; ${who}`;
}

/** @internal May this thread sleep in an atomic wait? All may but the main thread of a browser. */
export function maySleep(): boolean {
  return !("document" in globalThis);
}
