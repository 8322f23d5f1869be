import type { Command } from "./command.js";
import { bench } from "./commands/bench.js";
import { check } from "./commands/check.js";
import { compare } from "./commands/compare.js";
import { conform } from "./commands/conform.js";
import { diff } from "./commands/diff.js";
import { dump } from "./commands/dump.js";
import { explain } from "./commands/explain.js";
import { explore } from "./commands/explore.js";
import { image } from "./commands/image.js";
import { make } from "./commands/make.js";
import { merge } from "./commands/merge.js";
import { replayCommand } from "./commands/replay.js";
import { report } from "./commands/report.js";
import { runCommand } from "./commands/run.js";
import { show } from "./commands/show.js";
import { translate } from "./commands/translate.js";
import { view } from "./commands/view.js";

/** The commands in the order of the overview. */
export const COMMANDS: readonly Command[] = [
  make,
  explain,
  translate,
  diff,
  dump,
  show,
  image,
  runCommand,
  compare,
  merge,
  replayCommand,
  report,
  view,
  conform,
  check,
  explore,
  bench,
];
