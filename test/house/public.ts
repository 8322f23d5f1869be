// The library's public surface, as the compiler sees it: what each entry point exports, and what its TSDoc says.

import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";
import { ROOT } from "./sources.js";

/** One exported name of an entry point. */
export interface PublicExport {
  readonly entry: string;
  readonly name: string;
  /** Does it exist at run time? */
  readonly isValue: boolean;
  /** `file:line` of its declaration. */
  readonly place: string;
  readonly documentation: string;
  readonly examples: readonly string[];
  readonly members: readonly PublicMember[];
}

/** A member of an exported class or interface; @internal ones are left out. */
export interface PublicMember {
  readonly name: string;
  readonly place: string;
  readonly documentation: string;
  readonly hasExample: boolean;
}

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly types: string }>>;
}

/** Entry points by the name that users import, with their sources. */
export function entryPoints(): { name: string; source: string }[] {
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Manifest;
  return Object.entries(manifest.exports).flatMap(([name, target]) => {
    if (typeof target === "string") return [];
    const source = target.types.replace("./dist/", "").replace(/\.d\.ts$/, ".ts");
    return existsSync(join(ROOT, source)) ? [{ name: `granule${name.slice(1)}`, source }] : [];
  });
}

let program: ts.Program | undefined;

function compiler(): ts.Program {
  if (program !== undefined) return program;
  const { config } = ts.readConfigFile(join(ROOT, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
  program = ts.createProgram(
    entryPoints().map(({ source }) => join(ROOT, source)),
    options,
  );
  return program;
}

function placeOf(declaration: ts.Declaration): string {
  const file = declaration.getSourceFile();
  return `${relative(ROOT, file.fileName)}:${file.getLineAndCharacterOfPosition(declaration.getStart()).line + 1}`;
}

function isInternal(symbol: ts.Symbol): boolean {
  const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
  return (
    symbol.getJsDocTags().some(({ name }) => name === "internal") ||
    (symbol.declarations ?? []).some(
      (node) =>
        (ts.getCombinedModifierFlags(node) & hidden) !== 0 ||
        (ts.isClassElement(node) && node.name !== undefined && ts.isPrivateIdentifier(node.name)),
    )
  );
}

function documentationOf(symbol: ts.Symbol, checker: ts.TypeChecker): string {
  return ts.displayPartsToString(symbol.getDocumentationComment(checker));
}

function membersOf(symbol: ts.Symbol, checker: ts.TypeChecker): PublicMember[] {
  const type = checker.getDeclaredTypeOfSymbol(symbol);
  // An alias of a class, such as Table<Engine>, has the members of the class.
  const named = symbol.flags & ts.SymbolFlags.TypeAlias ? type.getSymbol() : symbol;
  if (!named || !(named.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface))) return [];
  const statics =
    symbol.flags & ts.SymbolFlags.Class ? checker.getPropertiesOfType(checker.getTypeOfSymbol(symbol)) : [];
  return [...checker.getPropertiesOfType(type), ...statics].flatMap((member) => {
    const declaration = member.declarations?.[0];
    const known = declaration?.getSourceFile().fileName.startsWith(join(ROOT, "bindings"));
    if (declaration === undefined || !known || isInternal(member) || member.name.startsWith("__@")) return [];
    return [
      {
        name: member.name,
        place: placeOf(declaration),
        documentation: documentationOf(member, checker),
        hasExample: member.getJsDocTags(checker).some(({ name }) => name === "example"),
      },
    ];
  });
}

/** Everything that users can import. */
export function publicExports(): PublicExport[] {
  const checker = compiler().getTypeChecker();
  return entryPoints().flatMap(({ name: entry, source }) => {
    const file = compiler().getSourceFile(join(ROOT, source));
    const module = file && checker.getSymbolAtLocation(file);
    if (module === undefined) throw new Error(`${source} is no module`);
    return checker.getExportsOfModule(module).map((exported) => {
      const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
      const declaration = symbol.declarations?.[0];
      if (declaration === undefined) throw new Error(`${exported.name} is declared nowhere`);
      const examples = symbol
        .getJsDocTags(checker)
        .filter(({ name }) => name === "example")
        .map(({ text }) => ts.displayPartsToString(text));
      return {
        entry,
        name: exported.name,
        isValue: (symbol.flags & ts.SymbolFlags.Value) !== 0,
        place: placeOf(declaration),
        documentation: documentationOf(symbol, checker),
        examples,
        members: membersOf(symbol, checker),
      };
    });
  });
}

/** Names as the kernel index gives them: functions, and `Class.member` of classes and interfaces. */
export function publicMembers(): Set<string> {
  const all = publicExports();
  return new Set(all.flatMap(({ name, members }) => [name, ...members.map((member) => `${name}.${member.name}`)]));
}
