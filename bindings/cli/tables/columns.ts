// The tables of a replay: what is in their columns. docs/formats/tables.md is compared with this file.

import type { TableColumn } from "../../tabular/column.js";

/** The tables of a replay. */
export const TABLES = ["events", "faults", "tlbis", "leaves", "pages"] as const;

/** One of them. */
export type TableName = (typeof TABLES)[number];

/** A column as it stands here: its name, its type, and what it means. */
export type Written = readonly [name: string, type: TableColumn["type"], about: string];

/** Where an event stands in the trace. */
const PLACE: readonly Written[] = [
  ["line", "whole", "line of the event in the trace, from 1"],
  ["time", "real", "seconds of the trace's clock"],
  ["cpu", "whole", "host CPU that recorded it"],
  ["task", "text", "host task"],
  ["pid", "whole", "host thread"],
];

const WRITTEN: Readonly<Record<TableName, readonly Written[]>> = {
  events: [
    ...PLACE,
    ["event", "text", "name of the event, as the trace has it"],
    ["kind", "text", "what granule takes it for"],
    ["ipa", "whole", "guest physical address"],
    ["size", "whole", "bytes: of a range, or of a device access"],
    ["host_start", "word", "first host address of a notifier's range"],
    ["host_end", "word", "first host address after it"],
    ["phys", "whole", "physical address that is mapped"],
    ["prot", "word", "protection, as the recording kernel numbers it"],
    ["flags", "whole", "walk flags"],
    ["level", "whole", "level of a table entry or of a TLBI's hint"],
    ["pages", "whole", "pages of a TLBI by range"],
    ["value", "whole", "what a function returned"],
    ["pgt", "text", "the kernel's page table, one for each VM"],
    ["esr", "whole", "ESR_EL2 of a fault"],
    ["far", "word", "FAR_EL2 of a fault: the guest's virtual address"],
    ["pc", "word", "the guest's program counter"],
    ["data", "word", "data of a device access"],
    ["lost", "whole", "events that the recorder lost here, where it knows how many"],
    ["text", "text", "what a marker says; why the guest was left"],
  ],
  faults: [
    ...PLACE,
    ["ipa", "whole", "guest physical address, without its page offset"],
    ["fault", "text", "translation, permission, access flag or other"],
    ["level", "whole", "level at which the walk stopped"],
    ["write", "truth", "a store"],
    ["exec", "truth", "an instruction fetch"],
    ["walk", "truth", "of the guest's own table walk"],
    ["esr", "whole", "ESR_EL2"],
    ["far", "word", "FAR_EL2: the guest's virtual address"],
    ["pc", "word", "the guest's program counter"],
    ["outcome", "text", "map, relax, young, mmio, beyond, refused or retried; null with --from ops"],
    ["mapped", "whole", "bytes that were mapped"],
  ],
  tlbis: [
    ["number", "whole", "in the order in which they were issued, from 0"],
    ["line", "whole", "line of the fault, or other event, that led to it"],
    ["vm", "whole", "handle of the VM's table"],
    ["form", "text", "the instruction, as IPAS2E1IS"],
    ["broadcast", "truth", "do all CPUs hear it?"],
    ["ipa", "whole", "first guest address; null for a whole VMID"],
    ["pages", "whole", "pages of a range"],
    ["level", "whole", "level hint, where there is one"],
  ],
  leaves: [
    ["ipa", "whole", "first guest address"],
    ["size", "whole", "bytes"],
    ["level", "whole", "level of the entry, -1 to 3"],
    ["kind", "text", "block, page or reserved"],
    ["pa", "whole", "physical address; --from faults chooses it"],
    ["read", "truth", "may the guest read?"],
    ["write", "truth", "may the guest write?"],
    ["exec", "text", "who may execute: all, el1, el0 or none"],
    ["memory", "text", "normal, non-cacheable, device or as stage 1"],
    ["accessed", "truth", "the access flag"],
    ["descriptor", "word", "the 64 bits"],
  ],
  pages: [
    ["pa", "whole", "physical address of the table page"],
    ["level", "whole", "level of its entries, -1 to 3"],
    ["ipa", "whole", "first guest address that it translates"],
    ["span", "whole", "bytes of guest addresses that it translates"],
    ["entries", "whole", "entries that it has"],
    ["leaves", "whole", "entries that map a page or a block"],
    ["children", "whole", "entries that name a table"],
    ["marked", "whole", "entries that are invalid and not zero: ownership, locks"],
  ],
};

/** Columns by name, type and what they mean. */
export function columnsOf(written: readonly Written[]): readonly TableColumn[] {
  return written.map(([name, type, about]) => ({ name, type, about }));
}

/** The columns of each table. */
export const TABLE_COLUMNS = Object.fromEntries(
  TABLES.map((table) => [table, columnsOf(WRITTEN[table])]),
) as unknown as Readonly<Record<TableName, readonly TableColumn[]>>;
