// What can go wrong in one place of an AssemblyScript file: small changes of its syntax tree, each a mutant.
// The compiler's own parser makes the tree; a mutant is the text that takes a node's place.

import assemblyscript from "assemblyscript";

const { NodeKind: Kind, LiteralKind, operatorTokenToString } = assemblyscript;

/**
 * A change of one node.
 * @typedef {object} Mutant
 * @property {string} file path from the project's root
 * @property {number} line of the node, from 1
 * @property {string} source that line, trimmed
 * @property {string} operator the kind of change
 * @property {string} mutation the change as text, `before -> after`
 * @property {number} start offset of the node
 * @property {number} end offset behind it
 * @property {string} text what stands there instead
 */

/** Comparisons and their neighbours: the opposite, and the one that moves the boundary. */
const COMPARISONS = {
  "<": ["<=", ">="],
  "<=": ["<", ">"],
  ">": [">=", "<="],
  ">=": [">", "<"],
  "==": ["!="],
  "===": ["!=="],
  "!=": ["=="],
  "!==": ["==="],
};
const ARITHMETIC = { "+": ["-"], "-": ["+"], "*": ["/"], "/": ["*"], "%": ["/"], "&": ["|"], "|": ["&"], "^": ["&"] };
const SHIFTS = { "<<": [">>"], ">>": ["<<"], ">>>": ["<<"] };
const LOGIC = { "&&": ["||"], "||": ["&&"] };
const ASSIGNMENTS = {
  "+=": ["-="],
  "-=": ["+="],
  "*=": ["/="],
  "/=": ["*="],
  "&=": ["|="],
  "|=": ["&="],
  "^=": ["&="],
  "<<=": [">>="],
  ">>=": ["<<="],
};

/** A name for a constant that a result may have. */
const SUCCESS = { 0: "OK" };

/** Calls that are not code of the release build, or that the compiler answers. */
const NOT_CODE = new Set(["demand", "assert", "isDefined", "offsetof", "sizeof", "unreachable"]);
/** Parts of a tree that hold no code. */
const SKIPPED = new Set([
  Kind.NamedType,
  Kind.FunctionType,
  Kind.Decorator,
  Kind.Import,
  Kind.ImportDeclaration,
  Kind.Export,
  Kind.TypeDeclaration,
  Kind.InterfaceDeclaration,
]);

const isNode = (value) => value !== null && typeof value === "object" && "kind" in value && "range" in value;
const callee = (node) =>
  node.kind === Kind.Call && node.expression.kind === Kind.Identifier ? node.expression.text : "";

/** Is this statement or condition one of the debug build? */
function isDebug(node) {
  if (NOT_CODE.has(callee(node))) return true;
  return node.kind === Kind.If && NOT_CODE.has(callee(node.condition));
}

function parse(file, text) {
  const program = assemblyscript.newProgram(assemblyscript.newOptions());
  assemblyscript.parse(program, text, file, true);
  const path = file.replace(/\.ts$/, "");
  const source = program.sources.find((s) => s.internalPath === path);
  if (!source) throw new Error(`${file} was not parsed`);
  return source;
}

/** Collects the mutants of one file. */
class Collector {
  /**
   * @param {string} file
   * @param {string} text
   * @param {ReadonlySet<string>} shared constants that the facade has a copy of: no mutant changes one side alone
   */
  constructor(file, text, shared) {
    this.file = file;
    this.text = text;
    this.shared = shared;
    this.lines = text.split("\n");
    /** @type {Mutant[]} */
    this.mutants = [];
  }

  of(node) {
    return this.text.slice(node.range.start, node.range.end);
  }

  add(operator, node, text) {
    const { start, end } = node.range;
    const line = this.text.slice(0, start).split("\n").length;
    const brief = (s) => s.replace(/\s+/g, " ").trim();
    const mutation = `${brief(this.of(node))} -> ${brief(text) || "nothing"}`;
    this.mutants.push({
      file: this.file,
      line,
      source: this.lines[line - 1].trim(),
      operator,
      mutation,
      start,
      end,
      text,
    });
  }

