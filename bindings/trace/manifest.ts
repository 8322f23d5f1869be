import { ManifestError } from "./errors.js";
import { type ByteSource, readWhole } from "./lines.js";
import type { SlotRegion } from "./marker.js";
import { numberingOfKernel, type ProtectionNumbering } from "./protection.js";

/**
 * One KVM_SET_USER_MEMORY_REGION call. A manifest lists the calls in the order they were made, not
 * the slots that were left: the same slot comes again when its flags change, when it moves, and
 * with size 0 when it goes.
 */
export interface MemorySlotCall extends SlotRegion {
  /** 0, or -1 when KVM refused: then nothing changed. */
  readonly rc: number;
  /** Why KVM refused; 0 if it did not, `undefined` if it was not recorded. */
  readonly errno: number | undefined;
}

/** What memory a stretch of guest RAM is made of. */
export type Backing =
  | {
      /** Ordinary pages of the process, from mmap without a file. */
      readonly kind: "anonymous";
      /** First host virtual address. */
      readonly hva: number;
      /** Bytes. */
      readonly size: number;
      /** Whether transparent huge pages were asked for, forbidden, or left to the system. */
      readonly hugePages: "advised" | "forbidden" | "default";
    }
  | {
      /** Huge pages that were reserved for it (hugetlbfs, or MAP_HUGETLB). */
      readonly kind: "hugetlb";
      /** First host virtual address. */
      readonly hva: number;
      /** Bytes. */
      readonly size: number;
      /** Bytes of one huge page. */
      readonly pageSize: number;
    };

/** What the host had, as far as its kernel log tells. */
export interface HostFeatures {
  /** Stage-2 forced write-back: guest memory is cacheable whatever the guest says. */
  readonly fwb: boolean;
  /**
   * The CPU has TLBI by range. Whether KVM used it is another question (a kernel may be built
   * without it, 6.1 has no such code): see {@link rangeTlbiSeen}.
   */
  readonly rangeTlbi: boolean;
  /** The trace has `tlbi_range` events. nVHE hosts show no TLBI events at all. */
  readonly rangeTlbiSeen: boolean;
  /** 52-bit stage-2 addresses with the 4K and 16K granules. */
  readonly lpa2: boolean;
  /** The hypervisor runs in EL2 together with its kernel. */
  readonly vhe: boolean;
  /** Hardware manages the access flag and dirty state. */
  readonly hardwareDirty: boolean;
  /** Widest guest physical address in bits, `undefined` if the log does not say. */
  readonly ipaLimit: number | undefined;
}

/** What a capture's manifest says. */
export interface Manifest {
  /** `<run>/<scenario>`. */
  readonly name: string;
  /** Text of the host's `uname -a`. */
  readonly hostKernel: string;
  /** Release such as `6.12.95+deb12-arm64`. */
  readonly release: string;
  /** The release's first two numbers, such as 6 and 12. */
  readonly version: readonly [major: number, minor: number];
  /** How this kernel numbers the `prot` arguments. */
  readonly numbering: ProtectionNumbering;
  /** Bytes of a host page, which is the stage-2 granule. */
  readonly granule: number;
  /** Model of the host CPU. */
  readonly cpu: string;
  /** What the host's CPU and kernel had. */
  readonly features: HostFeatures;
  /** The program that ran the guest, in words. */
  readonly vmm: string;
  /** Command line of the VMM where it has one. */
  readonly vmmCommand: string | undefined;
  /** Kind of scenario, where the VMM has kinds. */
  readonly mode: string | undefined;
  /** Number of vCPUs. */
  readonly vcpus: number;
  /** Bits of guest physical address of the VM; a VMM that does not say takes 40. */
  readonly ipaBits: number | undefined;
  /** The KVM_SET_USER_MEMORY_REGION calls, in the order they were made. */
  readonly slotCalls: readonly MemorySlotCall[];
  /** Empty where the VMM does not say. */
  readonly backing: readonly Backing[];
  /** Chunk of eager block splitting in bytes, 0 if it was off. */
  readonly eagerSplit: number;
  /** Value of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 (bit 0 on, bit 1 initially set), 0 if off. */
  readonly manualDirtyLog: number;
  /** How many lines of each event the trace has. */
  readonly events: ReadonlyMap<string, number>;
  /** Path of the trace below the folder of all captures; `undefined` where there is no text trace. */
  readonly trace: string | undefined;
  /** Paths of the files beside it. */
  readonly files: readonly string[];
}

