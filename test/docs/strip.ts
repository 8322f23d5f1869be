// Examples are written in TypeScript. Their plain JavaScript is the same text without types: comments and blank lines stay.

import ts from "typescript";

/** A piece of the source, and what takes its place. */
interface Cut {
  readonly from: number;
  readonly to: number;
  readonly by: string;
}

function cutsOf(file: ts.SourceFile): Cut[] {
  const { text } = file;
  const cuts: Cut[] = [];
  const cut = (from: number, to: number, by = "") => cuts.push({ from, to, by });
  const declaration = (node: ts.Node): void => {
    const from = node.getFullStart() + (/^\n*/.exec(text.slice(node.getFullStart()))?.[0].length ?? 0);
    cut(from, node.getEnd() + (/^\n*/.exec(text.slice(node.getEnd()))?.[0].length ?? 0));
  };
  const imports = (node: ts.ImportDeclaration): void => {
    const names = node.importClause?.namedBindings;
    if (names === undefined || !ts.isNamedImports(names)) return;
    const values = names.elements.filter((name) => !name.isTypeOnly).map((name) => name.getText());
    if (values.length > 0) cut(names.getStart(), names.getEnd(), `{ ${values.join(", ")} }`);
    else declaration(node);
  };
  const annotation = (node: ts.PropertyDeclaration | ts.ParameterDeclaration | ts.VariableDeclaration): void => {
    const question = ts.isVariableDeclaration(node) ? undefined : node.questionToken;
    if (node.type) cut(question?.getStart() ?? node.name.getEnd(), node.type.getEnd());
    if (node.initializer) visit(node.initializer);
  };
  const visit = (node: ts.Node): void => {
    if (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) declaration(node);
    else if (ts.isImportDeclaration(node)) imports(node);
    else if (ts.isAsExpression(node)) {
      cut(node.expression.getEnd(), node.getEnd());
      visit(node.expression);
    } else if (ts.isPropertyDeclaration(node)) {
      for (const modifier of node.modifiers ?? []) cut(modifier.getStart(), modifier.getEnd() + 1);
      annotation(node);
    } else if (ts.isParameter(node) || ts.isVariableDeclaration(node)) {
      annotation(node);
    } else {
      if (ts.isFunctionLike(node) && node.type) {
        cut(text.lastIndexOf(")", node.type.getStart()) + 1, node.type.getEnd());
      } else if ((ts.isNewExpression(node) || ts.isCallExpression(node)) && node.typeArguments) {
        cut(node.expression.getEnd(), node.typeArguments.end + 1);
      }
      ts.forEachChild(node, visit);
    }
  };
  visit(file);
  return cuts.sort((a, b) => b.from - a.from);
}

/** The JavaScript of a module whose types can be left out. */
export function withoutTypes(source: string): string {
  const file = ts.createSourceFile("example.ts", source, ts.ScriptTarget.ES2022, true);
  return cutsOf(file).reduce((text, { from, to, by }) => text.slice(0, from) + by + text.slice(to), source);
}
