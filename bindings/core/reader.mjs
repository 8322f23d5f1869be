// Reads the core as the compiler sees it: its constants, its records, what each module exports and imports.
// The compiler's own parser and checker do the reading, so a value here is the value that the Wasm has.

import { existsSync, readFileSync } from "node:fs";
import * as A from "assemblyscript";
import { CommonFlags, Compiler, ElementKind, TypeKind } from "assemblyscript";
import { libraryFiles } from "assemblyscript/asc";

const root = new URL("../../", import.meta.url);
const LIBRARY = "~lib/";
const NUMBER_KINDS = new Set([TypeKind.I32, TypeKind.U32, TypeKind.U8, TypeKind.U16, TypeKind.I8, TypeKind.I16]);
const POINTER_KINDS = new Set([TypeKind.Usize, TypeKind.Isize]);
const WIDE_KINDS = new Set([TypeKind.I64, TypeKind.U64]);

/**
 * @typedef {{ name: string, file: string, doc: string, wide: boolean, value: bigint }} Constant
 * @typedef {{ name: string, type: string, offset: number }} Field
 * @typedef {{ name: string, options: string[], file: string, bytes: number, fields: Field[] }} Record
 * @typedef {{ name: string, doc: string, parameters: { name: string, type: string }[], result: string }} Function
 * @typedef {{ constants: Constant[], records: Record[], exports: Map<string, Function[]>, imports: Function[] }} Core
 */

/** The text of a source by its path without `.ts`; null where there is none, which the compiler then reports. */
function sourceOf(path) {
  if (!path.startsWith(LIBRARY)) {
    const url = new URL(`${path}.ts`, root);
    return { name: `${path}.ts`, text: existsSync(url) ? readFileSync(url, "utf8") : null };
  }
  const plain = path.slice(LIBRARY.length);
  const found = plain in libraryFiles ? plain : `${plain}/index`;
  return { name: `${LIBRARY}${found}.ts`, text: libraryFiles[found] ?? null };
}

function refuseErrors(program) {
  for (let found = A.nextDiagnostic(program); found; found = A.nextDiagnostic(program)) {
    if (A.isError(found)) throw new Error(A.formatDiagnostic(found, false, true));
  }
}

/** The program of these entries, parsed and checked. */
function programOf(entries) {
  const program = A.newProgram(A.newOptions());
  const parse = (path, isEntry) => {
    const { name, text } = sourceOf(path);
    A.parse(program, text, name, isEntry);
  };
  for (const path of Object.keys(libraryFiles)) if (!path.includes("/")) parse(LIBRARY + path, false);
  parse(`${LIBRARY}rt/index-stub`, false);
  for (const entry of entries) parse(entry.replace(/\.ts$/, ""), true);
  for (let path = A.nextFile(program); path; path = A.nextFile(program)) parse(path, false);
  refuseErrors(program);
  A.initializeProgram(program);
  refuseErrors(program);
  return program;
}

/** The comment right before a declaration, as one paragraph; "" if there is none. */
function docOf(declaration) {
  const { start, source } = declaration.range;
  const before = source.text
    .slice(0, start)
    .replace(
      /(?:\/\/ @ts-ignore[^\n]*|@\w+(?:\([^)]*\))?|\b(?:export|declare|abstract|const|function|class)\b|\s)*$/,
      "",
    );
  if (!before.endsWith("*/")) return "";
  const comment = before.slice(before.lastIndexOf("/**"));
  return comment
    .replace(/^\/\*\*|\*\/$/g, "")
    .replace(/^\s*\* ?/gm, "")
    .replace(/\s+/g, " ")
    .trim();
}

/** What each file declares itself, in order: files of assembly/ only. */
function* declared(program) {
  for (const file of program.filesByName.values()) {
    if (file.name.startsWith(LIBRARY)) continue;
    for (const element of file.members?.values() ?? []) if (element.parent === file) yield { file, element };
  }
}

