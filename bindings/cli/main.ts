#!/usr/bin/env node
import { runCli } from "./run.js";

/** A reader that closed the pipe (`granule dump ... | head`) has what it wanted: that is no error. */
function quitOnClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
}

process.stdout.on("error", quitOnClosedPipe);
process.stderr.on("error", quitOnClosedPipe);

// Not process.exit: what stdout still holds must reach a pipe.
process.exitCode = await runCli(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  onInterrupt: (listener) => process.once("SIGINT", listener),
});
