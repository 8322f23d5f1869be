import ts from "typescript";
import { describe, expect, it } from "vitest";
import { type FunctionInfo, filesBelow, functionsOf, nodes, text, tree } from "./sources.js";

const MAX_FILE_LINES = 600;
/** The longest function in the models of this house has 63 lines. */
const MAX_FUNCTION_LINES = 65;
const MEDIAN_LINES = 12;

const ENDS = [".ts", ".mjs"];
const everything = ["assembly", "bindings", "bench", "test"].flatMap((folder) => filesBelow(folder, ENDS));

describe("files", () => {
  it(`have at most ${MAX_FILE_LINES} lines`, () => {
    const long = everything.map((path) => ({ path, lines: text(path).split("\n").length - 1 }));
    expect(long.filter(({ lines }) => lines > MAX_FILE_LINES)).toEqual([]);
  });
});

function quantile(sorted: readonly FunctionInfo[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]?.lines ?? 0;
}

describe("functions", () => {
  it.each(["assembly", "bindings"])("of %s are short", (folder) => {
    const named = filesBelow(folder)
      .flatMap(functionsOf)
      .filter(({ name }) => name !== "")
      .sort((a, b) => a.lines - b.lines);
    const long = named.filter(({ lines }) => lines > MAX_FUNCTION_LINES);
    const longest = named.at(-1);
    console.log(
      `${folder}: ${named.length} functions, lines median ${quantile(named, 0.5)}, p90 ${quantile(named, 0.9)}, ` +
        `longest ${longest?.lines} (${longest?.path}:${longest?.line} ${longest?.name})`,
    );
    expect(long.map(({ path, line, name, lines }) => `${path}:${line} ${name}: ${lines} lines`)).toEqual([]);
    expect(quantile(named, 0.5)).toBeLessThanOrEqual(MEDIAN_LINES);
  });
});

const GEOMETRY = new Set(["9", "12", "511", "512", "4096"]);
/** Their arguments are positions and widths within a word. */
const FIELDS = new Set(["mask", "insert", "extract", "bit", "ones"]);

/** A number with a name of its own, or the position of a field, says what it is; one in the middle of code is a granule in disguise. */
function isNamed(node: ts.Node): boolean {
  const { parent } = node;
  if (ts.isCallExpression(parent)) return FIELDS.has(parent.expression.getText());
  const value = ts.isPrefixUnaryExpression(parent) || ts.isBinaryExpression(parent) ? parent : node;
  const declaration = value.parent;
  if (!ts.isVariableDeclaration(declaration)) return false;
  const list = declaration.parent;
  return (
    ts.isVariableDeclarationList(list) && ts.isVariableStatement(list.parent) && ts.isSourceFile(list.parent.parent)
  );
}

describe("granules", () => {
  it("are known to arch/granule.ts alone: no literal 9, 12, 511, 512 or 4096 elsewhere", () => {
    const paths = filesBelow("assembly").filter((path) => path !== "assembly/arch/granule.ts");
    const found = paths.flatMap((path) =>
      [...nodes(path)]
        .filter((node) => ts.isNumericLiteral(node) && GEOMETRY.has(node.text) && !isNamed(node))
        .map((node) => {
          const { line } = tree(path).getLineAndCharacterOfPosition(node.getStart());
          return `${path}:${line + 1} ${text(path).split("\n")[line]?.trim()}`;
        }),
    );
    expect(found).toEqual([]);
  });
});
