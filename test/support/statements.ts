// The statements of docs/spec, who cites them, and which tests name them: an id in a title is a test, an id in a comment is not.

import ts from "typescript";
import { committedFiles, filesBelow, text } from "../house/sources.js";

const FOLDER = "docs/spec";
const UNTESTED = `${FOLDER}/untested.md`;
const ID = "[A-Z][A-Z0-9]{1,4}-\\d+[a-z]?";

/** Where a statement is defined: an item of a list, or the first cell of a row. */
const DEFINITION = new RegExp(`^(?:- \\*\\*|\\| )\\[(${ID})\\]`, "gm");

/** All statements, in the order of the pages, with repetitions if there are any. */
export function definitions(): string[] {
  return filesBelow(FOLDER, [".md"]).flatMap((path) =>
    [...text(path).matchAll(DEFINITION)].map(([, id]) => id as string),
  );
}

const groupOf = (id: string) => id.slice(0, id.lastIndexOf("-"));
const CITATION = new RegExp(`\\b${ID}(?:\\.\\.\\d+)?\\b`, "g");

/** Ids in a text whose group, like S2 or LCK, is one of `all`; `S2-20..24` names all from the first to the last. */
export function idsIn(source: string, all: readonly string[]): string[] {
  const groups = new Set(all.map(groupOf));
  const found = [...source.matchAll(CITATION)].map(([citation]) => citation);
  return found.filter((citation) => groups.has(groupOf(citation.replace(/\.\..*/, "")))).flatMap((c) => expand(c, all));
}

/** Files that may cite a statement. */
export function citingFiles(): string[] {
  const files =
    committedFiles() ??
    ["assembly", "bindings", "test", "docs", "bench"].flatMap((f) => filesBelow(f, [".ts", ".md", ".mjs"]));
  return files.filter((path) => /^(?:assembly|bindings|test|docs|bench)\/.*\.(?:ts|mjs|md)$|^[A-Z]+\.md$/.test(path));
}

/** `itFlawed` of test/vm/flawed.ts is an `it`. */
const NAMES_A_TEST = new Set(["describe", "it", "itFlawed", "test"]);

/** `it`, `it.each(rows)`, `describe.skipIf(x)` ...: does this expression make a test or a group of them? */
function makesTest(expression: ts.Expression): boolean {
  if (ts.isIdentifier(expression)) return NAMES_A_TEST.has(expression.text);
  if (ts.isPropertyAccessExpression(expression) || ts.isCallExpression(expression))
    return makesTest(expression.expression);
  return false;
}

type Constants = ReadonlyMap<string, ts.Expression>;

/** The strings and template texts below a node, with those of the constants that it names. */
function stringsOf(node: ts.Node, constants: Constants = new Map()): string[] {
  const found: string[] = [];
  const visit = (n: ts.Node): void => {
    if (ts.isStringLiteralLike(n) || ts.isTemplateHead(n) || ts.isTemplateMiddle(n) || ts.isTemplateTail(n))
      found.push(n.text);
    const constant = ts.isIdentifier(n) ? constants.get(n.text) : undefined;
    if (constant) found.push(...stringsOf(constant));
    ts.forEachChild(n, visit);
  };
  visit(node);
  return found;
}

/** The rows of `it.each(rows)`, through a constant of the same file if they have a name. */
function rowsOf(expression: ts.Expression, constants: Constants): ts.Expression | undefined {
  if (!ts.isCallExpression(expression) || !ts.isPropertyAccessExpression(expression.expression)) return undefined;
  const [rows] = expression.arguments;
  if (expression.expression.name.text !== "each" || rows === undefined) return undefined;
  return ts.isIdentifier(rows) ? constants.get(rows.text) : rows;
}

/** What the titles of a test file say: those of tests and groups, and the rows that a title with a placeholder prints. */
export function titlesOf(path: string, source: string): string[] {
  const file = ts.createSourceFile(path, source, ts.ScriptTarget.Latest, true);
  const constants = new Map<string, ts.Expression>();
  const titles: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isVariableDeclaration(node) && ts.isIdentifier(node.name) && node.initializer) {
      constants.set(node.name.text, node.initializer);
    }
    // The call with the title: in it.each(rows)(title) the outer one.
    const inner = ts.isCallExpression(node.parent) && node.parent.expression === node;
    if (ts.isCallExpression(node) && !inner && makesTest(node.expression)) {
      const [title] = node.arguments;
      const own = title === undefined ? [] : stringsOf(title, constants);
      titles.push(...own);
      const rows = own.some((t) => /%s|\$\w/.test(t)) ? rowsOf(node.expression, constants) : undefined;
      if (rows) titles.push(...stringsOf(rows));
    }
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(file, visit);
  return titles;
}

/** A line of docs/spec/untested.md: ids, and why no test names them. */
export interface Reason {
  ids: readonly string[];
  reason: string;
}

/** The statements without a test. A line is `- FMT-4, FMT-44: why`; `FLT-1..9` stands for all from the first to the last. */
export function reasons(all: readonly string[]): Reason[] {
  return text(UNTESTED)
    .split("\n")
    .filter((line) => line.startsWith("- "))
    .map((line) => {
      const [, list = "", reason = ""] = /^- ([^:]+): (.+)$/.exec(line) ?? [];
      return { ids: list.split(", ").flatMap((item) => expand(item, all)), reason };
    });
}

/** The statements that `S2-20` or `S2-20..24` stands for. */
function expand(item: string, all: readonly string[]): string[] {
  const [, first = item, number] = /^(.+)\.\.(\d+)$/.exec(item) ?? [];
  // DBM-7b is item (b) of DBM-7, S1-5a a statement of its own.
  if (number === undefined) return [all.includes(item) ? item : item.replace(/[a-z]$/, "")];
  const last = `${groupOf(first)}-${number}`;
  // A range whose ends are not defined names its ends, so that they are found missing.
  if (!all.includes(first) || !all.includes(last)) return [first, last];
  return all.slice(all.indexOf(first), all.indexOf(last) + 1);
}
