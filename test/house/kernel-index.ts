// An index for readers who know the kernel: each function of KVM/arm64's page-table library, and its counterpart here.
// docs/spec K.1 lists the functions that the library exports; its walkers follow, then TLBs and page caches.

/** One function of the kernel and its counterpart. */
export interface KernelFunction {
  /** Name in Linux 6.12, or in the version that `since` names. */
  readonly kernel: string;
  readonly since?: string;
  /** File below assembly/ and the function, or class, there. */
  readonly file: string;
  readonly core: string;
  /** Name in the library: a method of a public class, or a function. */
  readonly facade?: string;
}

/** A heading and its functions. */
export interface KernelPart {
  readonly title: string;
  readonly functions: readonly KernelFunction[];
}

function entry(kernel: string, file: string, core: string, facade?: string, since?: string): KernelFunction {
  return { kernel, file, core, ...(facade === undefined ? {} : { facade }), ...(since === undefined ? {} : { since }) };
}

const DESCRIPTORS: KernelPart = {
  title: "Descriptors and geometry (kvm_pgtable.h)",
  functions: [
    entry("kvm_get_parange", "arch/control.ts", "vtcr", "paRangeCode"),
    entry("kvm_pte_valid", "arch/descriptor.ts", "isValid"),
    entry("kvm_pte_table", "arch/descriptor.ts", "isTable"),
    entry("kvm_pte_to_phys", "arch/descriptor.ts", "decodeAddress"),
    entry("kvm_phys_to_pte", "arch/descriptor.ts", "encodeAddress"),
    entry("kvm_granule_shift", "arch/granule.ts", "shift", "levelShift"),
    entry("kvm_granule_size", "arch/granule.ts", "span"),
    entry("kvm_level_supports_block_mapping", "arch/granule.ts", "minBlockLevel"),
    entry("kvm_supported_block_sizes", "arch/granule.ts", "blockSizes"),
    entry("kvm_pgtable_idx", "arch/granule.ts", "index"),
    entry("kvm_pgd_pages", "arch/granule.ts", "startTables"),
    entry("kvm_init_table_pte", "arch/descriptor.ts", "tableDescriptor"),
    entry("kvm_init_valid_leaf_pte", "arch/descriptor.ts", "leafDescriptor"),
    entry("kvm_init_invalid_leaf_owner", "arch/descriptor.ts", "ownerAnnotation"),
    entry("hyp_set_prot_attr", "arch/stage1.ts", "stage1Attributes"),
    entry("kvm_pgtable_hyp_pte_prot", "arch/stage1.ts", "stage1Prot", "Entry.prot"),
    entry("stage2_set_prot_attr", "arch/stage2.ts", "stage2Attributes"),
    entry("kvm_pgtable_stage2_pte_prot", "arch/stage2.ts", "stage2Prot", "Entry.prot"),
    entry("stage2_pte_cacheable", "arch/stage2.ts", "isCacheable"),
    entry("stage2_pte_executable", "arch/stage2.ts", "isExecutable"),
    entry("stage2_pte_is_counted", "arch/descriptor.ts", "isCounted"),
    entry("stage2_pte_is_locked", "arch/descriptor.ts", "isLocked"),
  ],
};

