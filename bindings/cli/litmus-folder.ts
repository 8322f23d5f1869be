// What `granule explore --litmus DIR` writes: a litmus test for each protocol that can be one.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { litmus, type Scenario } from "../explore/index.js";
import { type CommandIo, Exit, InputError } from "./command.js";

/** Writes DIR/NAME.litmus for each scenario; why there is none for some is said on standard error. */
export async function writeLitmus(folder: string, scenarios: readonly Scenario[], io: CommandIo): Promise<number> {
  try {
    await mkdir(folder, { recursive: true });
    for (const scenario of scenarios) {
      const text = textOf(scenario, io);
      if (text === undefined) continue;
      const path = join(folder, `${scenario.name}.litmus`);
      await writeFile(path, text);
      await io.out(`${path}\n`);
    }
  } catch (error) {
    throw new InputError(`${folder}: ${(error as Error).message}`);
  }
  return Exit.OK;
}

function textOf(scenario: Scenario, io: CommandIo): string | undefined {
  try {
    return litmus(scenario);
  } catch (error) {
    io.note(`granule: no litmus test for ${scenario.name}: ${(error as Error).message}`);
    return undefined;
  }
}
