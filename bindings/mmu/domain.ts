import { checkOptions, type OptionKinds } from "../core/check.js";
import * as K from "../core/constants.generated.js";
import { invalid } from "../core/errors.js";
import type { AddressLike } from "../model/address.js";
import { granuleShift } from "../model/granule.js";
import { JournalKind as J, type JournalRecord } from "../tables/journal.js";
import type { Table } from "../tables/table.js";
import { tlbiOperations } from "../tables/tlbi.js";
import { isBroadcast, type TlbiForm } from "./forms.js";
import { type DsbDomain, Tlb, type TlbiOptions } from "./tlb.js";

/** A TLBI or a DSB, as an engine's journal means it. */
export type TlbMessage =
  | {
      /** The TLBI. */
      readonly form: TlbiForm;
      /** Its 64-bit operand; 0n for forms that have none. */
      readonly operand: bigint;
      /** DS of the table is 1. */
      readonly lpa2: boolean;
      /** HCR_EL2 of the CPU, where the table says it: E2H for an hVHE hypervisor's own. */
      readonly hcr?: bigint;
    }
  | {
      /** Which domain the DSB waits for. */
      readonly dsb: DsbDomain;
    };

/** Operand by address, with the level as a hint where one is known [TLB-5]. */
function operandOf(table: Table, address: bigint, level: number): bigint {
  const { engine, granule } = table;
  return BigInt.asUintN(64, engine.core.tlbiIpaOperand(granuleShift(granule), address, level));
}

function isLpa2(table: Table): boolean {
  return (table.format.flags & K.T_LPA2) !== 0;
}

/** Pages of one series of range operations [TLB-9]. A record of more stands for what lies beyond every input space: no entry is there. */
const MOST_PAGES = 2n ** 21n;

function rangeMessages(record: JournalRecord, table: Table): TlbMessage[] {
  if (record.a > MOST_PAGES) return [];
  const lpa2 = isLpa2(table);
  const { engine, granule } = table;
  const range = { granule, address: record.address, pages: Number(record.a), lpa2 };
  return tlbiOperations(engine, range).map(({ kind, operand }) => ({
    form: kind === "range" ? "RIPAS2E1IS" : "IPAS2E1IS",
    operand,
    lpa2,
  }));
}

const DSBS: readonly (DsbDomain | undefined)[] = [undefined, "ish", undefined, "nsh"]; // ishst and nshst wait for stores only

/**
 * The instructions that a record of an engine's journal stands for, in order; none for records that are no TLBI and no DSB,
 * or a DSB for stores, which completes no TLBI. `table` is the record's table.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { tlbMessages } from "granule/mmu";
 * using engine = createEngine({ journalRecords: 100 });
 * const table = engine.createStage2();
 * table.map(0x4000_0000, 4096, 0, "r");
 * engine.journal.start();
 * table.relaxPerms(0x4000_0000, "w");
 * const all = engine.journal.read().flatMap((record) => tlbMessages(record, table));
 * console.log(all.map((m) => ("form" in m ? m.form : m.dsb)).join()); // IPAS2E1,nsh,VMALLE1,nsh
 * ```
 */
export function tlbMessages(record: JournalRecord, table: Table): TlbMessage[] {
  const { kind, address, level } = record;
  const one = (form: TlbiForm, operand = 0n): TlbMessage[] => [{ form, operand, lpa2: isLpa2(table) }];
  const ipa = () => operandOf(table, address, level);
  // The record holds the operand's address already.
  const va = (form: TlbiForm): TlbMessage[] => {
    const hcr = table.format.flags & K.T_HVHE ? K.HCR_E2H : 0n;
    return [{ form, operand: address | operandOf(table, 0n, level), lpa2: isLpa2(table), hcr }];
  };
  if (kind === J.TLBI_IPA) return one("IPAS2E1IS", ipa());
  if (kind === J.TLBI_IPA_LOCAL) return one("IPAS2E1", ipa());
  if (kind === J.TLBI_RANGE) return rangeMessages(record, table);
  if (kind === J.TLBI_VMID) return one("VMALLS12E1IS");
  if (kind === J.TLBI_ALL) return one("ALLE1IS");
  if (kind === J.TLBI_STAGE1) return one("VMALLE1IS");
  if (kind === J.TLBI_STAGE1_LOCAL) return one("VMALLE1");
  if (kind === J.TLBI_VA) return va("VAE2IS");
  if (kind === J.TLBI_VA_LAST) return va("VALE2IS");
  const dsb = kind === J.DSB ? DSBS[Number(record.a)] : undefined;
  return dsb === undefined ? [] : [{ dsb }];
}