const WALKER: KernelPart = {
  title: "The walker (pgtable.c)",
  functions: [
    entry("kvm_pgtable_walk", "table/walk.ts", "walk", "Table.walk"),
    entry("_kvm_pgtable_walk", "table/walk.ts", "setRange"),
    entry("__kvm_pgtable_walk", "table/walk.ts", "rows"),
    entry("__kvm_pgtable_visit", "table/walk.ts", "child"),
    entry("kvm_pgtable_walk_continue", "table/walk.ts", "stops"),
    entry("kvm_pgtable_visitor_cb", "table/walk.ts", "Visitor"),
    entry("kvm_pgtable_walk_begin", "table/walk.ts", "open"),
    entry("kvm_pgtable_walk_end", "table/walk.ts", "close"),
    entry("kvm_dereference_pteref", "memory/cell.ts", "read"),
    entry("kvm_pgtable_walk_shared", "table/sharing.ts", "modeOf"),
    entry("stage2_free_unlinked_table_rcu_cb", "table/teardown.ts", "collect", "Engine.reclaim"),
    entry("kvm_pgtable_get_leaf", "table/lookup.ts", "getLeaf", "Table.leaf"),
    entry("leaf_walker", "table/lookup.ts", "LeafVisitor"),
    entry("stage2_try_set_pte", "table/bbm.ts", "put", "Visit.set"),
    entry("stage2_try_break_pte", "table/bbm.ts", "tryBreak", "Visit.tryBreak"),
    entry("stage2_make_pte", "table/bbm.ts", "make", "Visit.make"),
    entry("kvm_clear_pte", "table/bbm.ts", "clear"),
  ],
};

const STAGE1: KernelPart = {
  title: "Hypervisor stage 1 (pgtable.c)",
  functions: [
    entry("kvm_pgtable_hyp_init", "table/config.ts", "createHyp", "Engine.createHyp"),
    entry("kvm_pgtable_hyp_map", "table/hyp.ts", "hypMap", "HypTable.map"),
    entry("hyp_map_walker_try_leaf", "table/hyp.ts", "tryLeaf"),
    entry("hyp_map_walker", "table/hyp.ts", "HypMapVisitor"),
    entry("kvm_pgtable_hyp_unmap", "table/hyp.ts", "hypUnmap", "HypTable.unmap"),
    entry("hyp_unmap_walker", "table/hyp.ts", "HypUnmapVisitor"),
    entry("kvm_pgtable_hyp_destroy", "table/teardown.ts", "destroy", "Table.destroy"),
    entry("hyp_free_walker", "table/teardown.ts", "FreeVisitor"),
  ],
};

const STAGE2: KernelPart = {
  title: "Guest stage 2 (pgtable.c)",
  functions: [
    entry("kvm_get_vtcr", "arch/control.ts", "vtcr", "Stage2Table.vtcr"),
    entry("kvm_pgtable_stage2_pgd_size", "arch/granule.ts", "startTables", "Table.info"),
    entry("__kvm_pgtable_stage2_init", "table/config.ts", "createStage2", "Engine.createStage2"),
    entry("kvm_pgtable_stage2_map", "table/map.ts", "map", "Stage2Table.map"),
    entry("stage2_map_walker", "table/map.ts", "MapVisitor"),
    entry("stage2_map_walker_try_leaf", "table/map.ts", "tryLeaf"),
    entry("stage2_map_walk_leaf", "table/map.ts", "grow"),
    entry("stage2_map_walk_table_pre", "table/map.ts", "MapVisitor.pre"),
    entry("stage2_leaf_mapping_allowed", "table/place.ts", "leafAllowed"),
    entry("stage2_pte_needs_update", "table/map.ts", "needsUpdate"),
    entry("kvm_pgtable_stage2_set_owner", "table/map.ts", "setOwner", "Stage2Table.setOwner"),
    entry("kvm_pgtable_stage2_annotate", "table/map.ts", "annotate", "Stage2Table.annotate", "7.1"),
    entry("kvm_pgtable_stage2_unmap", "table/unmap.ts", "unmap", "Stage2Table.unmap"),
    entry("stage2_unmap_walker", "table/unmap.ts", "UnmapVisitor"),
    entry("stage2_unmap_put_pte", "table/unmap.ts", "remove"),
    entry("stage2_unmap_defer_tlb_flush", "table/unmap.ts", "deferred"),
    entry("stage2_attr_walker", "table/attrs.ts", "AttributeVisitor"),
    entry("stage2_update_leaf_attrs", "table/attrs.ts", "update"),
    entry("kvm_pgtable_stage2_wrprotect", "table/attrs.ts", "wrprotect", "Stage2Table.wrprotect"),
    entry("kvm_pgtable_stage2_mkyoung", "table/attrs.ts", "mkyoung", "Stage2Table.mkyoung"),
    entry("kvm_pgtable_stage2_test_clear_young", "table/attrs.ts", "testClearYoung", "Stage2Table.testClearYoung"),
    entry("stage2_age_walker", "table/attrs.ts", "AgeVisitor"),
    entry("kvm_pgtable_stage2_relax_perms", "table/attrs.ts", "relax", "Stage2Table.relaxPerms"),
    entry("kvm_pgtable_stage2_flush", "table/attrs.ts", "flush", "Stage2Table.flush"),
    entry("stage2_flush_walker", "table/attrs.ts", "FlushVisitor"),
    entry("kvm_pgtable_stage2_split", "table/split.ts", "split", "Stage2Table.split"),
    entry("stage2_split_walker", "table/split.ts", "SplitVisitor"),
    entry("stage2_block_get_nr_page_tables", "table/split.ts", "tablesOf"),
    entry("kvm_pgtable_stage2_create_unlinked", "table/split.ts", "createUnlinked", "Stage2Table.createUnlinked"),
    entry("kvm_pgtable_stage2_free_unlinked", "table/teardown.ts", "releaseSubtree", "Stage2Table.freeUnlinked"),
    entry("kvm_pgtable_stage2_destroy", "table/teardown.ts", "destroy", "Table.destroy"),
    entry("stage2_free_walker", "table/teardown.ts", "FreeVisitor"),
    entry("kvm_pgtable_stage2_destroy_range", "table/teardown.ts", "destroyRange", "Stage2Table.destroyRange", "6.18"),
    entry("kvm_pgtable_stage2_destroy_pgd", "table/teardown.ts", "release", "Table.close", "6.18"),
  ],
};

