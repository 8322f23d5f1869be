// Output that may be longer than a string can be.

import { printableJson } from "../report/printable.js";
import type { CommandIo } from "./command.js";

/** Lines a write: a table of a million runs must not become one string. */
const LINES = 4096;

/** Writes lines as they come, many at a time. */
export async function writeLines(lines: Iterable<string>, io: CommandIo): Promise<void> {
  let pending: string[] = [];
  for (const line of lines) {
    if (pending.push(line) < LINES) continue;
    await io.out(`${pending.join("\n")}\n`);
    pending = [];
  }
  if (pending.length > 0) await io.out(`${pending.join("\n")}\n`);
}

function* listLines(name: string, items: Iterable<object>, end: string): Generator<string> {
  let line = `  ${JSON.stringify(name)}: [`;
  let first = true;
  for (const item of items) {
    yield line === "" || first ? line : `${line},`;
    line = `    ${printableJson(item)}`;
    first = false;
  }
  yield first ? `${line}]${end}` : line;
  if (!first) yield `  ]${end}`;
}

/** Writes a JSON document: the fields of `head`, then lists, an item a line. */
export async function writeJsonLists(
  io: CommandIo,
  head: object,
  lists: readonly (readonly [name: string, items: Iterable<object>])[],
): Promise<void> {
  const text = printableJson(head, 2);
  await io.out(`${text.slice(0, text.lastIndexOf("\n}"))},\n`);
  for (const [i, [name, items]] of lists.entries())
    await writeLines(listLines(name, items, i + 1 < lists.length ? "," : ""), io);
  await io.out("}\n");
}
