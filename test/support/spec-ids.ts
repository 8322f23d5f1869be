// The statements of parts A, W, F.1 and F.2 of the specification, and those that no test names yet.

const GROUPS: Readonly<Record<string, string>> = {
  GEO: "1 2 3 4 5 6 7 8 9 10 11 12 13",
  FMT: "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 20 21 22 23 24 25 26 27 28 29 30 31 32 40 41 42 43 44",
  REG: "1 2 3 4 5 6 7 8 9 10",
  WLK: "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
  S1: "1 2 3 4 5a 5 6 7 8",
  S2: "1 2 3 4 5 6 7 8 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30",
  TLB: "1 2 3 4 5 6 7 8 9 10 11 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38",
};

/** All ids, in the order of the specification. */
export const STATEMENTS: readonly string[] = Object.entries(GROUPS).flatMap(([group, numbers]) =>
  numbers.split(" ").map((number) => `${group}-${number}`),
);

/** Statements without a test, each with its reason. */
export const GAPS: Readonly<Record<string, string>> = {
  "FMT-4": "history: what V20 had is not built",
  "FMT-27": "nT is never set; a model may expose it later",
  "FMT-42": "the payload of a host donation is pKVM's: a later issue; payloads are opaque here",
  "FMT-44": "history: V20 had no owner and no marker",
  "REG-7": "the IPA size request of a VM belongs to vm/, a later issue",
  "REG-10": "the size of the hypervisor's address space is the caller's choice here",
  "WLK-11": "bulk walks that are shared come with sharing, a later issue",
  "WLK-13": "read sections come with sharing, a later issue",
  "S1-8": "history: V20 had no unmap at EL2",
  "TLB-34": "the fixmap of EL2 is pKVM's: a later issue",
  "TLB-35": "dirty rings are a later issue",
  "TLB-36": "memory slots are a later issue",
  "TLB-38": "history: before 6.6 a table's break flushed the VMID",
};
