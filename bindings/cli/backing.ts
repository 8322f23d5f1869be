// What the VMM's memory behind a trace is made of, as the command line names it.

const MIB = 1 << 20;

/** Kinds of memory. */
export const BACKINGS = ["page", "thp", "hugetlb-2m", "hugetlb-32m", "hugetlb-512m", "hugetlb-1g"] as const;

/** One of them. */
export type BackingName = (typeof BACKINGS)[number];

/** Bytes of a hugetlb page, 0 for none, and transparent huge pages. */
export function backingOf(name: BackingName): { readonly hugetlb: number; readonly thp: boolean } {
  const [kind, size] = name.split("-");
  const unit = size?.endsWith("g") ? 1024 * MIB : MIB;
  return { thp: kind === "thp", hugetlb: size === undefined ? 0 : Number.parseInt(size, 10) * unit };
}
