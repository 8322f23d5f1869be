// Writes docs/cli/: a page for each command, from the table that `--help` prints.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { COMMON_EXITS, COMMON_OPTIONS, exitsOf } from "../../dist/bindings/cli/command.js";
import { COMMANDS } from "../../dist/bindings/cli/registry.js";

const capital = (text) => text[0].toUpperCase() + text.slice(1);
const folder = new URL("../cli/", import.meta.url);

/** Text of a terminal as Markdown: nothing in it is markup. */
const plain = (text) => text.replace(/[<>{}|\\*_`[\]]/g, (sign) => `&#${sign.charCodeAt(0)};`);
/** The same for paragraphs, where options look like code. */
const words = (text) => plain(text).replace(/(?<![\w-])--[a-z][a-z-]*/g, (option) => `<code>${option}</code>`);
const code = (text) => `<code v-pre>${plain(text)}</code>`;

/** Paragraphs stay, and lines that are set in stay as they are. */
function paragraphs(help) {
  return help
    .trim()
    .split(/\n{2,}/)
    .map((block) => (/^ /.test(block) ? `\`\`\`text\n${block}\n\`\`\`` : words(block.replaceAll("\n", " "))))
    .join("\n\n");
}

function optionRows(options) {
  return Object.entries(options)
    .filter(([, { help }]) => help !== undefined)
    .map(([name, { short, value, help, default: fallback }]) => {
      const flag = `${short ? `-${short}, ` : ""}--${name}${value ? ` ${value}` : ""}`;
      return `| ${code(flag)} | ${plain(help)}${typeof fallback === "string" ? ` (default ${code(fallback)})` : ""} |`;
    });
}

const table = (head, rows) => [`| ${head.join(" | ")} |`, `|${head.map(() => "---|").join("")}`, ...rows].join("\n");
const exitTable = (exits) =>
  table(
    ["Code", "Meaning"],
    exits.map(({ code: n, meaning }) => `| ${n} | ${plain(meaning)} |`),
  );

function page(command) {
  const { name, usage, summary, help, options, examples = [] } = command;
  const forms = usage.split("\n").map((form) => `granule ${name} ${form}`);
  const tried = examples.flatMap(({ line, shows }) => [`${plain(capital(shows))}:`, "", "```sh", line, "```", ""]);
  return [
    `# granule ${name}`,
    "",
    `${plain(capital(summary))}.`,
    "",
    "```sh",
    ...forms,
    "```",
    "",
    paragraphs(help),
    "",
    ...(tried.length > 0 ? ["## Examples", "", ...tried] : []),
    "## Options",
    "",
    table(["Option", "Meaning"], optionRows({ ...options, ...COMMON_OPTIONS })),
    "",
    "## Exit codes",
    "",
    exitTable(exitsOf(command)),
    "",
  ].join("\n");
}

function overview() {
  const rows = COMMANDS.map(({ name, summary }) => `| [${name}](./${name}.md) | ${plain(summary)} |`);
  return [
    "# The command",
    "",
    "`npm i granule` installs the command `granule`; `npx granule` runs it. These pages are made from the same tables as `--help`.",
    "",
    table(["Command", "What it does"], rows),
    "",
    "## Options of every command",
    "",
    table(["Option", "Meaning"], optionRows(COMMON_OPTIONS)),
    "",
    "Data goes to standard output. Notes and progress go to standard error. `NO_COLOR=1` turns colours off.",
    "",
    "## Exit codes",
    "",
    exitTable(COMMON_EXITS),
    "",
  ].join("\n");
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
writeFileSync(new URL("index.md", folder), overview());
for (const command of COMMANDS) writeFileSync(new URL(`${command.name}.md`, folder), page(command));
console.log(`${COMMANDS.length} pages of commands`);
