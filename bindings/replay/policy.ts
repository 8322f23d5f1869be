import * as K from "../core/constants.generated.js";
import type { Granule } from "../model/granule.js";
import type { PolicyComparison } from "../report/replay.js";
import type { Service } from "../vm/machine.js";
import type { Syndrome } from "./syndrome.js";

/** What a recorded guest is replayed under, in place of what its kernel did. What is undefined is as in the recording. */
export interface ReplayPolicy {
  /** Page size in bytes. */
  readonly granule?: Granule | undefined;
  /** The VMM's memory, which bounds the size of blocks. */
  readonly backing?: { readonly hugetlb: number; readonly thp: boolean } | undefined;
  /** How stores are noticed while a slot logs. */
  readonly dirty?: "wp" | "eager" | "dbm" | undefined;
  /** Bytes that are split at once when logging begins, 0 for none. */
  readonly splitChunk?: number | undefined;
}

const MAX_EXAMPLES = 8;

function rightOf({ write, exec }: Syndrome): number {
  return write ? K.PROT_W : exec ? K.PROT_X : K.PROT_R;
}

/**
 * What becomes of recorded faults under another policy. A fault that the tables would have answered would not have happened. One
 * that happens at a page that the guest could access in this way before, and that the host did not take away since, happens again:
 * the policy is its reason.
 */
export class PolicyOutcomes {
  readonly #page: number;
  readonly #sizes: readonly number[];
  /** Rights that faults have given, by the first byte of the mapping: a map for each size. */
  readonly #given: readonly Map<number, number>[];
  readonly #policy: PolicyComparison["policy"];
  readonly #avoided = { block: 0, mapped: 0 };
  readonly #again = { protected: 0, unmapped: 0, aged: 0 };
  readonly #examples: string[] = [];
  #recorded = 0;
  #first = 0;
  #devices = 0;
  #covered = 0;
  #unfit = 0;

  /** @param sizes - bytes of a page, and of the blocks that there are */
  constructor(policy: PolicyComparison["policy"], sizes: readonly number[]) {
    this.#policy = policy;
    this.#page = sizes[0] as number;
    this.#sizes = sizes;
    this.#given = sizes.map(() => new Map());
  }

  /** A slot that the recording has cannot be under the policy: its pages are too large for it. */
  unfit(): void {
    this.#unfit++;
  }

  /** The tables answer the access of a fault: it would not have happened. `size`: bytes of the leaf. */
  avoided(line: number, ipa: number, size: number): void {
    this.#recorded++;
    this.#avoided[size > this.#page ? "block" : "mapped"]++;
    if (this.#examples.length < MAX_EXAMPLES)
      this.#examples.push(
        `line ${line}: 0x${ipa.toString(16)}: ${size > this.#page ? "in a block" : "mapped already"}`,
      );
  }

  /** A fault happens, and was serviced. `mapped`: was there a leaf? `kernelSize`: what the recorded kernel mapped, 0 if it mapped nothing. */
  happened(ipa: number, syndrome: Syndrome, service: Service, mapped: boolean, kernelSize: number): void {
    if (service.kind !== "map" && service.kind !== "relax" && service.kind !== "young") {
      this.#devices++;
      return;
    }
    this.#recorded++;
    const right = rightOf(syndrome);
    if (!this.#had(ipa, right)) this.#first++;
    else this.#again[service.kind === "young" ? "aged" : mapped ? "protected" : "unmapped"]++;
    this.#give(ipa, service, right);
    if (kernelSize > service.size && service.kind === "map") this.#covered += kernelSize / service.size - 1;
  }

  #had(ipa: number, right: number): boolean {
    return this.#sizes.some((size, i) => ((this.#given[i]?.get(ipa - (ipa % size)) ?? 0) & right) !== 0);
  }

  /** A relaxed or young leaf has the size that its operation does not say: the page at hand stands for it. */
  #give(ipa: number, { kind, size, prot }: Service, right: number): void {
    const bytes = kind === "map" ? size : this.#page;
    const given = this.#given[this.#sizes.indexOf(bytes)];
    const start = ipa - (ipa % bytes);
    given?.set(start, (given.get(start) ?? 0) | right | prot);
  }

  /** The host, or a change of slots, took a guest range away. */
  taken(gpa: number, size: number): void {
    this.#sizes.forEach((bytes, i) => {
      const given = this.#given[i] as Map<number, number>;
      const from = gpa - (gpa % bytes);
      if ((gpa + size - from) / bytes < given.size) {
        for (let at = from; at < gpa + size; at += bytes) given.delete(at);
      } else {
        for (const at of given.keys()) if (at >= from && at < gpa + size) given.delete(at);
      }
    });
  }

  summary(): PolicyComparison {
    return {
      policy: this.#policy,
      recorded: this.#recorded,
      first: this.#first,
      again: { ...this.#again },
      avoided: { ...this.#avoided },
      devices: this.#devices,
      covered: this.#covered,
      unfitSlots: this.#unfit,
      examples: this.#examples,
    };
  }
}
