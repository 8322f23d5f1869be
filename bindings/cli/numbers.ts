// Numbers as people paste them: addresses, descriptors, sizes.

import { printableShort } from "../report/printable.js";
import { type CommandIo, InputError, UsageError } from "./command.js";
import { inputName, readLines } from "./input.js";

/** Digits of a descriptor as dumps print it. */
const WHOLE_WORD = 16;
const UNITS = "KMGT";

/** What digits without a prefix are. A word of 16 digits, or with a zero in front, comes from a dump. */
function isDecimal(text: string): boolean {
  return /^\d+$/.test(text) && text.length !== WHOLE_WORD && !/^0\d/.test(text);
}

/** A 64-bit word: hex with or without 0x, or decimal digits; undefined for anything else. */
export function parseWord(text: string): bigint | undefined {
  const plain = text.replaceAll("_", "");
  const digits = /^(?:0x)?([0-9a-f]+)$/i.exec(plain)?.[1];
  if (digits === undefined) return undefined;
  const value = isDecimal(plain) ? BigInt(plain) : BigInt(`0x${digits}`);
  return value >> 64n ? undefined : value;
}

/** An address as dumps and registers show it: hex with or without 0x; undefined for anything else. */
export function parseAddress(text: string): bigint | undefined {
  const digits = /^(?:0x)?([0-9a-f]+)$/i.exec(text.replaceAll("_", ""))?.[1];
  const value = digits === undefined ? undefined : BigInt(`0x${digits}`);
  return value === undefined || value >> 64n ? undefined : value;
}

/** An address or a size: hex with 0x, or decimal digits, and K, M, G or T behind; undefined for anything else. */
export function parseSize(text: string): bigint | undefined {
  const parts = /^(0x[0-9a-f]+|\d+)([kmgt]?)(?:i?b)?$/i.exec(text.replaceAll("_", ""));
  if (!parts) return undefined;
  const [, digits = "", unit = ""] = parts;
  const scale = unit === "" ? 0 : UNITS.indexOf(unit.toUpperCase()) + 1;
  const value = BigInt(digits) << BigInt(10 * scale);
  return value >> 64n ? undefined : value;
}

function wordOf(text: string, what: string): bigint {
  const value = parseWord(text);
  if (value !== undefined) return value;
  if (/^(?:0x)?[0-9a-f_]+$/i.test(text) && /[0-9a-f]/i.test(text.slice(2)))
    throw new UsageError(`${text} has more than 64 bits`);
  throw new UsageError(`${text} is not a number: a ${what} is hex, with 0x or without, or decimal digits`);
}

/** The words of standard input, any number on a line. InputError names the line of one that is no number. */
async function wordsOfInput(io: CommandIo, what: string): Promise<bigint[]> {
  const found: bigint[] = [];
  let n = 0;
  for await (const lines of readLines("-", io)) {
    for (const line of lines) {
      n++;
      for (const text of line.split(/\s+/).filter((word) => word !== "")) {
        const value = parseWord(text);
        if (value === undefined)
          throw new InputError(`${inputName("-")}:${n}: ${printableShort(text)} is not a ${what} of 64 bits`);
        found.push(value);
      }
    }
  }
  if (found.length === 0) throw new InputError(`${inputName("-")}: no ${what}`);
  return found;
}

/** Operands as 64-bit words; `-` stands for those of standard input. A note says what was taken for decimal. */
export async function readWords(operands: readonly string[], io: CommandIo, what: string): Promise<bigint[]> {
  const found: bigint[] = [];
  for (const text of operands) {
    if (text === "-") found.push(...(await wordsOfInput(io, what)));
    else found.push(wordOf(text, what));
    if (text.length > 1 && isDecimal(text)) io.note(`${text} is read as decimal; 0x${text} would be hex`);
  }
  return found;
}
