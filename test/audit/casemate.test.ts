// Registers and operands in a log of casemate's dialect, decoded by the core's own functions.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine, granuleShift } from "../../bindings/index.js";
import { CasemateWriter } from "../../bindings/trace/index.js";
import { compileArch, type Pure } from "../support/arch.js";

let control: Record<string, Pure>;
let tlbi: Record<string, Pure>;
beforeAll(async () => {
  control = await compileArch("control");
  tlbi = await compileArch("tlbi");
});

const engine = createEngine({ arenaBytes: 16 << 20, journalRecords: 1 << 10 });
afterAll(() => engine.close());
const number = (of: Record<string, Pure>, name: string, ...values: (bigint | boolean)[]) =>
  Number((of[name] as Pure)(...values));

/** The last hexadecimal value of each line that names `word`. */
function valuesOf(lines: readonly string[], word: string): bigint[] {
  return lines
    .filter((line) => line.includes(word))
    .map((line) => BigInt([...line.matchAll(/\(value (0x[\da-f]+)\)/g)].at(-1)?.[1] ?? "-1"));
}

describe("a log in casemate's dialect", () => {
  it.each([4096, 16384, 65536] as const)(
    "REG-1, REG-9, TLB-5: %i-byte pages: TCR_EL2 and hints name them",
    (granule) => {
      engine.journal.start();
      const table = engine.createHyp({ granule, vaBits: 42 });
      table.map(0, granule, 0x4000_0000, "rw");
      table.unmap(0, granule);
      const lines = [...new CasemateWriter().write(engine.journal.read())];
      engine.journal.stop();
      const [tcr = -1n] = valuesOf(lines, "tcr_el2");
      expect(number(control, "vtcrGranule", tcr)).toBe(granuleShift(granule));
      expect(number(control, "vtcrIpaBits", tcr)).toBe(42);
      const [leaf = -1n] = valuesOf(lines, "vale2is");
      expect(number(tlbi, "operandGranule", leaf)).toBe(granuleShift(granule));
      expect(number(tlbi, "operandLevel", leaf, false)).toBe(3);
    },
  );
});