  visit(node, context) {
    if (Array.isArray(node)) {
      for (const each of node) this.visit(each, context);
      return;
    }
    if (!isNode(node) || SKIPPED.has(node.kind)) return;
    if (isDebug(node) || (node.kind === Kind.Expression && isDebug(node.expression))) return;
    if (node.kind === Kind.VariableDeclaration && !context.result && this.shared.has(node.name.text)) return;
    this.mutate(node, context);
    const inner = this.inside(node, context);
    for (const [key, child] of Object.entries(node)) {
      if (key === "range" || key === "name" || key === "typeArguments") continue;
      this.visit(child, inner);
    }
  }

  /** What the children of a node have to know: the type that the function around them returns. */
  inside(node, context) {
    if (node.kind !== Kind.FunctionDeclaration && node.kind !== Kind.MethodDeclaration) return context;
    return { result: this.of(node.signature.returnType) || "void" };
  }

  mutate(node, context) {
    switch (node.kind) {
      case Kind.Binary:
        return this.binary(node);
      case Kind.Literal:
        return this.literal(node);
      case Kind.True:
        return this.add("constant", node, "false");
      case Kind.False:
        return this.add("constant", node, "true");
      case Kind.UnaryPrefix:
      case Kind.UnaryPostfix:
        return this.unary(node);
      case Kind.If:
        this.condition(node.condition);
        if (!node.ifFalse) this.add("statement", node, "{}");
        return;
      case Kind.While:
      case Kind.Do:
      case Kind.For:
      case Kind.Ternary:
        return node.condition && this.condition(node.condition);
      case Kind.Expression:
        return this.add("statement", node, "");
      case Kind.Break:
      case Kind.Continue:
        return this.add("statement", node, "");
      case Kind.Return:
        return this.returned(node, context.result);
    }
  }

  binary(node) {
    const sign = operatorTokenToString(node.operator);
    const [left, right] = [this.of(node.left), this.of(node.right)];
    const kinds = {
      comparison: COMPARISONS,
      arithmetic: ARITHMETIC,
      shift: SHIFTS,
      logic: LOGIC,
      assignment: ASSIGNMENTS,
    };
    for (const [operator, signs] of Object.entries(kinds)) {
      for (const other of signs[sign] ?? []) this.add(operator, node, `(${left} ${other} ${right})`);
    }
    if (sign in SHIFTS) this.add("operands", node, `((${right}) ${sign} (${left}))`);
  }

  literal(node) {
    if (node.literalKind !== LiteralKind.Integer) return;
    const value = BigInt(this.of(node).replaceAll("_", ""));
    this.add("constant", node, `${value + 1n}`);
    if (value > 0n) this.add("constant", node, `${value - 1n}`);
  }

  unary(node) {
    const sign = operatorTokenToString(node.operator);
    if (sign === "!" || sign === "~" || sign === "-") this.add("unary", node, `(${this.of(node.operand)})`);
    const other = { "++": "--", "--": "++" }[sign];
    if (other) this.add("unary", node, this.of(node).replace(sign, other));
  }

  condition(node) {
    if (isDebug(node)) return;
    // What the other operators already turn into the opposite.
    const sign = node.kind === Kind.Binary ? operatorTokenToString(node.operator) : "";
    if (sign in COMPARISONS) return;
    if (node.kind === Kind.UnaryPrefix && operatorTokenToString(node.operator) === "!") return;
    this.add("condition", node, `!(${this.of(node)})`);
  }

  returned(node, result) {
    if (!node.value) return this.add("statement", node, "");
    const constants = result === "bool" ? ["false", "true"] : ["0", "1"];
    for (const constant of constants) {
      if (![constant, SUCCESS[constant]].includes(this.of(node.value))) this.add("result", node, `return ${constant}`);
    }
  }
}

/**
 * All mutants of one file, in the order of its text.
 * @param {string} file
 * @param {string} text
 * @param {ReadonlySet<string>} shared
 * @returns {Mutant[]}
 */
export function mutantsOf(file, text, shared = new Set()) {
  const collector = new Collector(file, text, shared);
  collector.visit(parse(file, text).statements, { result: "" });
  const seen = new Set();
  return collector.mutants.filter(({ start, end, text }) => {
    const key = `${start} ${end} ${text}`;
    return !seen.has(key) && seen.add(key);
  });
}

/** The file's text with the mutant in it. */
export function apply(text, { start, end, text: changed }) {
  return text.slice(0, start) + changed + text.slice(end);
}
