import { BREACHES } from "../core/rules.generated.js";
import type { EngineMemory } from "./memory.js";

/** A walker of an engine: one thread's part in it. */
export interface WalkerInfo {
  /** Its number, from 0. */
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
  /** Which walker died. */
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

/** @internal Every walker of the engine. */
export function walkersOf({ core, results, walkerCount }: EngineMemory): WalkerInfo[] {
  return Array.from({ length: walkerCount }, (_, id) => {
    core.walkerInfo(id);
    const { attached, inSection, reads, writes } = results.walker;
    return { id, attached: attached !== 0, inSection: inSection !== 0, reads, writes };
  });
}

/** @internal */
export function limboInfo({ core, hosts, results }: EngineMemory): LimboInfo {
  core.limboInfo();
  hosts.rethrow(); // tables were freed, by functions of the caller perhaps
  const { waiting, retired, heldUpBy } = results.limbo;
  return { waiting, retired, heldUpBy: heldUpBy < 0 ? undefined : heldUpBy };
}

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
  return `walker ${me}: ${BREACHES.get(rule)?.[1] ?? `rule ${rule}`}, at ${at}; ${who}`;
}

/** @internal May this thread sleep in an atomic wait? All may but the main thread of a browser. */
export function maySleep(): boolean {
  return !("document" in globalThis);
}
