#!/usr/bin/env node
import { Exit } from "./command.js";
import { unreadable } from "./input.js";
import { runCli } from "./run.js";

/** A reader that closed the pipe (`granule dump ... | head`) has what it wanted. Anything else, such as a full disk, is said. */
function quit(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE") process.exit(Exit.OK);
  process.stderr.write(`granule: ${unreadable("(stdout)", error).message}\n`);
  process.exit(Exit.UNREADABLE);
}

process.stdout.on("error", quit);
process.stderr.on("error", ({ code }: NodeJS.ErrnoException) =>
  process.exit(code === "EPIPE" ? Exit.OK : Exit.UNREADABLE),
);

// Not process.exit: what stdout still holds must reach a pipe.
process.exitCode = await runCli(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  onInterrupt: (listener) => process.once("SIGINT", listener),
});
