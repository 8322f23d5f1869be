// `npm start`: a recorded boot of a Linux guest becomes page tables, in words for someone who has never seen one.

import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { findManifest, TruthFolder, traceName } from "../replay/files.js";
import { replayTrace } from "../replay/replay.js";
import { TraceStory } from "../replay/story.js";
import { htmlReport } from "../report/html.js";
import { picture } from "../report/picture.js";
import { passed, type ReplayReport } from "../report/replay.js";
import { bytes, count, plural, seconds, styler, wantsColour, wrap } from "../report/text.js";
import { openFile } from "../trace/node.js";

const CAPTURES = "test/replay/fixtures/J-boot-6.12-4k";
const WITH_HUGE_PAGES = "Image612-v1-thp-256m";
const WITHOUT = "Image612-v1-nothp-256m";

/** The package's folder: this file is run from the sources and from what is built of them. */
function packageRoot(): string | undefined {
  const here = dirname(fileURLToPath(import.meta.url));
  return [join(here, "../.."), join(here, "../../..")].find((root) => existsSync(join(root, CAPTURES)));
}

async function replay(folder: string, name: string, lines: string[], story?: TraceStory): Promise<ReplayReport> {
  const path = join(folder, `${name}.trace.gz`);
  return replayTrace(openFile(path), {
    from: "ops",
    onlookers: story ? [story] : [],
    name: traceName(path),
    manifest: await findManifest(path, undefined),
    truth: new TruthFolder(folder),
    onTable: (table) => lines.splice(0, lines.length, ...picture(table)),
  });
}

const PREFACE = `
A virtual machine believes that it owns a computer's memory. It does not: each address that it uses is looked up by the
CPU in a second set of page tables, kept by the hypervisor, which say where in the real memory that byte lies, or that
nothing is there yet. Then the guest stops for a moment (a fault), the hypervisor adds an entry, and the guest goes on.

What follows is real. Linux 6.12 ran as a hypervisor (KVM on arm64) and booted a Linux guest with 256 MiB of memory, and
every call of its page-table code was recorded; so was the page table itself, as it lay in memory when the guest had
booted. granule, the same engine rebuilt for WebAssembly, now makes the same calls again.
`;

function inWords(r: ReplayReport): string {
  const check = r.checks[0];
  const equal =
    passed(r) && check
      ? `All ${count(check.leaves)} entries are equal, bit for bit.`
      : "They are NOT equal: this is a defect.";
  return (
    `${plural(r.events, "recorded event")} were replayed in ${seconds(r.seconds)}. The guest stopped ` +
    `${count(r.faults.total)} times; ${count(r.operations.applied.s2_map ?? 0)} of these stops gave it memory, nearly all others were ` +
    `devices that the hypervisor plays. ${bytes(r.table.mapped)} are mapped in the end, by ${plural(r.table.pages, "table page")} of ` +
    `${bytes(r.config.granule)}. At the moment when the real table was read out, ours was compared with it. ${equal}`
  );
}

function comparison(huge: ReplayReport, small: ReplayReport): string {
  const check = small.checks[0];
  const equal =
    check && passed(small)
      ? `its ${count(check.leaves)} entries are equal to the real ones, too`
      : "its table DIFFERS from the real one";
  return (
    `The same boot without huge pages: each 4 KiB has to be given one by one. ${count(small.faults.total)} stops instead of ` +
    `${count(huge.faults.total)}, ${plural(small.table.pages, "table page")} instead of ${huge.table.pages}, replayed in ` +
    `${seconds(small.seconds)}; ${equal}.`
  );
}

/** Writes the pictures of a boot. Says where they are, or why they are not. */
async function writePictures(root: string, story: TraceStory, report: ReplayReport): Promise<string> {
  const target = join(root, "build", "boot.html");
  try {
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, await htmlReport(story.story(report)));
    return `The same in pictures, one file that needs no network: ${pathToFileURL(target)}`;
  } catch (error) {
    return `The pictures could not be written: ${(error as Error).message}`;
  }
}

async function demo(): Promise<number> {
  const root = packageRoot();
  if (root === undefined) {
    process.stderr.write(
      `granule: the recorded boots are not here (${CAPTURES}): run this in a copy of the repository\n`,
    );
    return 3;
  }
  const style = styler(wantsColour(process.stdout));
  const folder = join(root, CAPTURES);
  const lines: string[] = [];
  const say = (text: string) => process.stdout.write(`${wrap(text, 100).join("\n")}\n\n`);
  process.stdout.write(`\n${style("bold", "granule: the boot of a Linux guest, as page tables")}\n\n`);
  for (const paragraph of PREFACE.trim().split("\n\n")) say(paragraph);
  const huge = await replay(folder, WITH_HUGE_PAGES, lines);
  say(inWords(huge));
  process.stdout.write(`${style("bold", "The table, level by level")} (# mapped, T a table below, . nothing)\n\n`);
  process.stdout.write(`${lines.join("\n")}\n\n`);
  const story = new TraceStory();
  const small = await replay(folder, WITHOUT, [], story);
  say(comparison(huge, small));
  process.stdout.write(`${await writePictures(root, story, small)}\n\n`);
  const path = `${CAPTURES}/${WITH_HUGE_PAGES}.trace.gz`;
  process.stdout.write(`All figures of this replay:\n  npx granule replay ${path} --from ops --verify ${CAPTURES}\n`);
  process.stdout.write("The same boot, its faults serviced by granule itself:\n");
  process.stdout.write(`  npx granule replay ${path}\n`);
  return passed(huge) && passed(small) ? 0 : 1;
}

// A reader that closed the pipe (`npm start | head`) has what it wanted.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 3));
process.exitCode = await demo();
