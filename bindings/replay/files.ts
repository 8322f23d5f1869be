import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type Manifest, openFile, readManifest, readS2Raw, readWhole, type S2RawDump } from "../trace/node.js";

/** Endings that recorders and people give to recordings, and to the text of a trace. */
const TRACE_NAME =
  /^(.*?)(?:\.dat|(?:\.perf)?\.data|(?:\.(?:trace|report|report-t|perf|perf-all))?(?:\.txt)?)(?:\.gz)?$/;
const RAW_NAME = /^cpu\d{1,4}\.s2raw(?:\.gz)?$/;
const TEXT_NAME = /^s2ptdump(?:\.gz)?$/;

/** A file name and the content of the file. */
export interface Named<T> {
  readonly file: string;
  readonly content: T;
}

/** What the tables of the running kernel held at each freeze point of a trace. */
export interface Truth {
  /** Some dump of a scenario (of any, if it is unknown), for its header; nearest first. */
  headers(scenario: string | undefined): AsyncIterable<S2RawDump>;
  /** Raw tables of a point. */
  dumps(scenario: string, point: string): Promise<Named<S2RawDump>[]>;
  /** Texts of the kernel's own dump at a point. */
  texts(scenario: string, point: string): Promise<Named<string>[]>;
}

/** Name of a trace without its folder and endings: `dir/age.trace.gz` and `dir/age.report.txt` are `age`. */
export function traceName(path: string): string {
  return TRACE_NAME.exec(basename(path))?.[1] ?? basename(path);
}

/** Bound for the kernel's own dumps, which have some tens of megabytes at most. */
const MAX_TEXT = 1 << 28;

/** The dumps of a folder, `<scenario>.<point>.cpu<n>.s2raw[.gz]` and `<scenario>.<point>.s2ptdump[.gz]`. */
export class TruthFolder implements Truth {
  readonly #folder: string;
  readonly #names: readonly string[];

  /** @param folder - with the dumps in it, or in a folder `s2` below it */
  constructor(folder: string) {
    const below = join(folder, "s2");
    this.#folder = existsSync(below) ? below : folder;
    this.#names = readdirSync(this.#folder).sort();
  }

  /** How many raw tables there are. */
  get size(): number {
    return this.#names.filter((name) => /\.s2raw(\.gz)?$/.test(name)).length;
  }

  async *headers(scenario: string | undefined): AsyncGenerator<S2RawDump, void, undefined> {
    const prefix = scenario === undefined ? "" : `${scenario}.`;
    for (const name of this.#names) {
      if (!name.startsWith(prefix) || !/\.s2raw(\.gz)?$/.test(name)) continue;
      yield await readS2Raw(openFile(join(this.#folder, name)), name);
    }
  }

  #matching(scenario: string, point: string, form: RegExp): string[] {
    const prefix = `${scenario}.${point}.`;
    return this.#names.filter((name) => name.startsWith(prefix) && form.test(name.slice(prefix.length)));
  }

  async dumps(scenario: string, point: string): Promise<Named<S2RawDump>[]> {
    const found: Named<S2RawDump>[] = [];
    for (const name of this.#matching(scenario, point, RAW_NAME)) {
      found.push({ file: name, content: await readS2Raw(openFile(join(this.#folder, name)), name) });
    }
    return found;
  }

  async texts(scenario: string, point: string): Promise<Named<string>[]> {
    const found: Named<string>[] = [];
    for (const name of this.#matching(scenario, point, TEXT_NAME)) {
      found.push({ file: name, content: await readWhole(openFile(join(this.#folder, name)), MAX_TEXT) });
    }
    return found;
  }
}

/** The manifest of a trace: the named one, or `NAME.manifest.json` beside the trace if there is one. */
export async function findManifest(trace: string, named: string | undefined): Promise<Manifest | undefined> {
  if (named !== undefined) return readManifest(openFile(named));
  if (trace === "-") return undefined;
  const beside = join(dirname(trace), `${traceName(trace)}.manifest.json`);
  return existsSync(beside) ? readManifest(openFile(beside)) : undefined;
}