/** The manifest of a capture has some tens of kilobytes. */
const MAX_BYTES = 1 << 24;

type Json = Record<string, unknown>;

function string(json: Json, field: string): string {
  const value = json[field];
  if (typeof value !== "string") throw new ManifestError(field, "a string");
  return value;
}

/** A field that may be absent or null. */
function optional<T>(json: Json, field: string, read: (json: Json, field: string) => T): T | undefined {
  return json[field] === undefined || json[field] === null ? undefined : read(json, field);
}

function whole(value: unknown, field: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    throw new ManifestError(field, "a whole number below 2^53");
  }
  return value;
}

function natural(json: Json, field: string): number {
  const value = whole(json[field], field);
  if (value < 0) throw new ManifestError(field, "a number not below 0");
  return value;
}

function strings(json: Json, field: string): string[] {
  const value = json[field] ?? [];
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
    throw new ManifestError(field, "a list of strings");
  }
  return value;
}

function object(value: unknown, field: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ManifestError(field, "an object");
  }
  return value as Json;
}

/** "0x40000000" as a number, exact. */
function hex(text: unknown, field: string): number {
  const value = typeof text === "string" && /^0x[0-9a-f]{1,14}$/i.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new ManifestError(field, "0x and hex digits, below 2^53");
  return value;
}

function slotCall(item: unknown, index: number): MemorySlotCall {
  const at = (field: string): string => `memslots[${index}].${field}`;
  const json = object(item, `memslots[${index}]`);
  return {
    slot: whole(json.slot, at("slot")),
    flags: hex(json.flags, at("flags")),
    gpa: hex(json.gpa, at("gpa")),
    size: hex(json.size, at("size")),
    hva: hex(json.hva, at("hva")),
    rc: whole(json.rc, at("rc")),
    errno: optional(json, "errno", (call, field) => whole(call[field], at(field))),
  };
}

function slotCalls(json: Json): MemorySlotCall[] {
  if (!Array.isArray(json.memslots)) throw new ManifestError("memslots", "a list");
  return json.memslots.map(slotCall);
}

const ANONYMOUS = /^anon hva=(\S+) size=(\S+)(?: madvise=(HUGEPAGE|NOHUGEPAGE) rc=(-?\d+))?$/;
const HUGETLB = /^hugetlb shift=(\d{1,2}) hva=(\S+) size=(\S+)$/;

function backing(text: string, index: number): Backing {
  const field = `backing[${index}]`;
  const huge = HUGETLB.exec(text);
  if (huge) {
    const pageSize = 2 ** Number(huge[1]);
    return { kind: "hugetlb", hva: hex(huge[2], field), size: hex(huge[3], field), pageSize };
  }
  const plain = ANONYMOUS.exec(text);
  if (!plain) throw new ManifestError(field, "anon hva=.. size=.. or hugetlb shift=.. hva=..");
  const advice = plain[4] === "0" ? plain[3] : undefined;
  const hugePages = advice === undefined ? "default" : advice === "HUGEPAGE" ? "advised" : "forbidden";
  return { kind: "anonymous", hva: hex(plain[1], field), size: hex(plain[2], field), hugePages };
}

/** "NAME=value rc=0" of the capabilities that were switched on with success, else 0. */
function capability(caps: readonly string[], name: string): number {
  for (const cap of caps) {
    const m = /^([A-Z0-9_]+)=(\d{1,15}) rc=0\b/.exec(cap);
    if (m?.[1] === name) return Number(m[2]);
  }
  return 0;
}

