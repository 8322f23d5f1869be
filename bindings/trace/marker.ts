/*
 * The text that VMMs write into trace_marker, always "vmm: ...". A few forms are fixed; any other text
 * is kept as it is, and is never an error.
 */

/** Arguments of a memory-slot call. */
export interface SlotRegion {
  /** Number of the slot, with its address space in bits 31:16. */
  readonly slot: number;
  /** KVM_MEM_LOG_DIRTY_PAGES is 1, KVM_MEM_READONLY is 2. */
  readonly flags: number;
  /** First guest physical address, in bytes. */
  readonly gpa: number;
  /** Bytes; 0 deletes the slot. */
  readonly size: number;
  /** Host virtual address behind `gpa`. */
  readonly hva: number;
}

/** What happened to a stretch of the VMM's own memory. */
export type HostCall = "madvise" | "munmap" | "munmap+mmap" | "mprotect";

/**
 * What a marker says, told apart by `type`. A call writes one marker before it and, where the
 * result matters, one after it (`*-done`), so that events in between belong to the call.
 */
export type MarkerNote =
  | {
      /** The machine is stopped after this: a dump `<scenario>.<point>` shows its tables. */
      readonly type: "freeze";
      /** Which scenario ran. */
      readonly scenario: string;
      /** Which moment of it. */
      readonly point: string;
    }
  | {
      /** KVM_CREATE_VM. */
      readonly type: "create-vm";
      /** The machine type; its low byte is the number of IPA bits, 0 meaning 40. */
      readonly machine: number;
    }
  | ({
      /** KVM_SET_USER_MEMORY_REGION is about to be called. */
      readonly type: "set-region";
    } & SlotRegion)
  | {
      /** The last `set-region` of this slot returned. */
      readonly type: "set-region-done";
      /** Number of the slot. */
      readonly slot: number;
      /** 0, or -1 when KVM refused: then nothing changed. */
      readonly rc: number;
      /** Why KVM refused; 0 if it did not. */
      readonly errno: number;
    }
  | {
      /** KVM_ENABLE_CAP returned. */
      readonly type: "enable-cap";
      /** Name without `KVM_CAP_`, such as `EAGER_SPLIT_CHUNK_SIZE`. */
      readonly cap: string;
      /** Its argument. */
      readonly value: number;
      /** 0, or -1 when KVM refused. */
      readonly rc: number;
    }
  | {
      /** KVM_GET_DIRTY_LOG is about to be called. */
      readonly type: "get-dirty-log";
      /** Number of the slot. */
      readonly slot: number;
      /** What the VMM calls this reading. */
      readonly label: string;
    }
  | {
      /** KVM_GET_DIRTY_LOG returned. */
      readonly type: "get-dirty-log-done";
      /** Number of the slot. */
      readonly slot: number;
      /** 0, or -1 when KVM refused. */
      readonly rc: number;
      /** Bits set in the bitmap that KVM returned. */
      readonly dirtyPages: number;
    }
  | {
      /** KVM_CLEAR_DIRTY_LOG is about to be called. */
      readonly type: "clear-dirty-log";
      /** Number of the slot. */
      readonly slot: number;
      /** First page, counted from the start of the slot. */
      readonly firstPage: number;
      /** Pages to clear. */
      readonly pages: number;
      /** What the VMM calls this clearing; empty if it says nothing. */
      readonly label: string;
    }
  | {
      /** KVM_CLEAR_DIRTY_LOG returned. */
      readonly type: "clear-dirty-log-done";
      /** 0, or -1 when KVM refused. */
      readonly rc: number;
      /** Why KVM refused; 0 if it did not. */
      readonly errno: number;
    }
  | {
      /** The guest begins a list of operations. */
      readonly type: "run";
      /** What the VMM calls the list. */
      readonly label: string;
      /** The vCPUs that take part. */
      readonly vcpus: readonly {
        /** Number of the vCPU. */
        readonly vcpu: number;
        /** How many operations it performs. */
        readonly ops: number;
      }[];
    }
  | {
      /** All vCPUs have finished their operations. */
      readonly type: "run-done";
      /** As in the `run` before it. */
      readonly label: string;
    }
  | {
      /** The VMM changes [hva, hva + len) of its own address space. */
      readonly type: "host-memory";
      /** The system call. */
      readonly call: HostCall;
      /** The advice of madvise or the mode of mprotect, such as `MADV_DONTNEED`; empty if there is none. */
      readonly how: string;
      /** First host virtual address. */
      readonly hva: number;
      /** Bytes. */
      readonly len: number;
    }
  | {
      /** The VMM forks, so that its memory becomes copy-on-write. */
      readonly type: "fork";
    }
  | {
      /** The child of the last `fork` is gone. */
      readonly type: "fork-gone";
    }
  | {
      /** A VMM process starts. */
      readonly type: "vmm-start";
      /** Its name, as the script wrote it. */
      readonly name: string;
      /** Its arguments, as the script wrote them. */
      readonly args: string;
    }
  | {
      /** A VMM process ended. */
      readonly type: "vmm-exit";
      /** Its exit status. */
      readonly rc: number;
    }
  | {
      /** A command goes to the VMM's monitor. */
      readonly type: "monitor";
      /** The command, such as `migrate start`. */
      readonly command: string;
    }
  | {
      /** A `vmm:` marker of no fixed form. */
      readonly type: "remark";
      /** What follows `vmm: `. */
      readonly text: string;
    }
  | {
      /** Not a VMM's marker, or a copy of one in the VMM's log. */
      readonly type: "other";
    };

