import * as K from "../core/constants.generated.js";
import type { AgreementSummary } from "../report/replay.js";
import {
  type ProtectionNumbering,
  protectionDecoder,
  type S2AgeEvent,
  type S2MapEvent,
  type S2RelaxPermsEvent,
} from "../trace/index.js";
import type { Service } from "../vm/machine.js";
import { bump } from "./tally.js";

/** What the kernel did for a fault, as its own lines say. */
export type KernelService = S2MapEvent | S2RelaxPermsEvent | S2AgeEvent;

const OF_KERNEL = {
  s2_map: "map",
  s2_relax_perms: "relax",
  s2_mkyoung: "young",
  s2_mkold: "",
  s2_is_young: "",
} as const;

const MAX_EXAMPLES = 8;

function hex(n: number): string {
  return `0x${n.toString(16)}`;
}

function letters(prot: number): string {
  if (prot < 0) return "impossible rights";
  return `${prot & 4 ? "r" : ""}${prot & 2 ? "w" : ""}${prot & 1 ? "x" : ""}`;
}

/** Compares our decisions with the kernel's. */
export class Agreement {
  readonly #decode: (prot: number | bigint) => number;
  #compared = 0;
  #agreed = 0;
  #silent = 0;
  #silentHere = 0;
  unasked = 0;
  readonly #differing: Record<string, number> = {};
  readonly #examples: string[] = [];

  constructor(numbering: ProtectionNumbering) {
    this.#decode = protectionDecoder(numbering);
  }

  /** A fault has been dealt with, here and, if its line is there, by the kernel. */
  add(line: number, ours: Service, kernel: KernelService | undefined): void {
    if (!kernel) {
      this.#silent++;
      if (ours.kind === "map" || ours.kind === "relax") this.#silentHere++;
      return;
    }
    this.#compared++;
    const difference = this.#difference(ours, kernel);
    if (difference === undefined) this.#agreed++;
    else this.#differs(`line ${line}: ${hex(ours.ipa)}`, difference);
  }

  /**
   * A fault that has to be repeated: nothing was mapped for it here. The kernel agrees if its own operation answered
   * with EAGAIN.
   */
  retried(line: number, kernel: KernelService | undefined, returned: number | undefined): void {
    if (!kernel) return;
    this.#compared++;
    if (returned === K.EAGAIN) this.#agreed++;
    else this.#differs(`line ${line}`, "retried here, serviced there");
  }

  #differs(where: string, difference: string): void {
    bump(this.#differing, difference);
    if (this.#examples.length < MAX_EXAMPLES) this.#examples.push(`${where}: ${difference}`);
  }

  #difference(ours: Service, kernel: KernelService): string | undefined {
    const theirs = OF_KERNEL[kernel.kind];
    if (theirs !== ours.kind) return `${ours.kind} here, ${theirs} there`;
    if (kernel.kind === "s2_map" && kernel.size !== ours.size)
      return `${hex(ours.size)} here, ${hex(kernel.size)} there`;
    if (kernel.kind !== "s2_map" && kernel.kind !== "s2_relax_perms") return undefined;
    // The kernel may name the 4K that faulted where we name the first byte of the leaf.
    if (kernel.ipa - (kernel.ipa % ours.size) !== ours.ipa) return "another address there";
    const prot = this.#protection(kernel.prot);
    return prot === ours.prot ? undefined : `${letters(ours.prot)} here, ${letters(prot)} there`;
  }

  /**
   * Did the kernel map a page writable for a read, where the host's page as we know it was the zero page? Then the VMM had filled
   * the memory before it gave it to the guest, of which a trace has no other sign.
   */
  showsFilled(ours: Service, kernel: KernelService | undefined): boolean {
    if (kernel?.kind !== "s2_map" || ours.kind !== "map" || kernel.size !== ours.size) return false;
    return this.#protection(kernel.prot) === (ours.prot | K.PROT_W) && (ours.prot & K.PROT_W) === 0;
  }

  /** A number that this kernel does not have is equal to none of ours. */
  #protection(prot: number | bigint): number {
    try {
      return this.#decode(prot);
    } catch {
      return -1;
    }
  }

  summary(): AgreementSummary {
    return {
      compared: this.#compared,
      agreed: this.#agreed,
      silent: this.#silent,
      silentHere: this.#silentHere,
      unasked: this.unasked,
      differing: this.#differing,
      examples: this.#examples,
    };
  }
}
