/** A warm compiler of the modules in assembly/, without Binaryen. */
export class Compiler {
  constructor(folder: string);
  /** A file below the folder; null where there is none. */
  text(path: string): string | null;
  /** The bytes of a module, or null if it does not compile; the files of assembly/ that it was made of. */
  compile(what: {
    entry: string;
    target: "release" | "debug";
    changed?: Map<string, string>;
    instead?: Record<string, string>;
  }): Promise<{ bytes: Buffer | null; files: Set<string>; message: string }>;
}
