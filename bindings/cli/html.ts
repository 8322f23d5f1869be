// `--html`: the report of a command, as one file.

import { writeFile } from "node:fs/promises";
import { htmlReport } from "../report/html.js";
import type { Story } from "../report/story.js";
import { bytes } from "../report/text.js";
import { type CommandArgs, type CommandIo, type CommandOption, stringOption, UsageError } from "./command.js";
import { refuseOverwrite, unreadable } from "./input.js";

/** The option of commands that can write a report. */
export const HTML_OPTION: CommandOption = {
  type: "string",
  value: "FILE",
  help: "write a report with pictures: one HTML file that needs no network",
};

/** Where the report goes, undefined without `--html`. UsageError if it would replace an input. */
export async function htmlTarget(args: CommandArgs, inputs: readonly string[]): Promise<string | undefined> {
  const target = stringOption(args, "html");
  if (target === undefined) return undefined;
  if (target === "" || target === "-") throw new UsageError("--html takes the name of a file");
  await refuseOverwrite(target, inputs);
  return target;
}

/** Writes a report and says how long it is. */
export async function writeHtml(target: string, story: Story, io: CommandIo): Promise<void> {
  const html = await htmlReport(story);
  await writeFile(target, html).catch((error: unknown) => {
    throw unreadable(target, error);
  });
  io.note(`granule: wrote ${target}, ${bytes(html.length)}: open it in a browser`);
}