const MEMORY: KernelPart = {
  title: "Memory operations (struct kvm_pgtable_mm_ops)",
  functions: [
    entry("zalloc_page", "table/mmops.ts", "zallocPage", "MmOps.zallocPage"),
    entry("zalloc_pages_exact", "table/mmops.ts", "zallocPagesExact", "MmOps.zallocPagesExact"),
    entry("free_pages_exact", "table/mmops.ts", "freePagesExact", "MmOps.freePagesExact"),
    entry("free_unlinked_table", "table/mmops.ts", "deferUnlinked", "MmOps.freeUnlinkedTable"),
    entry("get_page", "table/mmops.ts", "getPages", "MmOps.getPage"),
    entry("put_page", "table/mmops.ts", "putPages", "MmOps.putPage"),
    entry("page_count", "table/mmops.ts", "pageCount", "MmOps.pageCount"),
    entry("phys_to_virt", "table/mmops.ts", "physToVirt", "MmOps.physToVirt"),
    entry("virt_to_phys", "table/mmops.ts", "virtToPhys", "MmOps.virtToPhys"),
    entry("dcache_clean_inval_poc", "table/mmops.ts", "cleanDcache", "MmOps.dcacheCleanInvalPoc"),
    entry("icache_inval_pou", "table/mmops.ts", "invalidateIcache", "MmOps.icacheInvalPou"),
    entry("kvm_mmu_topup_memory_cache", "memory/cache.ts", "topUp", "PageCache.topUp"),
    entry("kvm_mmu_memory_cache_alloc", "memory/cache.ts", "takePage"),
    entry("kvm_mmu_memory_cache_nr_free_objects", "memory/cache.ts", "cached", "PageCache.count"),
    entry("kvm_mmu_free_memory_cache", "memory/cache.ts", "destroyCache", "PageCache.close"),
  ],
};

