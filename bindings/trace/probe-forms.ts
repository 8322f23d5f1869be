import { ARG } from "./arguments.js";
import type { EventOf, ReturnEvent, S2AgeEvent, S2RangeEvent, TlbiIpaEvent, TraceEvent } from "./events.js";
import type { EventHead } from "./head.js";

/**
 * What the probe of an event is read with: the columns, and the arguments by name. `Cursor` reads them from text, `Fields` from a
 * record of a binary trace. Each method throws where the argument is absent or is no such value.
 */
export interface ProbeArguments extends EventHead {
  /** Reads the arguments; the methods below ask for them. */
  arguments(): void;
  /** Was the argument given? Arguments are named by `ARG`. */
  has(argument: number): boolean;
  number(argument: number): number;
  /** An address or a size: never negative. */
  natural(argument: number): number;
  pointer(argument: number): string;
  prot(): number | bigint;
}

/** Reads the arguments of one probe and gives the event. */
export type ReadProbe = (c: ProbeArguments) => TraceEvent;

function flags(c: ProbeArguments): number {
  return c.has(ARG.flags) ? c.natural(ARG.flags) : 0;
}

function optionalTable(c: ProbeArguments): string | undefined {
  return c.has(ARG.pgt) ? c.pointer(ARG.pgt) : undefined;
}

function s2Map(c: ProbeArguments): EventOf<"s2_map"> {
  c.arguments();
  const { line, time, cpu, task, pid, event } = c;
  return {
    line,
    time,
    cpu,
    task,
    pid,
    event,
    kind: "s2_map",
    pgt: c.pointer(ARG.pgt),
    ipa: c.natural(ARG.ipa),
    size: c.natural(ARG.size),
    phys: c.natural(ARG.phys),
    prot: c.prot(),
    flags: flags(c),
  };
}

function s2Range(kind: S2RangeEvent["kind"]): ReadProbe {
  return (c) => {
    c.arguments();
    const pgt = c.pointer(ARG.pgt);
    const { line, time, cpu, task, pid, event } = c;
    return {
      line,
      time,
      cpu,
      task,
      pid,
      event,
      kind,
      pgt,
      ipa: c.natural(ARG.ipa),
      size: c.natural(ARG.size),
    };
  };
}

function s2Split(c: ProbeArguments): EventOf<"s2_split"> {
  c.arguments();
  const pgt = optionalTable(c);
  const { line, time, cpu, task, pid, event } = c;
  return {
    line,
    time,
    cpu,
    task,
    pid,
    event,
    kind: "s2_split",
    pgt,
    ipa: c.natural(ARG.ipa),
    size: c.natural(ARG.size),
  };
}

function s2RelaxPerms(c: ProbeArguments): EventOf<"s2_relax_perms"> {
  c.arguments();
  const { line, time, cpu, task, pid, event } = c;
  return {
    line,
    time,
    cpu,
    task,
    pid,
    event,
    kind: "s2_relax_perms",
    pgt: c.pointer(ARG.pgt),
    ipa: c.natural(ARG.ipa),
    prot: c.prot(),
    flags: flags(c),
  };
}

function s2Age(kind: S2AgeEvent["kind"]): ReadProbe {
  return (c) => {
    c.arguments();
    const { line, time, cpu, task, pid, event } = c;
    return {
      line,
      time,
      cpu,
      task,
      pid,
      event,
      kind,
      pgt: c.pointer(ARG.pgt),
      ipa: c.natural(ARG.ipa),
    };
  };
}

function s2TestClearYoung(c: ProbeArguments): EventOf<"s2_test_clear_young"> {
  c.arguments();
  const { line, time, cpu, task, pid, event } = c;
  return {
    line,
    time,
    cpu,
    task,
    pid,
    event,
    kind: "s2_test_clear_young",
    pgt: c.pointer(ARG.pgt),
    ipa: c.natural(ARG.ipa),
    size: c.natural(ARG.size),
    mkold: c.number(ARG.mkold) !== 0,
  };
}

function s2CreateUnlinked(c: ProbeArguments): EventOf<"s2_create_unlinked"> {
  c.arguments();
  const { line, time, cpu, task, pid, event } = c;
  return {
    line,
    time,
    cpu,
    task,
    pid,
    event,
    kind: "s2_create_unlinked",
    pgt: optionalTable(c),
    phys: c.natural(ARG.phys),
    level: c.number(ARG.level),
    prot: c.prot(),
    forcePte: c.number(ARG.force_pte) !== 0,
  };
}

