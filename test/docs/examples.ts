// Examples of the documentation: found in TSDoc and Markdown, type-checked against the built package and run.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";
import { filesBelow, nodes, ROOT, text, tree } from "../house/sources.js";

/** One block of code that a reader may copy. */
export interface Example {
  /** `file:line`. */
  readonly place: string;
  readonly code: string;
}

/** What the compiler and a run made of an example. */
export interface Outcome {
  readonly example: Example;
  readonly diagnostics: readonly string[];
  readonly error: string | undefined;
  /** One for each `console.log` in order: the value in the comment behind it, and what it printed. */
  readonly logs: readonly {
    readonly line: number;
    readonly expected: string | undefined;
    readonly actual: readonly string[];
  }[];
}

/** JavaScript is checked like TypeScript. That it runs without a compiler is tested in test/package. */
const FENCE = /```(?:ts|js)\n(.*?)```/gs;

/** Blocks of `@example` tags in a file. */
function tsdocExamples(path: string): Example[] {
  const file = tree(path);
  const seen = new Set<ts.Node>();
  return [...nodes(path)].flatMap((node) =>
    ts.getJSDocTags(node).flatMap((tag) => {
      if (tag.tagName.text !== "example" || seen.has(tag)) return [];
      seen.add(tag);
      const comment = ts.getTextOfJSDocComment(tag.comment) ?? "";
      const line = file.getLineAndCharacterOfPosition(tag.getStart()).line + 1;
      return [...comment.matchAll(FENCE)].map(([, code = ""]) => ({ place: `${path}:${line}`, code }));
    }),
  );
}

function markdownExamples(path: string): Example[] {
  if (!existsSync(join(ROOT, path))) return [];
  const whole = text(path);
  return [...whole.matchAll(FENCE)].map((match) => ({
    place: `${path}:${whole.slice(0, match.index).split("\n").length}`,
    code: match[1] ?? "",
  }));
}

/** Every example of the sources, README and docs/. */
export function allExamples(): Example[] {
  const markdown = ["README.md", ...filesBelow("docs", [".md"])];
  return [...filesBelow("bindings").flatMap(tsdocExamples), ...markdown.flatMap(markdownExamples)];
}

// Below the repository, so that "granule" is the package itself, through its own exports map and built types.
const FOLDER = "build/examples";
const PRELUDE = "declare const __log: readonly ((...values: unknown[]) => void)[];\n";
const RUNNER = `
import { formatWithOptions } from "node:util";
const files = process.argv.slice(2);
const report = [];
for (const file of files) {
  const logs = [];
  globalThis.__log = new Proxy([], {
    get: (_, i) => (...values) => (logs[i] ??= []).push(formatWithOptions({ colors: false }, ...values)),
  });
  let error;
  try {
    await import(file);
  } catch (thrown) {
    error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  }
  report.push({ logs: Array.from(logs, (values) => values ?? []), error });
}
process.stdout.write("\\n" + JSON.stringify(report));
`;

interface Prepared {
  readonly code: string;
  readonly logs: readonly { readonly line: number; readonly expected: string | undefined }[];
}

/** The comment behind a statement, or the lines of comment below it. */
function expectedAt(code: string, end: number): string | undefined {
  const [, behind, below] = /^[ \t]*(\/\/.*)?((?:\n[ \t]*\/\/.*)*)/.exec(code.slice(end)) ?? [];
  const comment = behind ?? below?.slice(1);
  return comment ? comment.replaceAll(/^[ \t]*\/\/ ?/gm, "") : undefined;
}

/** Numbers the calls of console.log, so that what each printed can be told apart. */
function prepare({ code }: Example): Prepared {
  const file = ts.createSourceFile("example.ts", code, ts.ScriptTarget.ES2022, true);
  const calls: ts.CallExpression[] = [];
  const find = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && node.expression.getText() === "console.log") calls.push(node);
    node.forEachChild(find);
  };
  find(file);
  const logs = calls.map((call) => {
    const end = call.parent.getEnd();
    const line = file.getLineAndCharacterOfPosition(end).line + 1;
    return { line, expected: expectedAt(code, end) };
  });
  let out = code;
  for (const [i, { expression }] of [...calls.entries()].reverse()) {
    out = `${out.slice(0, expression.getStart())}__log[${i}]!${out.slice(expression.getEnd())}`;
  }
  return { code: `${out}\nexport {};\n`, logs };
}

function compile(files: readonly string[]): ts.Program {
  const program = ts.createProgram(files, {
    target: ts.ScriptTarget.ES2022,
    lib: [
      "lib.es2023.d.ts",
      "lib.esnext.disposable.d.ts",
      "lib.dom.d.ts",
      "lib.dom.iterable.d.ts",
      "lib.dom.asynciterable.d.ts",
    ],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ["node"],
    strict: true,
    skipLibCheck: true,
    rootDir: join(ROOT, FOLDER),
    outDir: join(ROOT, FOLDER, "out"),
  });
  program.emit();
  return program;
}

function diagnosticsOf(program: ts.Program, path: string): string[] {
  const file = program.getSourceFile(path);
  if (file === undefined) return [`${path} was not compiled`];
  const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
  return found.map(({ messageText, start = 0 }) => {
    const { line } = file.getLineAndCharacterOfPosition(start);
    return `line ${line + 1}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
  });
}

/** Checks and runs examples, all in one process, each a module of its own. */
export function runExamples(examples: readonly Example[]): Outcome[] {
  const folder = join(ROOT, FOLDER);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "prelude.d.ts"), PRELUDE);
  const prepared = examples.map(prepare);
  const paths = prepared.map(({ code }, i) => {
    const path = join(folder, `example${i}.ts`);
    writeFileSync(path, code);
    return path;
  });
  const program = compile([join(folder, "prelude.d.ts"), ...paths]);
  const runner = join(folder, "run.mjs");
  writeFileSync(runner, RUNNER);
  const modules = paths.map((path) => join(folder, "out", relative(folder, path).replace(/\.ts$/, ".js")));
  const printed = execFileSync(process.execPath, [runner, ...modules], { cwd: ROOT, encoding: "utf8" });
  const reports = JSON.parse(printed.slice(printed.lastIndexOf("\n") + 1)) as { logs: string[][]; error?: string }[];
  return examples.map((example, i) => ({
    example,
    diagnostics: diagnosticsOf(program, paths[i] as string),
    error: reports[i]?.error,
    logs: (prepared[i]?.logs ?? []).map((log, k) => ({ ...log, actual: reports[i]?.logs[k] ?? [] })),
  }));
}

/**
 * Does a comment state what was printed? Strings may stand in quotes; words may follow after a colon, comma or blank;
 * what a call in a loop printed stands in a row. Blanks at the ends of lines do not count.
 */
export function states(expected: string | undefined, actual: readonly string[]): boolean {
  if (expected === undefined) return false;
  const [stated, plain] = [expected, expected.replaceAll('"', "")].map((text) => text.replaceAll(/ +$/gm, "")) as [
    string,
    string,
  ];
  return [" ", ", ", "\n"].some((between) => {
    const printed = actual.join(between).replaceAll(/ +$/gm, "");
    return [printed, printed.replaceAll("\n", "\\n")].some(
      (text) =>
        stated === text || (text !== "" && plain.startsWith(text) && /^(?:$|[:;, ])/.test(plain.slice(text.length))),
    );
  });
}
