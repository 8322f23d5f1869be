// granule translate DIR ADDRESS...: single walks, level by level.

import type { AccessKind } from "../../mmu/index.js";
import type { Mmu } from "../../mmu/mmu.js";
import { printableShort } from "../../report/printable.js";
import {
  type CommandArgs,
  type CommandIo,
  choiceOption,
  Exit,
  InputError,
  stringOption,
  UsageError,
  writeJson,
} from "../command.js";
import { exists, type ImageFolder, mmuOf, readImageFolder } from "../image-folder.js";
import { readLines } from "../input.js";
import { parseAddress } from "../numbers.js";
import { type Walk, type WalkRules, walkJson, walkText } from "../walk-text.js";

/** One access that is asked about. */
export interface Question {
  readonly address: bigint;
  readonly access: AccessKind;
}

const ACCESSES: readonly string[] = ["r", "w", "x"] satisfies AccessKind[];

function isAccess(word: string): word is AccessKind {
  return ACCESSES.includes(word);
}

/** Is the word meant as an address, well written or not? */
function isAddress(word: string): boolean {
  return word === "-" || /^\d/.test(word) || parseAddress(word) !== undefined;
}

/** Are the operands a folder and addresses, not folders? What is there under its name is a folder. */
export async function isWalk([, second]: readonly string[]): Promise<boolean> {
  return second !== undefined && isAddress(second) && !(await exists(second));
}

/** Words as questions: an address, and r, w or x behind it. `wrong` makes the error for a word that is neither. */
export function questionsOf(words: readonly string[], wrong: (problem: string) => Error): Question[] {
  const questions: Question[] = [];
  let named = true;
  for (const word of words) {
    const last = questions.at(-1);
    if (isAccess(word) && last && !named) {
      questions[questions.length - 1] = { ...last, access: word };
      named = true;
      continue;
    }
    const address = parseAddress(word);
    if (address === undefined)
      throw wrong(`${printableShort(word)} is neither an address (hex, 64 bits) nor r, w or x behind one`);
    questions.push({ address, access: "r" });
    named = false;
  }
  return questions;
}

/** The questions of the command line; `-` stands for those of standard input, any number on a line. */
async function readQuestions(words: readonly string[], io: CommandIo): Promise<Question[]> {
  const usage = (problem: string) => new UsageError(problem);
  const at = words.indexOf("-");
  if (at < 0) return questionsOf(words, usage);
  const found = questionsOf(words.slice(0, at), usage);
  let n = 0;
  for await (const lines of readLines("-", io)) {
    for (const line of lines) {
      n++;
      const text = line.split(/\s+/).filter((word) => word !== "");
      found.push(...questionsOf(text, (problem) => new InputError(`(stdin):${n}: ${problem}`)));
    }
  }
  return [...found, ...questionsOf(words.slice(at + 1), usage)];
}

/** Exception level of the accesses: what the command line says, if the image's regime has it. */
function levelOf(args: CommandArgs, regime: WalkRules["regime"]): 0 | 1 | 2 {
  const el = choiceOption(args, "el", ["0", "1", "2"]);
  if (regime === "hyp" && el !== undefined && el !== "2")
    throw new UsageError(`--el ${el}: the image is EL2's own table, which EL2 alone uses`);
  if (regime !== "hyp" && el === "2") throw new UsageError("--el 2: the image is a guest's table, for EL1 and EL0");
  if (regime === "hyp") return 2;
  return el === "0" ? 0 : 1;
}

/** Asks one question. */
export function ask(mmu: Mmu, { address, access }: Question, el: 0 | 1 | 2): Walk {
  return { address, access, el, explanation: mmu.explainWalk(address, access, { el0: el === 0 }) };
}

function rulesOf({ manifest }: ImageFolder): WalkRules {
  return { regime: manifest.stage, fwb: manifest.fwb === true };
}

/** Prints walks, one or several, as text or JSON; the exit code. */
async function write(walks: readonly Walk[], rules: WalkRules, args: CommandArgs, io: CommandIo): Promise<number> {
  const [first] = walks;
  const documents = () => walks.map((walk) => walkJson(walk, rules));
  if (!args.json) await io.out(walks.map((walk) => walkText(walk, rules, io)).join("\n"));
  else if (walks.length === 1 && first) await writeJson(io, { schemaVersion: 1, ...walkJson(first, rules) });
  else await writeJson(io, { schemaVersion: 1, walks: documents() });
  return walks.every(({ explanation }) => explanation.result.ok) ? Exit.OK : Exit.FINDING;
}

/** Walks an image for each address on the command line, in order: later ones see what hardware wrote for earlier ones. */
export async function runWalk(args: CommandArgs, io: CommandIo): Promise<number> {
  const [dir = "", ...words] = args.operands;
  if (stringOption(args, "out") !== undefined)
    throw new UsageError("--out is for whole sets: granule translate DIR... --out OUT");
  const folder = await readImageFolder(dir, io);
  const questions = await readQuestions(words, io);
  if (questions.length === 0) throw new InputError("(stdin): no address");
  using mmu = mmuOf(folder);
  const rules = rulesOf(folder);
  const el = levelOf(args, rules.regime);
  return write(
    questions.map((question) => ask(mmu, question, el)),
    rules,
    args,
    io,
  );
}
