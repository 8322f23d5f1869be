/**
 * granule called once for each operation: by numbers, and by bigints, names and objects.
 *
 * @module
 */
import { type Engine, Prot, type Stage2Table } from "../../bindings/index.js";
import { Access, createMmu, createTlb, type Mmu, stage2Registers, type Tlb } from "../../bindings/mmu/index.js";
import { PAGE_SIZE } from "../peers/peer.js";
import type { CallId, CallLoops, CallPages } from "./calls.js";

/** Input bits that a walk of 4K pages resolves in four levels. */
const FOUR_LEVELS = 48;
const READ_WRITE = Prot.R | Prot.W;
/** Pages that the first level of a TLB holds. */
const HELD = 32;
/** No cache maintenance operations, as in the kernel's benchmark. */
const HOOKS = { dcacheCleanInvalPoc: null, icacheInvalPou: null };

/** The loops on one engine; a table of three levels for operations, one of four for the hardware's walker. */
export class WasmCalls implements CallLoops {
  readonly #engine: Engine;
  readonly #table: Stage2Table;
  readonly #walked: Stage2Table;
  readonly #mmu: Mmu;
  readonly #tlb: Tlb;
  #pages: CallPages | undefined;
  #held: Float64Array = new Float64Array(0);
  #wideHeld: bigint[] = [];
  #ipas: Float64Array = new Float64Array(0);
  #pas: Float64Array = new Float64Array(0);
  #wideIpas: bigint[] = [];
  #widePas: bigint[] = [];

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#table = engine.createStage2({ hooks: HOOKS });
    this.#walked = engine.createStage2({ ipaBits: FOUR_LEVELS, forcePte: "all", hooks: HOOKS });
    this.#mmu = createMmu({ engine, registers: stage2Registers(this.#walked) });
    this.#tlb = createTlb(this.#mmu, { preset: "neoverse-n1" });
  }

  stage(pages: CallPages, mapped: boolean): void {
    if (this.#pages !== pages) this.#begin(pages);
    const { direct } = this.#table;
    for (let i = 0; i < this.#ipas.length; i++) {
      if (mapped) direct.map(this.#ipas[i]!, PAGE_SIZE, this.#pas[i]!, READ_WRITE);
      else direct.unmap(this.#ipas[i]!, PAGE_SIZE);
    }
  }

  #begin(pages: CallPages): void {
    const { ipa, pa, offsets, kept } = pages;
    this.#pages = pages;
    this.#ipas = offsets.map((at) => ipa + at);
    this.#pas = offsets.map((at) => pa + at);
    this.#held = offsets.map((at) => ipa + (at % (HELD * PAGE_SIZE)));
    this.#wideIpas = Array.from(this.#ipas, BigInt);
    this.#widePas = Array.from(this.#pas, BigInt);
    this.#wideHeld = Array.from(this.#held, BigInt);
    for (const at of kept) this.#table.map(ipa + at, PAGE_SIZE, pa + at, READ_WRITE);
    this.#walked.map(ipa, (offsets.length + kept.length) * PAGE_SIZE, pa, READ_WRITE);
  }

  loop(id: CallId): (() => number) | undefined {
    return this.#loops[id];
  }

  readonly #loops: Readonly<Partial<Record<CallId, () => number>>> = {
    "call-empty": () => {
      const { core } = this.#engine;
      let all = 0;
      for (let i = 0; i < this.#ipas.length; i++) all |= core.levelShift(0, i);
      return all;
    },
    "call-map": () => {
      const ipas = this.#ipas;
      const pas = this.#pas;
      const { direct } = this.#table;
      let all = 0;
      for (let i = 0; i < ipas.length; i++) all |= direct.map(ipas[i]!, PAGE_SIZE, pas[i]!, READ_WRITE);
      return all;
    },
    "call-unmap": () => {
      const ipas = this.#ipas;
      const { direct } = this.#table;
      let all = 0;
      for (let i = 0; i < ipas.length; i++) all |= direct.unmap(ipas[i]!, PAGE_SIZE);
      return all;
    },
    "call-leaf": () => {
      const ipas = this.#ipas;
      const table = this.#table;
      let sum = 0;
      for (let i = 0; i < ipas.length; i++) sum = (sum + table.lookup(ipas[i]!)) | 0;
      return sum;
    },
    "call-relax": () => {
      const ipas = this.#ipas;
      const { direct } = this.#table;
      let all = 0;
      for (let i = 0; i < ipas.length; i++) all |= direct.relaxPerms(ipas[i]!, READ_WRITE);
      return all;
    },
    "call-mkyoung": () => {
      const ipas = this.#ipas;
      const { direct } = this.#table;
      let all = 0;
      for (let i = 0; i < ipas.length; i++) all |= direct.mkyoung(ipas[i]!);
      return all;
    },
    "call-wrprotect": () => {
      const ipas = this.#ipas;
      const { direct } = this.#table;
      let all = 0;
      for (let i = 0; i < ipas.length; i++) all |= direct.wrprotect(ipas[i]!, PAGE_SIZE);
      return all;
    },
    "call-translate": () => {
      const ipas = this.#ipas;
      const mmu = this.#mmu;
      let faults = 0;
      for (let i = 0; i < ipas.length; i++) if (mmu.lookup(ipas[i]!, Access.READ) < 0) faults++;
      return faults;
    },
    "call-access-hit": () => {
      const ipas = this.#held;
      const tlb = this.#tlb;
      let faults = 0;
      for (let i = 0; i < ipas.length; i++) if (tlb.lookup(ipas[i]!, Access.READ) < 0) faults++;
      return faults;
    },
    "call-map-rich": () => {
      const table = this.#table;
      let again = 0;
      this.#wideIpas.forEach((ipa, i) => {
        if (table.map(ipa, 4096n, this.#widePas[i]!, "rw", { handleFault: true }) !== "done") again++;
      });
      return again;
    },
    "call-unmap-rich": () => {
      const table = this.#table;
      for (const ipa of this.#wideIpas) table.unmap(ipa, 4096n);
      return 0;
    },
    "call-leaf-rich": () => {
      const table = this.#table;
      let others = 0;
      for (const ipa of this.#wideIpas) if (table.leaf(ipa).kind !== "page") others++;
      return others;
    },
    "call-relax-rich": () => {
      const table = this.#table;
      let again = 0;
      for (const ipa of this.#wideIpas) if (table.relaxPerms(ipa, "rw") !== "done") again++;
      return again;
    },
    "call-mkyoung-rich": () => {
      const table = this.#table;
      let holes = 0;
      for (const ipa of this.#wideIpas) if (table.mkyoung(ipa) === 0n) holes++;
      return holes;
    },
    "call-translate-rich": () => {
      const mmu = this.#mmu;
      let faults = 0;
      for (const ipa of this.#wideIpas) if (!mmu.translate(ipa, "r").ok) faults++;
      return faults;
    },
    "call-access-hit-rich": () => {
      const tlb = this.#tlb;
      let faults = 0;
      for (const ipa of this.#wideHeld) if (!tlb.access(ipa, "r").ok) faults++;
      return faults;
    },
  };
}
