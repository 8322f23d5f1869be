import { checkChoice, type OptionKinds } from "../core/check.js";
import type { Granule } from "../model/granule.js";
import type { MmOps } from "./hooks.js";

/** What both kinds of table are made with. */
export interface TableConfig {
  /** Page size in bytes. Default 4096. */
  granule?: Granule;
  /** 52-bit descriptors of 4K and 16K pages (FEAT_LPA2). Default false. */
  lpa2?: boolean;
  /** 64K pages: output addresses up to 52 bits (FEAT_LPA). Default true. */
  pa52?: boolean;
  /** `"none"` (default): what docs/spec calls right. `"linux-6.12"`: the kernel bit by bit, see docs/deviations.md. */
  quirks?: "none" | "linux-6.12";
  /** Memory operations in place of the built-in ones. In an engine of several walkers with `maySleep: false` only. */
  hooks?: MmOps;
  /**
   * Refuse a range whose address, size or output address is not of whole pages: EINVAL says which (`direct`: -22). False: the address is
   * rounded down and the size up, as the kernel does [WLK-1]; so do batches and columns always. Default true.
   */
  strict?: boolean;
  /**
   * May a function of the table wait for something: a hook, or `forcePte`? Where several walkers use a table its functions run
   * under the lock, and those that may sleep are refused with EPERM [LCK-15]. Default true.
   */
  maySleep?: boolean;
}

/** @internal What `TableConfig` has. */
export const TABLE_CONFIG: OptionKinds<TableConfig> = {
  granule: "number",
  lpa2: "boolean",
  pa52: "boolean",
  quirks: "any",
  hooks: "any",
  strict: "boolean",
  maySleep: "boolean",
};

/** @internal The words that a configuration may use. */
export function checkQuirks(operation: string, quirks: TableConfig["quirks"]): void {
  checkChoice(operation, "quirks", quirks, [undefined, "none", "linux-6.12"]);
}
