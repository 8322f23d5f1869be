// Runs the command line inside the test's own process, with streams and a clock that the test holds.

import { Readable, Writable } from "node:stream";
import { runCli, type Surroundings } from "../../bindings/cli/run.js";

/** How a run ended. */
export interface Outcome {
  code: number;
  out: string;
  err: string;
}

export interface InsideOptions {
  stdin?: Uint8Array | string | Readable;
  /** Standard error is a terminal. */
  terminal?: boolean;
  now?: () => number;
  onInterrupt?: (listener: () => void) => void;
}

function collect(into: string[], isTTY: boolean): Writable & { isTTY?: boolean } {
  const stream = new Writable({
    write(chunk, _encoding, done) {
      into.push(String(chunk));
      done();
    },
  });
  return Object.assign(stream, { isTTY });
}

/** Runs `granule ...argv`. */
export async function inside(argv: readonly string[], options: InsideOptions = {}): Promise<Outcome> {
  const { stdin = "" } = options;
  const out: string[] = [];
  const err: string[] = [];
  const surroundings: Surroundings = {
    stdin: stdin instanceof Readable ? stdin : Readable.from([Buffer.from(stdin)]),
    stdout: collect(out, false),
    stderr: collect(err, options.terminal === true),
    env: { NO_COLOR: "1", TERM: "xterm" },
    onInterrupt: options.onInterrupt ?? (() => undefined),
    ...(options.now === undefined ? {} : { now: options.now }),
  };
  const code = await runCli(argv, surroundings);
  return { code, out: out.join(""), err: err.join("") };
}
