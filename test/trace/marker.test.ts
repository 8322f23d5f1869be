import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseMarker } from "../../bindings/trace/index.js";

const FORMS: readonly [string, object][] = [
  ["FREEZE unmap-2v mapped-thp", { type: "freeze", scenario: "unmap-2v", point: "mapped-thp" }],
  ["KVM_CREATE_VM type=0x34", { type: "create-vm", machine: 52 }],
  [
    "KVM_SET_USER_MEMORY_REGION slot=1 flags=0x1 gpa=0x40000000 size=0x4000000 hva=0xffff85600000",
    {
      type: "set-region",
      slot: 1,
      flags: 1,
      gpa: 0x4000_0000,
      size: 0x400_0000,
      hva: 0xffff_8560_0000,
    },
  ],
  ["KVM_SET_USER_MEMORY_REGION slot=1 rc=-1 errno=14", { type: "set-region-done", slot: 1, rc: -1, errno: 14 }],
  [
    "KVM_ENABLE_CAP EAGER_SPLIT_CHUNK_SIZE=2097152 rc=0 errno=0",
    { type: "enable-cap", cap: "EAGER_SPLIT_CHUNK_SIZE", value: 2_097_152, rc: 0 },
  ],
  [
    "KVM_ENABLE_CAP MANUAL_DIRTY_LOG_PROTECT2=3 rc=0",
    { type: "enable-cap", cap: "MANUAL_DIRTY_LOG_PROTECT2", value: 3, rc: 0 },
  ],
  ["KVM_GET_DIRTY_LOG slot=1 [round0 manual]", { type: "get-dirty-log", slot: 1, label: "round0 manual" }],
  ["KVM_GET_DIRTY_LOG slot=1 rc=0 dirty_pages=299", { type: "get-dirty-log-done", slot: 1, rc: 0, dirtyPages: 299 }],
  [
    "KVM_CLEAR_DIRTY_LOG slot=1 first_page=0 num_pages=32768 [lower-half]",
    { type: "clear-dirty-log", slot: 1, firstPage: 0, pages: 32_768, label: "lower-half" },
  ],
  ["KVM_CLEAR_DIRTY_LOG rc=0 errno=0", { type: "clear-dirty-log-done", rc: 0, errno: 0 }],
  [
    "run [round0] vcpu0:150 vcpu1:151 ops",
    {
      type: "run",
      label: "round0",
      vcpus: [
        { vcpu: 0, ops: 150 },
        { vcpu: 1, ops: 151 },
      ],
    },
  ],
  ["run-done [round0]", { type: "run-done", label: "round0" }],
  [
    "madvise DONTNEED hva=0xffff98a05000 len=0x3000 (3 pages in block 1)",
    { type: "host-memory", call: "madvise", how: "DONTNEED", hva: 0xffff_98a0_5000, len: 0x3000 },
  ],
  [
    "munmap+mmap MAP_FIXED hva=0x1000 len=0x2000",
    { type: "host-memory", call: "munmap+mmap", how: "MAP_FIXED", hva: 0x1000, len: 0x2000 },
  ],
  [
    "munmap hva=0x1000 len=0x2000 (whole slot1 backing tail)",
    { type: "host-memory", call: "munmap", how: "", hva: 0x1000, len: 0x2000 },
  ],
  ["mprotect RO hva=0x1000 len=0x2000", { type: "host-memory", call: "mprotect", how: "RO", hva: 0x1000, len: 0x2000 }],
  ["fork", { type: "fork" }],
  ["fork child gone", { type: "fork-gone" }],
  [
    "qemu start mig-1 thp=[always] args: -smp 1",
    { type: "vmm-start", name: "mig-1", args: "thp=[always] args: -smp 1" },
  ],
  ["qemu exit rc=0", { type: "vmm-exit", rc: 0 }],
  ["exit", { type: "vmm-exit", rc: 0 }],
  ["monitor: migrate start", { type: "monitor", command: "migrate start" }],
  ["MADV_MERGEABLE", { type: "remark", text: "MADV_MERGEABLE" }],
  // A number that no double holds: better no number than a wrong one.
  ["KVM_CREATE_VM type=0xffffffffffffffff", { type: "remark", text: "KVM_CREATE_VM type=0xffffffffffffffff" }],
];

describe("markers", () => {
  it.each(FORMS)("vmm: %s", (text, note) => {
    expect(parseMarker(`vmm: ${text}`)).toEqual(note);
  });

  it("of others are left alone", () => {
    expect(parseMarker("hello")).toEqual({ type: "other" });
  });

  it("never throw", () => {
    fc.assert(fc.property(fc.string(), (text) => typeof parseMarker(`vmm: ${text}`).type === "string"));
  });
});