function s2FreeUnlinked(c: ProbeArguments): EventOf<"s2_free_unlinked"> {
  c.arguments();
  const pgt = optionalTable(c);
  const { line, time, cpu, task, pid, event } = c;
  return {
    line,
    time,
    cpu,
    task,
    pid,
    event,
    kind: "s2_free_unlinked",
    pgt,
    level: c.number(ARG.level),
  };
}

function s2Destroy(c: ProbeArguments): EventOf<"s2_destroy"> {
  c.arguments();
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "s2_destroy", pgt: c.pointer(ARG.pgt) };
}

function tlbiIpa(kind: TlbiIpaEvent["kind"]): ReadProbe {
  return (c) => {
    c.arguments();
    const { line, time, cpu, task, pid, event } = c;
    return {
      line,
      time,
      cpu,
      task,
      pid,
      event,
      kind,
      ipa: c.natural(ARG.ipa),
      level: c.number(ARG.level),
    };
  };
}

function tlbiRange(c: ProbeArguments): EventOf<"tlbi_range"> {
  c.arguments();
  const { line, time, cpu, task, pid, event } = c;
  return {
    line,
    time,
    cpu,
    task,
    pid,
    event,
    kind: "tlbi_range",
    ipa: c.natural(ARG.ipa),
    pages: c.natural(ARG.pages),
  };
}

function tlbiVmid(c: ProbeArguments): EventOf<"tlbi_vmid"> {
  c.arguments();
  const { line, time, cpu, task, pid, event } = c;
  return { line, time, cpu, task, pid, event, kind: "tlbi_vmid", mmu: c.pointer(ARG.mmu) };
}

/** Return probes name their value `ret`, or `young` where it is an answer. */
function returned(of: string): ReadProbe {
  return (c): ReturnEvent => {
    c.arguments();
    const value = c.has(ARG.young) ? c.number(ARG.young) : c.number(ARG.ret);
    const { line, time, cpu, task, pid, event } = c;
    return { line, time, cpu, task, pid, event, kind: "ret", of, value };
  };
}

/** A probe: its name, the kind of its events, and how they are read. */
export type ProbeRow = readonly [name: string, kind: TraceEvent["kind"], read: ReadProbe];

const OPERATIONS: readonly ProbeRow[] = [
  ["s2_map", "s2_map", s2Map],
  ["s2_unmap", "s2_unmap", s2Range("s2_unmap")],
  ["s2_wrprotect", "s2_wrprotect", s2Range("s2_wrprotect")],
  ["s2_flush", "s2_flush", s2Range("s2_flush")],
  ["s2_relax_perms", "s2_relax_perms", s2RelaxPerms],
  ["s2_mkyoung", "s2_mkyoung", s2Age("s2_mkyoung")],
  ["s2_mkold", "s2_mkold", s2Age("s2_mkold")],
  ["s2_is_young", "s2_is_young", s2Age("s2_is_young")],
  ["s2_test_clear_young", "s2_test_clear_young", s2TestClearYoung],
  ["s2_split", "s2_split", s2Split],
  ["s2_create_unlinked", "s2_create_unlinked", s2CreateUnlinked],
  ["s2_free_unlinked", "s2_free_unlinked", s2FreeUnlinked],
  ["s2_destroy", "s2_destroy", s2Destroy],
  ["s2_destroy_range", "s2_destroy_range", s2Range("s2_destroy_range")],
];

/** Every probe that is read. Return probes are named after their functions. */
export const PROBES: readonly ProbeRow[] = [
  ...OPERATIONS,
  ...OPERATIONS.map(([name]): ProbeRow => [`${name}_ret`, "ret", returned(name)]),
  ["tlbi_ipa", "tlbi_ipa", tlbiIpa("tlbi_ipa")],
  ["tlbi_ipa_nsh", "tlbi_ipa_nsh", tlbiIpa("tlbi_ipa_nsh")],
  ["tlbi_range", "tlbi_range", tlbiRange],
  ["tlbi_vmid", "tlbi_vmid", tlbiVmid],
];
