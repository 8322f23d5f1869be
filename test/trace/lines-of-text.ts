/** The event lines of a real trace that the tests share, one of each form, and what they say. */
export const HEAD = "kvmt-319     [000] d....    25.892120: ";

export interface Case {
  readonly text: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

const PGT = "0xfff00000038503c0";

export const CASES: readonly Case[] = [
  {
    text: "kvm_guest_fault: ipa 0x40001000, hsr 0x93820047, hxfar 0xffff800040001008, pc 0x00000000000074",
    fields: {
      kind: "guest_fault",
      ipa: 0x4000_1000,
      esr: 0x9382_0047,
      far: 0xffff_8000_4000_1008n,
      pc: 0x74n,
    },
  },
  {
    // A zero may come without 0x (TRC-20).
    text: "kvm_guest_fault: ipa 0, hsr 0x82000005, hxfar 0x000000, pc 0000000000000000",
    fields: { kind: "guest_fault", ipa: 0, esr: 0x8200_0005, far: 0n, pc: 0n },
  },
  { text: "kvm_access_fault: IPA: 420b6000", fields: { kind: "access_fault", ipa: 0x420b_6000 } },
  {
    text: "kvm_mmio: mmio write len 8 gpa 0xa000000 val 0xffffffffffffffff",
    fields: { kind: "mmio", type: "write", len: 8, gpa: 0xa00_0000, val: 0xffff_ffff_ffff_ffffn },
  },
  {
    text: "kvm_mmio: mmio unsatisfied-read len 4 gpa 0x9000018 val 0x0",
    fields: { kind: "mmio", type: "unsatisfied-read", len: 4, gpa: 0x900_0018, val: 0n },
  },
  {
    text: "kvm_mmio_nisv: ipa 0x00000009000000, esr 0x00000092000046, far 0x00000000000010, pc 0x00000000000074",
    fields: { kind: "mmio_nisv", ipa: 0x900_0000, esr: 0x9200_0046, far: 0x10n, pc: 0x74n },
  },
  {
    text: "kvm_userspace_exit: reason KVM_EXIT_MMIO (6)",
    fields: { kind: "userspace_exit", reason: "KVM_EXIT_MMIO", code: 6 },
  },
  {
    text: "kvm_userspace_exit: reason restart (4)",
    fields: { kind: "userspace_exit", reason: "restart", code: 4 },
  },
  {
    text: "kvm_unmap_hva_range: mmu notifier unmap range: 0x00ffff85001000 -- 0x00ffff85002000",
    fields: { kind: "unmap_hva", start: 0xffff_8500_1000, end: 0xffff_8500_2000 },
  },
  {
    // "Everything", as the kernel spells it when a process's flags are cleared.
    text: "kvm_unmap_hva_range: mmu notifier unmap range: 0x00000000000000 -- 0xffffffffffffffff",
    fields: {
      kind: "unmap_hva",
      start: 0,
      end: Number.MAX_SAFE_INTEGER,
      exactEnd: 0xffff_ffff_ffff_ffffn,
    },
  },
  {
    text: "kvm_age_hva: mmu notifier age hva: 0x00ffff856f88a4 -- 0x00ffff858f88a4",
    fields: { kind: "age_hva", start: 0xffff_856f_88a4, end: 0xffff_858f_88a4 },
  },
  {
    text: "kvm_test_age_hva: mmu notifier test age hva: 0x00ffff856f88a4",
    fields: { kind: "test_age_hva", hva: 0xffff_856f_88a4 },
  },
  {
    text: "kvm_set_spte_hva: mmu notifier set pte hva: 0x00ffff93001000",
    fields: { kind: "set_spte_hva", hva: 0xffff_9300_1000 },
  },
  {
    text: "kvm_toggle_cache: VM op at 0x0000000041ee517c (cache was off, now on)",
    fields: { kind: "toggle_cache", pc: 0x41ee_517cn, was: false, now: true },
  },
  {
    text: "kvm_set_way_flush: S/W flush at 0x0000000041ee517c (cache on)",
    fields: { kind: "set_way_flush", pc: 0x41ee_517cn, cache: true },
  },
  {
    text: "kvm_dirty_ring_push: ring 1: dirty 0x10 reset 0x8 slot 2 offset 0x1ff (used 8)",
    fields: {
      kind: "dirty_ring_push",
      ring: 1,
      dirty: 16,
      reset: 8,
      slot: 2,
      offset: 0x1ff,
      used: 8,
    },
  },
  {
    text: "kvm_dirty_ring_reset: ring 1: dirty 0x10 reset 0x10 (used 0)",
    fields: { kind: "dirty_ring_reset", ring: 1, dirty: 16, reset: 16, used: 0 },
  },
  { text: "kvm_dirty_ring_exit: vcpu 3", fields: { kind: "dirty_ring_exit", vcpu: 3 } },
  {
    text: "kvm_entry: PC: 0xffff800080012345",
    fields: { kind: "entry", pc: 0xffff_8000_8001_2345n },
  },
  {
    text: `s2_map: (kvm_pgtable_stage2_map+0x0/0x140) pgt=${PGT} ipa=0x0 size=0x1000 phys=0x427cc000 prot=0x7 flags=0x18`,
    fields: {
      kind: "s2_map",
      pgt: PGT,
      ipa: 0,
      size: 0x1000,
      phys: 0x427c_c000,
      prot: 7,
      flags: 0x18,
    },
  },
  {
    // A software bit makes prot wider than a double is exact.
    text: `s2_map: (f) pgt=${PGT} ipa=0x0 size=0x1000 phys=0x1000 prot=0x80000000000006`,
    fields: { kind: "s2_map", prot: 0x80_0000_0000_0006n, flags: 0 },
  },
  ...["s2_unmap", "s2_wrprotect", "s2_flush", "s2_destroy_range"].map((kind) => ({
    text: `${kind}: (f+0x0/0xc8) pgt=${PGT} ipa=0x40000000 size=0x10000000`,
    fields: { kind, pgt: PGT, ipa: 0x4000_0000, size: 0x1000_0000 },
  })),
  {
    text: `s2_relax_perms: (f+0x0/0x140) pgt=${PGT} ipa=0x4ffdd000 prot=0x7 flags=0x1`,
    fields: { kind: "s2_relax_perms", pgt: PGT, ipa: 0x4ffd_d000, prot: 7, flags: 1 },
  },
  ...["s2_mkyoung", "s2_mkold", "s2_is_young"].map((kind) => ({
    text: `${kind}: (f+0x0/0xa8) pgt=${PGT} ipa=0x420b6000`,
    fields: { kind, pgt: PGT, ipa: 0x420b_6000 },
  })),
  {
    text: `s2_test_clear_young: (f+0x0/0x98) pgt=${PGT} ipa=0x400f8000 size=0x201000 mkold=1`,
    fields: {
      kind: "s2_test_clear_young",
      pgt: PGT,
      ipa: 0x400f_8000,
      size: 0x20_1000,
      mkold: true,
    },
  },
  {
    text: `s2_split: (f+0x0/0x80) pgt=${PGT} ipa=0x40000000 size=0x40000`,
    fields: { kind: "s2_split", pgt: PGT, ipa: 0x4000_0000, size: 0x4_0000 },
  },
  {
    text: "s2_split: (f+0x0/0x80) ipa=0x40000000 size=0x40000",
    fields: { kind: "s2_split", pgt: undefined },
  },
  {
    text: "s2_create_unlinked: (f+0x0/0x170) phys=0x59e00000 level=2 prot=0x4 force_pte=1",
    fields: {
      kind: "s2_create_unlinked",
      pgt: undefined,
      phys: 0x59e0_0000,
      level: 2,
      prot: 4,
      forcePte: true,
    },
  },
  {
    text: "s2_free_unlinked: (f+0x0/0x108) level=-1",
    fields: { kind: "s2_free_unlinked", level: -1 },
  },
  { text: `s2_destroy: (f+0x0/0xe8) pgt=${PGT}`, fields: { kind: "s2_destroy", pgt: PGT } },
  {
    text: "s2_map_ret: (kvm_handle_guest_abort+0x9a8/0xf10 <- kvm_pgtable_stage2_map) ret=-11",
    fields: { kind: "ret", of: "s2_map", value: -11 },
  },
  {
    text: "s2_relax_perms_ret: (a <- b) ret=0xfffffff5",
    fields: { kind: "ret", of: "s2_relax_perms", value: -11 },
  },
  {
    text: "s2_unmap_ret: (a <- b) ret=0xfffffffffffffff4",
    fields: { kind: "ret", of: "s2_unmap", value: -12 },
  },
  {
    text: "s2_test_clear_young_ret: (kvm_age_gfn+0x34/0x58 <- f) young=1",
    fields: { kind: "ret", of: "s2_test_clear_young", value: 1 },
  },
  {
    text: "tlbi_ipa: (__kvm_tlb_flush_vmid_ipa+0x0/0xd0) ipa=0x2003f000 level=2147483647",
    fields: { kind: "tlbi_ipa", ipa: 0x2003_f000, level: 0x7fff_ffff },
  },
  {
    text: "tlbi_ipa_nsh: (f+0x0/0xc0) ipa=0x4ffdd000 level=3",
    fields: { kind: "tlbi_ipa_nsh", ipa: 0x4ffd_d000, level: 3 },
  },
  {
    text: "tlbi_range: (f+0x0/0x178) ipa=0x20001000 pages=1",
    fields: { kind: "tlbi_range", ipa: 0x2000_1000, pages: 1 },
  },
  {
    text: "tlbi_vmid: (f+0x0/0x90) mmu=0xffff80000a0959c8",
    fields: { kind: "tlbi_vmid", mmu: "0xffff80000a0959c8" },
  },
  {
    text: "tracing_mark_write: vmm: FREEZE ipa40 scattered",
    fields: {
      kind: "marker",
      text: "vmm: FREEZE ipa40 scattered",
      note: { type: "freeze", scenario: "ipa40", point: "scattered" },
    },
  },
  { text: "sched_switch: prev_comm=a next_comm=b", fields: { kind: "unknown" } },
];