type Match = RegExpExecArray;
type Form = readonly [form: RegExp, note: (m: Match) => MarkerNote | undefined];

function group(m: Match, n: number): string {
  return m[n] ?? "";
}

function integer(m: Match, n: number): number {
  return Number(group(m, n));
}

function region(m: Match): MarkerNote | undefined {
  const [slot, flags, gpa, size, hva] = m.slice(1).map(Number) as [number, number, number, number, number];
  return { type: "set-region", slot, flags, gpa, size, hva };
}

function run(m: Match): MarkerNote {
  const vcpus = [...group(m, 2).matchAll(/vcpu(\d+):(\d+)/g)].map((v) => ({
    vcpu: Number(v[1]),
    ops: Number(v[2]),
  }));
  return { type: "run", label: group(m, 1), vcpus };
}

function hostMemory(m: Match): MarkerNote {
  return {
    type: "host-memory",
    call: group(m, 1) as HostCall,
    how: group(m, 2),
    hva: integer(m, 3),
    len: integer(m, 4),
  };
}

const HEX = "(0x[0-9a-f]+)";

/** The fixed forms, each with the function that makes its note. Numbers are checked after matching. */
const FORMS: readonly Form[] = [
  [/^FREEZE (\S+) (\S+)$/, (m) => ({ type: "freeze", scenario: group(m, 1), point: group(m, 2) })],
  [new RegExp(`^KVM_SET_USER_MEMORY_REGION slot=(\\d+) flags=${HEX} gpa=${HEX} size=${HEX} hva=${HEX}$`), region],
  [
    /^KVM_SET_USER_MEMORY_REGION slot=(\d+) rc=(-?\d+) errno=(\d+)$/,
    (m) => ({
      type: "set-region-done",
      slot: integer(m, 1),
      rc: integer(m, 2),
      errno: integer(m, 3),
    }),
  ],
  [
    /^KVM_GET_DIRTY_LOG slot=(\d+) rc=(-?\d+) dirty_pages=(\d+)$/,
    (m) => ({
      type: "get-dirty-log-done",
      slot: integer(m, 1),
      rc: integer(m, 2),
      dirtyPages: integer(m, 3),
    }),
  ],
  [
    /^KVM_GET_DIRTY_LOG slot=(\d+) \[(.*)\]$/,
    (m) => ({ type: "get-dirty-log", slot: integer(m, 1), label: group(m, 2) }),
  ],
  [
    /^KVM_CLEAR_DIRTY_LOG slot=(\d+) first_page=(\d+) num_pages=(\d+)(?: \[(.*)\])?$/,
    (m) => ({
      type: "clear-dirty-log",
      slot: integer(m, 1),
      firstPage: integer(m, 2),
      pages: integer(m, 3),
      label: group(m, 4),
    }),
  ],
  [
    /^KVM_CLEAR_DIRTY_LOG rc=(-?\d+) errno=(\d+)$/,
    (m) => ({ type: "clear-dirty-log-done", rc: integer(m, 1), errno: integer(m, 2) }),
  ],
  [/^run \[(.*)\] ((?:vcpu\d+:\d+ )+)ops$/, run],
  [/^run-done \[(.*)\]$/, (m) => ({ type: "run-done", label: group(m, 1) })],
  [new RegExp(`^(madvise|munmap\\+mmap|munmap|mprotect)(?: ([A-Z_]+))? hva=${HEX} len=${HEX}(?: |$)`), hostMemory],
  [/^KVM_CREATE_VM type=(0x[0-9a-f]+)$/, (m) => ({ type: "create-vm", machine: integer(m, 1) })],
  [
    /^KVM_ENABLE_CAP ([A-Z0-9_]+)=(\d+) rc=(-?\d+)(?: |$)/,
    (m) => ({ type: "enable-cap", cap: group(m, 1), value: integer(m, 2), rc: integer(m, 3) }),
  ],
  [/^fork$/, () => ({ type: "fork" })],
  [/^fork child gone$/, () => ({ type: "fork-gone" })],
  [/^qemu start (\S+) (.*)$/, (m) => ({ type: "vmm-start", name: group(m, 1), args: group(m, 2) })],
  [/^qemu exit rc=(-?\d+)$/, (m) => ({ type: "vmm-exit", rc: integer(m, 1) })],
  [/^exit$/, () => ({ type: "vmm-exit", rc: 0 })],
  [/^monitor: (.*)$/, (m) => ({ type: "monitor", command: group(m, 1) })],
];

/** A number that a double cannot hold would be a wrong number: such a marker stays text. */
function exact(note: MarkerNote): boolean {
  return Object.values(note).every((v) => typeof v !== "number" || Number.isSafeInteger(v));
}

/**
 * Reads the text of a marker.
 *
 * @returns the note; `remark` for a `vmm:` text of no fixed form, `other` for anyone else's
 * @example
 * ```ts
 * import { parseMarker } from "granule/trace";
 *
 * const note = parseMarker("vmm: FREEZE ipa40 scattered");
 * if (note.type === "freeze") console.log(note.scenario, note.point); // "ipa40" "scattered"
 * ```
 */
export function parseMarker(text: string): MarkerNote {
  if (!text.startsWith("vmm: ")) return { type: "other" };
  const said = text.slice(5).trimEnd();
  for (const [form, make] of FORMS) {
    const m = form.exec(said);
    const note = m ? make(m) : undefined;
    if (note && exact(note)) return note;
  }
  return { type: "remark", text: said };
}
