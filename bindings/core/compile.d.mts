/** The source without its preconditions, its lines where they were. */
export function withoutDemands(text: string): string;

/** What to compile, and where to. */
export interface Compilation {
  /** Path of the entry, from the project's root. */
  entry: string;
  /** A target of asconfig.json: the debug one keeps its preconditions. */
  target: "release" | "debug";
  outFile: string;
  /** More options of asc. */
  options?: string[];
  /** Files that are read in place of others, by path from the root. */
  instead?: Record<string, string>;
  /** What the compiler reads of the file `name` in place of `text`. */
  edit?: (name: string, text: string) => string;
}

/** Compiles a module from assembly/; throws when it does not compile. */
export function compile(what: Compilation): Promise<void>;