/** The value of a constant, as the compiler folds it; undefined for what is no integer. */
function foldedValue(compiler, constant) {
  const { module } = compiler;
  const folded = module.runExpression(compiler.compileExpression(constant.initializerNode, constant.type, 1), 0);
  if (!folded) return undefined;
  const { kind } = constant.type;
  if (WIDE_KINDS.has(kind)) {
    const word = (BigInt(A.getConstValueI64High(folded)) << 32n) | BigInt(A.getConstValueI64Low(folded) >>> 0);
    return kind === TypeKind.U64 ? BigInt.asUintN(64, word) : BigInt.asIntN(64, word);
  }
  if (!NUMBER_KINDS.has(kind) && !POINTER_KINDS.has(kind)) return undefined;
  const value = A.getConstValueI32(folded);
  return BigInt(constant.type.isSignedIntegerValue ? value : value >>> 0);
}

/** Exported integer constants, file by file. */
function constantsOf(program) {
  const compiler = new Compiler(program);
  const constants = [];
  for (const { file, element } of declared(program)) {
    const { flags } = element;
    if (element.kind !== ElementKind.Global || !(flags & CommonFlags.Const) || !(flags & CommonFlags.Export)) continue;
    if (element.is(CommonFlags.Ambient)) continue; // an import: its value is the host's
    compiler.currentParent = file;
    compiler.currentFlow = file.startFunction.flow;
    const value = compiler.compileGlobal(element) ? foldedValue(compiler, element) : undefined;
    refuseErrors(program);
    if (value === undefined) continue;
    const wide = WIDE_KINDS.has(element.type.kind);
    constants.push({ name: element.name, file: file.name, doc: docOf(element.declaration), wide, value });
  }
  return constants;
}

function decoratorOf(declaration, name) {
  return declaration.decorators?.find((decorator) => decorator.name.text === name);
}

/** The words that a decorator is given. */
function argumentsOf(decorator) {
  return (decorator?.args ?? []).map((argument) => argument.value);
}

/** A field's type as it lies in memory: a reference to another record is a pointer. */
function fieldType(type) {
  if (type.isReference || POINTER_KINDS.has(type.kind)) return "pointer";
  return type.toString();
}

function recordOf(program, { file, element }) {
  const instance = program.resolver.resolveClass(element, null);
  refuseErrors(program);
  const fields = [];
  for (const member of instance.members?.values() ?? []) {
    if (member.kind !== ElementKind.PropertyPrototype || !member.isField) continue;
    const { type, memoryOffset } = member.instance;
    fields.push({ name: member.name, type: fieldType(type), offset: memoryOffset });
  }
  return {
    name: element.name,
    options: argumentsOf(decoratorOf(element.declaration, "view")),
    file: file.name,
    bytes: instance.nextMemoryOffset,
    fields,
  };
}

/** Classes with the decorator `@view`. */
function recordsOf(program) {
  return [...declared(program)]
    .filter(({ element }) => element.kind === ElementKind.ClassPrototype && decoratorOf(element.declaration, "view"))
    .map((found) => recordOf(program, found));
}

function functionOf(program, name, prototype) {
  const { signature } = program.resolver.resolveFunction(prototype, null);
  const { declaration } = prototype;
  const names = declaration.signature.parameters.map((parameter) => parameter.name.text);
  const parameters = signature.parameterTypes.map((type, i) => ({ name: names[i], type: type.toString() }));
  return { name, doc: docOf(declaration), parameters, result: signature.returnType.toString() };
}

/** The functions that the host gives: those declared `@external("host", name)`. */
function importsOf(program) {
  return [...declared(program)].flatMap(({ element }) => {
    if (element.kind !== ElementKind.FunctionPrototype) return [];
    const [module, name] = argumentsOf(decoratorOf(element.declaration, "external"));
    return module === "host" ? [functionOf(program, name, element)] : [];
  });
}

/**
 * Everything that the facade shares with the modules of these entries.
 * @param {string[]} entries
 * @returns {Core}
 */
export function readCore(entries) {
  const program = programOf(entries);
  const exportsOf = (entry) =>
    [...program.filesByName.get(entry.replace(/\.ts$/, "")).exports]
      .filter(([, element]) => element.kind === ElementKind.FunctionPrototype)
      .map(([name, element]) => functionOf(program, name, element));
  const exports = new Map(entries.map((entry) => [entry, exportsOf(entry)]));
  const core = { constants: constantsOf(program), records: recordsOf(program), exports, imports: importsOf(program) };
  refuseErrors(program);
  return core;
}