function eventCounts(json: Json): ReadonlyMap<string, number> {
  const counts = object(json.events, "events");
  return new Map(Object.keys(counts).map((name) => [name, whole(counts[name], `events.${name}`)]));
}

function features(json: Json, events: ReadonlyMap<string, number>): HostFeatures {
  const log = strings(json, "kvm_dmesg").join("\n");
  const mode = string(json, "kvm_mode");
  if (mode !== "VHE" && mode !== "nVHE") throw new ManifestError("kvm_mode", "VHE or nVHE");
  const limit = /IPA Size Limit: (\d{1,2}) bits/.exec(log)?.[1];
  return {
    fwb: log.includes("Stage-2 Force Write-Back"),
    rangeTlbi: log.includes("TLB range maintenance instructions"),
    rangeTlbiSeen: (events.get("tlbi_range") ?? 0) > 0,
    lpa2: log.includes("52-bit Virtual Addressing for KVM (LPA2)"),
    vhe: mode === "VHE",
    hardwareDirty: log.includes("Hardware dirty bit management"),
    ipaLimit: limit === undefined ? undefined : Number(limit),
  };
}

function kernel(json: Json): Pick<Manifest, "hostKernel" | "release" | "version" | "numbering"> {
  const hostKernel = string(json, "host_kernel");
  const m = /(?:^|\s)((\d{1,4})\.(\d{1,4})\S*)/.exec(hostKernel);
  const numbering = numberingOfKernel(hostKernel);
  if (!m || !numbering) throw new ManifestError("host_kernel", "a kernel release");
  return { hostKernel, release: m[1] as string, version: [Number(m[2]), Number(m[3])], numbering };
}

function manifestOf(json: Json): Manifest {
  const name = string(json, "name");
  const granule = natural(json, "stage2_granule");
  if (![4096, 16384, 65536].includes(granule)) {
    throw new ManifestError("stage2_granule", "4096, 16384 or 65536");
  }
  const events = eventCounts(json);
  const caps = strings(json, "enable_caps");
  return {
    name,
    ...kernel(json),
    granule,
    cpu: string(json, "l1_cpu"),
    features: features(json, events),
    vmm: string(json, "vmm"),
    vmmCommand: optional(json, "vmm_cmd", string),
    mode: optional(json, "mode", string),
    vcpus: natural(json, "vcpus"),
    ipaBits: optional(json, "ipa_bits", natural),
    slotCalls: slotCalls(json),
    backing: strings(json, "backing").map(backing),
    eagerSplit: capability(caps, "EAGER_SPLIT_CHUNK_SIZE"),
    manualDirtyLog: capability(caps, "MANUAL_DIRTY_LOG_PROTECT2"),
    events,
    trace: optional(json, "trace", string),
    files: strings(json, "files"),
  };
}

/**
 * Parses the manifest of a capture.
 *
 * @param text - the whole JSON file
 * @throws {@link ManifestError} naming the first field that is missing or has another form
 * @example
 * ```ts
 * import { parseManifest } from "granule/trace";
 *
 * const granuleOf = (json: string): number => parseManifest(json).granule;
 * ```
 */
export function parseManifest(text: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ManifestError("", "JSON", { cause });
  }
  return manifestOf(object(json, ""));
}

/**
 * Reads the manifest of a capture: {@link parseManifest} for a stream, gzipped or not.
 *
 * @throws {@link ManifestError}, and TraceInputError on damaged gzip data and on more than 16 MiB
 * @example
 * ```ts
 * import { openFile, readManifest } from "granule/trace/node";
 *
 * async function isOld(path: string): Promise<boolean> {
 *   return (await readManifest(openFile(path))).numbering === "6.x";
 * }
 * ```
 */
export async function readManifest(source: ByteSource): Promise<Manifest> {
  return parseManifest(await readWhole(source, MAX_BYTES));
}