const TLB: KernelPart = {
  title: "TLB maintenance (hyp/*/tlb.c, tlbflush.h)",
  functions: [
    entry("__kvm_tlb_flush_vmid_ipa", "record/maintenance.ts", "flushIpa"),
    entry("__kvm_tlb_flush_vmid_ipa_nsh", "record/maintenance.ts", "flushIpaLocal"),
    entry("__kvm_tlb_flush_vmid_range", "record/maintenance.ts", "flushRange"),
    entry("__kvm_tlb_flush_vmid", "record/maintenance.ts", "flushVmid"),
    entry("kvm_tlb_flush_vmid_range", "record/maintenance.ts", "flushRange", "Stage2Table.flushTlbRange"),
    entry("__tlbi_level", "arch/tlbi.ts", "ipaOperand"),
    entry("__TLBI_VADDR_RANGE", "arch/tlbi.ts", "rangeOperand"),
    entry("__TLBI_RANGE_NUM", "arch/tlbi.ts", "rangeNum"),
    entry("__TLBI_RANGE_PAGES", "arch/tlbi.ts", "rangePages"),
  ],
};

/** Every part, in the order of the document. */
export const KERNEL_INDEX: readonly KernelPart[] = [WALKER, STAGE1, STAGE2, DESCRIPTORS, MEMORY, TLB];

/** The kernel functions of docs/spec that exist in 6.12 or later. Each must have a row. */
export const SPEC_K1: readonly string[] = [
  "kvm_pgtable_walk",
  "kvm_pgtable_get_leaf",
  "kvm_pgtable_hyp_init",
  "kvm_pgtable_hyp_map",
  "kvm_pgtable_hyp_unmap",
  "kvm_pgtable_hyp_destroy",
  "kvm_get_vtcr",
  "kvm_pgtable_stage2_pgd_size",
  "__kvm_pgtable_stage2_init",
  "kvm_pgtable_stage2_destroy",
  "kvm_pgtable_stage2_destroy_range",
  "kvm_pgtable_stage2_destroy_pgd",
  "kvm_pgtable_stage2_map",
  "kvm_pgtable_stage2_set_owner",
  "kvm_pgtable_stage2_annotate",
  "kvm_pgtable_stage2_unmap",
  "kvm_pgtable_stage2_wrprotect",
  "kvm_pgtable_stage2_mkyoung",
  "kvm_pgtable_stage2_test_clear_young",
  "kvm_pgtable_stage2_relax_perms",
  "kvm_pgtable_stage2_flush",
  "kvm_pgtable_stage2_free_unlinked",
  "kvm_pgtable_stage2_create_unlinked",
  "kvm_pgtable_stage2_split",
  "kvm_pgtable_stage2_pte_prot",
  "kvm_pgtable_hyp_pte_prot",
  "kvm_tlb_flush_vmid_range",
];

function row({ kernel, since, file, core, facade }: KernelFunction): string {
  const name = since === undefined ? `\`${kernel}\`` : `\`${kernel}\` (${since})`;
  return `| ${name} | [\`${file}\`](../assembly/${file}) | \`${core}\` | ${facade === undefined ? "" : `\`${facade}\``} |`;
}

/** docs/kernel-index.md. */
export function kernelIndexMarkdown(): string {
  const parts = KERNEL_INDEX.map(({ title, functions }) =>
    [`## ${title}`, "", "| Linux 6.12 | file | core | library |", "|---|---|---|---|", ...functions.map(row), ""].join(
      "\n",
    ),
  );
  const intro = [
    "# From a kernel function to ours",
    "",
    "For readers who know `arch/arm64/kvm/hyp/pgtable.c`: where each function of Linux 6.12 has its counterpart. A release in",
    "brackets is the first one that has the function. The names on the left are the kernel's; the code is our own.",
    "",
    "test/house/kernel-index.ts is the source of this page, and a test checks every row against the code. After a change run",
    "`npx vitest run test/house/kernel-index --update`.",
    "",
  ];
  return `${[...intro, ...parts].join("\n")}`;
}
