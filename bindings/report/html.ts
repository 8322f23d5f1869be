import { bytesToBase64, gzip, sha256 } from "./encode.js";
import type { Section, Story } from "./story.js";

/** Characters that mean something in markup. */
const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function text(words: string): string {
  return words.replace(/[&<>"]/g, (c) => ENTITIES[c] as string);
}

/** Most bytes of the compressed story; of a longer one, earlier snapshots of tables are left out. */
const ROOM = 700 * 1024;

/** The story without the oldest snapshot of each table that has several; undefined where none has. */
function shorter(story: Story): Story | undefined {
  let isShorter = false;
  const sections = story.sections.map((section): Section => {
    if (section.kind !== "tree" || section.snapshots.length < 2) return section;
    isShorter = true;
    return { ...section, snapshots: section.snapshots.slice(1) };
  });
  return isShorter ? { ...story, sections } : undefined;
}

async function packed(story: Story): Promise<Uint8Array> {
  const bytes = await gzip(JSON.stringify(story));
  const less = bytes.length > ROOM ? shorter(story) : undefined;
  return less === undefined ? bytes : packed(less);
}

/**
 * A report as one HTML file: it needs no network and no other file, and its content security policy forbids both. The summary can be
 * read without scripts; the pictures need them. Of a very large table earlier moments are left out, so that a file stays small.
 *
 * @example
 * ```ts
 * import { htmlReport } from "granule/report";
 * const html = await htmlReport({ schemaVersion: 1, title: "A test", summary: ["All is well."], facts: [], sections: [] });
 * console.log(html.startsWith("<!doctype html>"), html.includes("All is well.")); // true true
 * ```
 */
export async function htmlReport(story: Story): Promise<string> {
  const { SCRIPT, STYLE, LICENSES } = await import("./page.generated.js");
  const [script, style, data] = await Promise.all([sha256(SCRIPT), sha256(STYLE), packed(story)]);
  const policy = `default-src 'none'; base-uri 'none'; form-action 'none'; script-src '${script}'; style-src '${style}'; img-src data:`;
  const facts = story.facts.map(([name, value]) => `<dt>${text(name)}</dt><dd>${text(value)}</dd>`).join("");
  const summary = story.summary.map((sentence) => `<p>${text(sentence)}</p>`).join("");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="granule">
<title>${text(story.title)}: granule</title>
<style>${STYLE}</style>
</head>
<body>
<header><h1>${text(story.title)}</h1></header>
<main>
${summary}
<dl>${facts}</dl>
<noscript><p>The pictures need JavaScript. Nothing leaves this page.</p></noscript>
</main>
<!--
This page contains:

${LICENSES.replaceAll("--", "- -")}
-->
<script type="text/plain" id="story">${bytesToBase64(data)}</script>
<script>${SCRIPT}</script>
</body>
</html>
`;
}
