/** A change of one node of a syntax tree. */
export interface Mutant {
  /** Path from the project's root. */
  file: string;
  /** Line of the node, from 1. */
  line: number;
  /** That line, trimmed. */
  source: string;
  /** The kind of change. */
  operator: string;
  /** The change as text: `before -> after`. */
  mutation: string;
  /** Offset of the node in the file. */
  start: number;
  /** Offset behind the node. */
  end: number;
  /** What stands there instead. */
  text: string;
}

/** All mutants of one file, in the order of its text; `shared` are constants to leave alone. */
export function mutantsOf(file: string, text: string, shared?: ReadonlySet<string>): Mutant[];

/** The file's text with the mutant in it. */
export function apply(text: string, mutant: Mutant): string;