const SENDER: OptionKinds<{ cpu?: number; vmid?: number }> = { cpu: "number", vmid: "number" };

/**
 * CPUs that hear each other's TLBIs: one inner shareable domain. What engine and hardware say to each other passes here.
 *
 * @example
 * ```ts
 * import { createEngine } from "granule";
 * import { createMmu, createTlb, stage2Registers, TlbDomain } from "granule/mmu";
 * using engine = createEngine({ journalRecords: 1000 });
 * const table = engine.createStage2();
 * table.map(0, 0x1000, 0x9000_0000, "rw");
 * const registers = stage2Registers(table, 1);
 * const cpus = [0, 1].map((seed) => createTlb(createMmu({ engine, registers }), { seed, adversarial: true }));
 * const domain = new TlbDomain(cpus);
 * for (const cpu of cpus) cpu.access(0);
 * engine.journal.start();
 * table.unmap(0, 0x1000);
 * for (const record of engine.journal.read()) domain.follow(record, { table, vmid: 1 });
 * console.log(cpus.map((cpu) => cpu.access(0).ok)); // [ false, false ]
 * ```
 */
export class TlbDomain {
  /** The CPUs' TLBs; a CPU is known by its place here. */
  readonly tlbs: readonly Tlb[];

  /** EINVAL for what is no list of TLBs. */
  constructor(tlbs: readonly Tlb[]) {
    if (!Array.isArray(tlbs) || !tlbs.every((tlb) => tlb instanceof Tlb)) {
      throw invalid("TlbDomain", "these are not TLBs: give a list of what `createTlb` makes, one a CPU");
    }
    this.tlbs = tlbs;
  }

  #cpu(from: number): Tlb {
    const tlb = this.tlbs[from];
    if (tlb === undefined) throw invalid("TlbDomain", `${from} is not one of the ${this.tlbs.length} CPUs`);
    return tlb;
  }

  /** CPU `from` issues a TLBI: to all, or to itself where the form is local. VMID and HCR_EL2 are its MMU's unless given. */
  invalidate(from: number, form: TlbiForm, operand: AddressLike = 0, options: Omit<TlbiOptions, "issuer"> = {}): void {
    const own = this.#cpu(from);
    const { vmid = own.mmu.tags.vmid, hcr = own.mmu.hcr } = options;
    for (const tlb of isBroadcast(form) ? this.tlbs : [own]) {
      tlb.invalidate(form, operand, { ...options, vmid, hcr, issuer: from });
    }
  }

  /** CPU `from` waits until what it has issued is done everywhere. */
  dsb(from: number, domain: DsbDomain = "ish"): void {
    this.#cpu(from);
    for (const tlb of this.tlbs) tlb.dsb(domain, from);
  }

  /** CPU `cpu` (default 0) executes one message. */
  send(message: TlbMessage, options: { cpu?: number; vmid?: number } = {}): void {
    const { cpu = 0, vmid } = checkOptions("TlbDomain.send", options, SENDER);
    if ("dsb" in message) this.dsb(cpu, message.dsb);
    else {
      const { form, operand, lpa2, hcr } = message;
      this.invalidate(cpu, form, operand, {
        lpa2,
        ...(vmid === undefined ? {} : { vmid }),
        ...(hcr === undefined ? {} : { hcr }),
      });
    }
  }

  /** CPU `cpu` executes what a record of the journal of `table` stands for, under the table's VMID. */
  follow(record: JournalRecord, options: { table: Table; cpu?: number; vmid?: number }): void {
    const { table, ...sender } = checkOptions("TlbDomain.follow", options, { ...SENDER, table: "object" });
    for (const message of tlbMessages(record, table)) this.send(message, sender);
  }
}
