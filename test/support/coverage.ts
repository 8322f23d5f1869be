// Which tests name a statement, or why none does: one table for each page of docs/spec.

import { filesBelow, text } from "../house/sources.js";
import { definitions, idsIn, reasons, titlesOf } from "./statements.js";

/** A statement: the files whose titles name it, or the reason why none does. */
export interface Covered {
  id: string;
  tests: readonly string[];
  reason: string | undefined;
}

/** All statements, in the order of the pages. */
export function coverage(): Covered[] {
  const all = definitions();
  const files = new Map<string, Set<string>>();
  for (const path of filesBelow("test")) {
    for (const id of titlesOf(path, text(path)).flatMap((title) => idsIn(title, all)))
      files.set(id, (files.get(id) ?? new Set()).add(path));
  }
  const why = new Map(reasons(all).flatMap(({ ids, reason }) => ids.map((id) => [id, reason] as const)));
  return all.map((id) => ({ id, tests: [...(files.get(id) ?? [])].sort(), reason: why.get(id) }));
}

const groupOf = ({ id }: Covered) => id.slice(0, id.lastIndexOf("-"));

function line({ id, tests, reason }: Covered): string {
  const where = tests.map((path) => `\`${path.replace(/^test\//, "")}\``).join(", ");
  return `| ${id} | ${where || `no test: ${reason?.replaceAll("|", "\\|")}`} |`;
}

/** The page `spec/coverage` of the site. */
export function coveragePage(all: readonly Covered[] = coverage()): string {
  const groups = [...new Set(all.map(groupOf))];
  const tested = all.filter(({ tests }) => tests.length > 0).length;
  const tables = groups.map((group) => {
    const rows = all.filter((covered) => groupOf(covered) === group).map(line);
    return `## ${group}\n\n| statement | tests, below test/ |\n|---|---|\n${rows.join("\n")}`;
  });
  const head = `# Which test is about what\n\n${tested} of ${all.length} statements are named in the title of a test; each other one has a reason. Written by \`npm run docs\`.`;
  return `${[head, ...tables].join("\n\n")}\n`;
}
