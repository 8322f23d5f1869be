// What the house tests read: the project's files, their imports, functions and numbers.

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

/** The repository. */
export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

const NOT_OURS = new Set(["node_modules", "dist", "build", ".git", "coverage", "api"]);

/** Files below `folder`, as paths from the repository, without generated ones. */
export function filesBelow(folder: string, ends: readonly string[] = [".ts"]): string[] {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return NOT_OURS.has(entry.name) ? [] : filesBelow(path, ends);
      const wanted = ends.some((end) => path.endsWith(end)) && !path.includes(".generated.") && !path.endsWith(".d.ts");
      return wanted ? [path] : [];
    })
    .sort();
}

/** Text of a file of the repository. */
export function text(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** Files that are committed or will be; without git (an unpacked archive) there is nothing to ask. */
export function committedFiles(): string[] | undefined {
  try {
    const arguments_ = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    const listed = execFileSync("git", arguments_, {
      cwd: ROOT,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return listed.split("\0").filter((path) => path !== "" && existsSync(join(ROOT, path)));
  } catch {
    return undefined;
  }
}

const parsed = new Map<string, ts.SourceFile>();

/** Syntax tree; AssemblyScript parses as TypeScript. */
export function tree(path: string): ts.SourceFile {
  let file = parsed.get(path);
  if (file === undefined) {
    file = ts.createSourceFile(path, text(path), ts.ScriptTarget.ES2022, true);
    parsed.set(path, file);
  }
  return file;
}

/** Every node of a file, in order. */
export function* nodes(path: string): Generator<ts.Node> {
  const stack: ts.Node[] = [tree(path)];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    yield node;
    stack.push(...[...node.getChildren()].reverse());
  }
}

/** Names of the modules that `path` imports or re-exports. */
export function modulesNamedIn(path: string): string[] {
  return tree(path).statements.flatMap((statement) => {
    if (!ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement)) return [];
    const name = statement.moduleSpecifier;
    return name !== undefined && ts.isStringLiteral(name) ? [name.text] : [];
  });
}

/** Paths of the files that `path` imports or re-exports; packages and Node's modules are left out. */
export function importsOf(path: string, end = ".ts"): string[] {
  return modulesNamedIn(path)
    .filter((name) => name.startsWith("."))
    .map((name) => relative(ROOT, resolve(ROOT, dirname(path), name)).replace(/(?:\.js|\.ts)?$/, end));
}

/** A function, method or accessor with a body. */
export interface FunctionInfo {
  readonly name: string;
  readonly path: string;
  readonly line: number;
  /** Lines from the first to the last statement. */
  readonly lines: number;
}

function nameOf(node: ts.FunctionLikeDeclaration): string {
  const own = node.name?.getText() ?? (ts.isConstructorDeclaration(node) ? "constructor" : "");
  const parent = node.parent;
  if (ts.isClassDeclaration(parent) || ts.isClassExpression(parent)) return `${parent.name?.text ?? "class"}.${own}`;
  return own === "" && ts.isVariableDeclaration(parent) ? parent.name.getText() : own;
}

/** Functions of a file, `Class.method` for methods; nameless ones have an empty name. */
export function functionsOf(path: string): FunctionInfo[] {
  const file = tree(path);
  const found: FunctionInfo[] = [];
  for (const node of nodes(path)) {
    if (!ts.isFunctionLike(node)) continue;
    const { body } = node as ts.FunctionLikeDeclaration;
    if (body === undefined) continue;
    const lineOf = (at: number) => file.getLineAndCharacterOfPosition(at).line + 1;
    const inner = ts.isBlock(body) ? body.statements : [body];
    const [first, last] = [inner[0], inner.at(-1)];
    const lines = first && last ? lineOf(last.getEnd()) - lineOf(first.getStart()) + 1 : 0;
    const line = lineOf(node.getStart());
    found.push({ name: nameOf(node as ts.FunctionLikeDeclaration), path, line, lines });
  }
  return found;
}

/** Names that a file declares: functions, classes and `Class.method`. */
export function declaredIn(path: string): Set<string> {
  const names = new Set(functionsOf(path).map(({ name }) => name));
  for (const node of nodes(path)) if (ts.isClassDeclaration(node) && node.name) names.add(node.name.text);
  return names;
}
